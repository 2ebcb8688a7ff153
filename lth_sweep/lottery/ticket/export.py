"""Tickets as files: smaller networks, each checked equal to the masked network before it is there."""

import importlib.util
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lth_sweep.lottery.common.errors import ConfigError, unknown
from lth_sweep.lottery.data.batch import call, mapped
from lth_sweep.lottery.network.units.removable import CHANGES, changes
from lth_sweep.lottery.ticket.formats import WRITERS, Forward, Source
from lth_sweep.lottery.ticket.plain import TOLERANCE, difference, plain
from lth_sweep.lottery.ticket.ticket import Ticket

EXAMPLES = 256
"""Validation inputs that each file is checked on."""
LONGEST = 300
"""Characters of a reason."""


@dataclass(frozen=True)
class Files:
    """What `export` has written."""

    paths: tuple[Path, ...]
    failed: Mapping[str, str]
    """Format -> why it was not written, in one line."""
    any_length: bool
    """Whether the graphs, of pt2 and onnx, take inputs of any length, too, and not of any number alone."""


def export(ticket: Ticket, folder: Path, formats: Iterable[str] = ("safetensors", "pt2", "onnx")) -> Files:
    """Write the compact network into `folder`, as one file for each format; the masked one where it cannot be made
    smaller, see `Ticket.why_masked`.

    safetensors: ticket.safetensors, and config.json with what `load_ticket` needs beside it; pt2: ticket.pt2, for
    `torch.export.load`; onnx: ticket.onnx, with an input "input" and an output "logits", where there is one of them;
    several inputs have the names that they have in the data or in `forward`. A file gives what the model gives; in pt2
    and onnx, objects are dicts. The size of the batch is free, and so is the length of sequences where the network
    allows it.

    Each file is read again and has to give the masked network's outputs on validation inputs, in batches of one and of
    many; else it is not written, nor is one that PyTorch cannot make. ConfigError where none is left, and for a folder
    that cannot be made or written to.
    """
    formats = list(dict.fromkeys(formats))
    for name in formats:
        if name not in WRITERS:
            raise ConfigError(unknown("format", name, WRITERS), "formats")
    if "onnx" in formats:
        _require_onnx()
    source = Source(ticket, ticket.splits.validation.first(EXAMPLES).x)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        place = tempfile.TemporaryDirectory(dir=folder, prefix=".unfinished-")
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written to: {error.strerror}; choose another folder", "out") from error
    failed: dict[str, str] = {}
    written: list[Path] = []
    with place as unfinished:
        for name in formats:
            part = Path(unfinished) / name
            part.mkdir()
            try:
                check(f"{name} file", WRITERS[name](source, part), source.x, ticket.masked)
            except (OSError, MemoryError):
                raise
            except Exception as error:  # PyTorch's exporters raise what they like
                failed[name] = reason(error)
                continue
            for file in part.iterdir():
                os.replace(file, folder / file.name)
                written.append(folder / file.name)
    if not written:
        raise ConfigError("; ".join(f"{name} failed: {why}" for name, why in failed.items()), "formats")
    return Files(tuple(sorted(written)), failed, source.any_length)


@torch.no_grad()
def check(name: str, forward: Forward, x: Any, masked: nn.Module) -> None:
    """Raise ConfigError unless `forward` gives what the masked network does for x, in batches of one and of many."""
    for part in (slice(0, 1), slice(1, None)):
        ours, theirs = (mapped(lambda tensor: tensor[part].clone(), x) for _ in range(2))  # noqa: B023 - used at once
        worst = difference(plain(call(forward, ours)), call(masked, theirs))
        if not worst < TOLERANCE:
            if changes(masked, mapped(lambda tensor: tensor[part], x)):  # noqa: B023
                raise ConfigError(f"{CHANGES}: have it draw, or keep a state, only while self.training", "formats")
            raise ConfigError(f"the {name} does not compute the same as the masked network: its outputs differ by "
                              f"{worst:.1e} of the largest, but {TOLERANCE:g} is allowed", "formats")  # fmt: skip


def reason(error: BaseException) -> str:
    """What is behind it, in one line."""
    if isinstance(error, ConfigError):
        return error.message
    while cause := error.__cause__ or error.__context__:
        error = cause
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text if len(text) <= LONGEST else text[: LONGEST - 3] + '...'}"


def _require_onnx() -> None:
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"the format onnx needs {', '.join(missing)}: pip install 'lth-sweep[export]'", "formats")
