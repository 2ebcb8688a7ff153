"""Stages in an object store.

URI/ab12.../00000050    the state after step 50 of trajectory ab12...: a line of JSON with the facts, then the tensors
URI/ab12.../lease       rewritten every few seconds by whoever is training this trajectory
URI/damaged/            objects that did not agree with their checksums
"""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from lth_sweep.lottery.runs.stages import Stage, Stages, Store, seal, unseal
from lth_sweep.remote.bucket import Bucket, Entry, bucket_at, endpoint
from lth_sweep.remote.lease import lease
from lth_sweep.remote.node_cache import NodeCache, cache_folder, limit, short

DAMAGED = "damaged"
PATHS = "LTH_SWEEP_PATHS"
"""The environment variable for shared folders that lie elsewhere on this machine than on the one that started the
sweep: "/runs=/mnt/runs" says that what is in /runs there is in /mnt/runs here."""


class BucketStages:
    """Implements `Stages`. What this machine has read or written of them it reads from its cache."""

    def __init__(self, bucket: Bucket, cache: NodeCache) -> None:
        self.bucket, self.cache = bucket, cache

    def __str__(self) -> str:
        return str(self.bucket)

    def steps(self, trajectory: str) -> list[int]:
        return [_step(entry) for entry in self.bucket.entries(trajectory) if _is_stage(entry)]

    def usage(self) -> dict[str, tuple[int, float]]:
        """By trajectory with stages: their bytes, and when one of them was last written, in seconds since the epoch."""
        found: dict[str, tuple[int, float]] = {}
        for entry in self.bucket.entries():
            trajectory = entry.key.partition("/")[0]
            if _is_stage(entry) and trajectory != DAMAGED:
                size, written = found.get(trajectory, (0, 0.0))
                found[trajectory] = size + entry.size, max(written, entry.written)
        return found

    def discard(self, trajectory: str) -> bool:
        """Remove a trajectory's stages, unless it is being trained. The lease stays."""
        with self.lease(trajectory, wait=False) as held:
            if held:
                keys = [entry.key for entry in self.bucket.entries(trajectory) if _is_stage(entry)]
                self.bucket.delete(keys)
                for key in keys:
                    self.cache.drop(key)
        return held

    def tidy(self) -> int:
        """Nothing: an object is there whole or not at all."""
        return 0

    def load(self, trajectory: str, step: int) -> Stage | None:
        key = _key(trajectory, step)
        content = self.cache.get(key)
        if content is not None:
            with contextlib.suppress(ValueError):
                return _decoded(content)
            self.cache.drop(key)
        found = self.bucket.get(key)
        if found is None:
            return None
        try:
            stage = _decoded(found.content)
        except ValueError:
            self.bucket.create(f"{DAMAGED}/{key.replace('/', '-')}-{uuid.uuid4().hex[:8]}", found.content)
            self.bucket.delete([key])
            return None
        self.cache.put(key, found.content)
        return stage

    def publish(self, trajectory: str, step: int, stage: Stage) -> None:
        facts, tensors = seal(stage)
        content = b"\n".join((facts, tensors))
        if self.bucket.create(_key(trajectory, step), content):
            self.cache.put(_key(trajectory, step), content)

    @contextlib.contextmanager
    def lease(self, trajectory: str, wait: bool = True) -> Iterator[bool]:
        with lease(self.bucket, f"{trajectory}/lease", "for it" if wait else "not") as other:
            yield not other


def on_this_machine(path: Path) -> Path:
    there, equals, mine = os.environ.get(PATHS, "").partition("=")
    return Path(mine) / path.relative_to(there) if equals and path.is_relative_to(there) else path


def stages_at(place: Path | str) -> Stages:
    """The stages in a folder, or at a URI."""
    if isinstance(place, Path):
        return Store(on_this_machine(place))
    bucket = bucket_at(place)
    return BucketStages(bucket, NodeCache(cache_folder() / "stages" / short(endpoint() + bucket.uri), limit()))


def _key(trajectory: str, step: int) -> str:
    return f"{trajectory}/{step:08d}"


def _step(entry: Entry) -> int:
    return int(entry.key.rpartition("/")[2])


def _is_stage(entry: Entry) -> bool:
    return entry.key.rpartition("/")[2].isdigit()


def _decoded(content: bytes) -> Stage:
    """ValueError where it is damaged."""
    facts, _, tensors = content.partition(b"\n")
    return unseal(facts, tensors)
