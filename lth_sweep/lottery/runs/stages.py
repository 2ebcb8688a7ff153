"""Stages on disk: published atomically, computed once, verified when read.

ROOT/ab/ab12.../00000050/tensors.safetensors   the state after step 50 of trajectory ab12...
                         stage.json            checksum, training curve, what else is known about it
ROOT/ab/ab12.../lease                          locked by whoever is training this trajectory
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import safetensors.torch
import torch
from torch import Tensor

POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Stage:
    """A state and what is known about it."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]


class Stages(Protocol):
    """Stages by trajectory digest and step, which several processes may share. `Store` keeps them in a folder."""

    def steps(self, trajectory: str) -> list[int]:
        """The steps at which a stage of this trajectory is stored, rising."""

    def load(self, trajectory: str, step: int) -> Stage | None:
        """A stage, or None where there is none. One that is damaged is set aside, and then there is none."""

    def publish(self, trajectory: str, step: int, stage: Stage) -> None:
        """Make a stage visible, whole or not at all. Where another process was faster, theirs stays."""

    def lease(self, trajectory: str, wait: bool = True) -> contextlib.AbstractContextManager[bool]:
        """Wait until this process alone may train this trajectory; without `wait`, whether it may right now."""

    def usage(self) -> dict[str, tuple[int, float]]:
        """By trajectory with stages: their bytes, and when one of them was last used, in seconds since the epoch."""

    def discard(self, trajectory: str) -> bool:
        """Remove a trajectory's stages, unless it is being trained."""

    def tidy(self) -> int:
        """Remove what killed processes have left unfinished, but of trajectories that are being trained; how many."""


class Store:
    """Stages in a folder."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def __str__(self) -> str:
        return str(self.root)

    def _folder(self, trajectory: str) -> Path:
        return self.root / trajectory[:2] / trajectory

    def steps(self, trajectory: str) -> list[int]:
        """The steps at which a stage of this trajectory is stored, rising."""
        try:
            names = os.listdir(self._folder(trajectory))
        except FileNotFoundError:
            return []
        return sorted(int(name) for name in names if name.isdigit())

    def trajectories(self) -> list[str]:
        """All that have a folder here, in order."""
        return sorted(path.name for path in self.root.glob("[0-9a-f][0-9a-f]/*") if path.is_dir())

    def usage(self) -> dict[str, tuple[int, float]]:
        """By trajectory with stages: their bytes, and when one of them was last written or read, in seconds since the
        epoch."""
        found = {}
        for trajectory in self.trajectories():
            if files := [file.stat() for file in self._folder(trajectory).glob("[0-9]*/*")]:
                found[trajectory] = sum(file.st_size for file in files), max(file.st_mtime for file in files)
        return found

    def discard(self, trajectory: str) -> bool:
        """Remove a trajectory's stages, unless it is being trained. The lease stays, so that whoever waits for it and
        whoever comes later hold the same one."""
        with self.lease(trajectory, wait=False) as held:
            if held:
                for step in self.steps(trajectory):
                    unwanted = self._folder(trajectory) / f".{uuid.uuid4().hex}"
                    self._folder(trajectory).joinpath(f"{step:08d}").rename(unwanted)
                    shutil.rmtree(unwanted, ignore_errors=True)
        return held

    def tidy(self) -> int:
        """Remove what killed processes have left unfinished, but of trajectories that are being trained; how many."""
        gone = 0
        for trajectory in self.trajectories():
            if left := list(self._folder(trajectory).glob(".*")):
                with self.lease(trajectory, wait=False) as held:
                    for unfinished in left if held else ():
                        shutil.rmtree(unfinished, ignore_errors=True)
                        gone += 1
        return gone

    def load(self, trajectory: str, step: int) -> Stage | None:
        """A stage, or None where there is none. One that is damaged is set aside, and then there is none."""
        folder = self._folder(trajectory) / f"{step:08d}"
        try:
            stage = unseal((folder / "stage.json").read_bytes(), (folder / "tensors.safetensors").read_bytes())
            with contextlib.suppress(OSError):
                os.utime(folder / "stage.json")  # last used now
            return stage
        except FileNotFoundError:
            if not folder.exists():
                return None
        except ValueError:
            pass
        self._set_aside(folder)
        return None

    def publish(self, trajectory: str, step: int, stage: Stage) -> None:
        """Make a stage visible, whole or not at all. Where another process was faster, theirs stays."""
        folder = self._folder(trajectory) / f"{step:08d}"
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = folder.parent / f".{uuid.uuid4().hex}"
        unfinished.mkdir()
        try:
            facts, content = seal(stage)
            (unfinished / "tensors.safetensors").write_bytes(content)
            (unfinished / "stage.json").write_bytes(facts)
            with contextlib.suppress(FileExistsError):
                _rename_new(unfinished, folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def _set_aside(self, folder: Path) -> None:
        damaged = self.root / "damaged"
        damaged.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            folder.rename(damaged / f"{folder.parent.name}-{folder.name}-{uuid.uuid4().hex[:8]}")

    @contextlib.contextmanager
    def lease(self, trajectory: str, wait: bool = True) -> Iterator[bool]:
        """Wait until this process alone may train this trajectory; without `wait`, whether it may right now.

        A lock of the operating system: it ends with the process that holds it, however that dies, so that no lease
        outlives its owner.
        """
        folder = self._folder(trajectory)
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "lease", "w") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if not wait:
                        yield False
                        return
                    time.sleep(POLL_SECONDS)
            yield True


def _rename_new(source: Path, target: Path) -> None:
    """Rename, unless the target exists: a rename onto a folder that is not empty fails."""
    try:
        source.rename(target)
    except OSError as error:
        if target.exists():
            raise FileExistsError(target) from error
        raise


def seal(stage: Stage) -> tuple[bytes, bytes]:
    """The facts with a checksum, as a line of JSON without its end, and the tensors."""
    content = encode(stage.tensors)
    return json.dumps({**stage.facts, "checksum": _checksum(content, stage.facts)}).encode(), content


def unseal(facts: bytes, content: bytes) -> Stage:
    """What was sealed. ValueError where it is damaged."""
    try:
        known = json.loads(facts)
        if known["checksum"] != _checksum(content, known):
            raise ValueError("checksum")
        return Stage(decode(content), known)
    except (KeyError, TypeError) as error:
        raise ValueError("the facts") from error


def encode(tensors: dict[str, Tensor]) -> bytes:
    """A safetensors file. Of copies, for the format has no place for weights that share memory, as tied ones do."""
    copies = {name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    return safetensors.torch.save(copies)


def decode(content: bytes) -> dict[str, Tensor]:
    """The tensors of a safetensors file, on the CPU. ValueError where it is not a whole one."""
    try:
        return safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise ValueError(str(error)) from error


def _checksum(content: bytes, facts: dict[str, Any]) -> str:
    """Of the tensors and the facts, so that neither can change unseen."""
    known = {key: value for key, value in facts.items() if key != "checksum"}
    text = json.dumps(known, sort_keys=True).encode()
    return hashlib.blake2b(content + text, digest_size=16).hexdigest()
