"""Files of trained weights: safetensors, state dicts and exported programs of PyTorch."""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import safetensors.torch
import torch
from torch import Tensor

from lth_sweep.lottery.common.errors import ConfigError

INSIDE = ("state_dict", "model_state_dict", "model")
"""Where a checkpoint has its network's weights, if not at its top."""
DTYPES = {1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64, 6: torch.float16,
          7: torch.float32, 8: torch.float64, 12: torch.bool, 13: torch.bfloat16}  # fmt: skip
"""By their numbers in an exported program (torch._export.serde.schema.ScalarType)."""
WRAPPER = "module."
"""What DataParallel puts before every name."""


def read(path: str) -> tuple[Mapping[str, Tensor], str]:
    """The tensors in a file, on the CPU, and a checksum of their names and values: a copy in another place, or in
    another of these formats, is the same. A file is read once per process, and again once it has changed.

    Raises ConfigError, for the field `path`, where there is no such file or it holds no weights.
    """
    place = Path(path).expanduser().absolute()
    if not place.is_file():
        relative = f"beside the sweep file or in {Path.cwd()}" if place != Path(path) else "on this machine"
        raise ConfigError(f"there is no file {path!r} {relative}; put it there (on a cluster: where each machine finds "
                          "it), or give its absolute path", "path")  # fmt: skip
    about = place.stat()
    return _read(place, about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=2)
def _read(place: Path, changed: int, size: int) -> tuple[Mapping[str, Tensor], str]:
    reader = READERS.get(place.suffix)
    if reader is None:
        raise ConfigError(f"{place.name} must be a file of weights and end in {', '.join(READERS)}", "path")
    try:
        content = reader(place)
    except Exception as error:  # of many kinds: what is in it may be anything
        what = str(error).strip().partition("\n")[0][:120]
        raise ConfigError(
            f"{place} cannot be read as weights: {type(error).__name__}: {what}; write it with "
            "safetensors.torch.save_file, or torch.save(network.state_dict(), ...)",
            "path",
        ) from error
    tensors = _weights(content)
    if not tensors:
        raise ConfigError(f"{place} holds no tensors by name at its top or under {', '.join(INSIDE)}; write it with "
                          "torch.save(network.state_dict(), ...)", "path")  # fmt: skip
    if all(name.startswith(WRAPPER) for name in tensors):
        tensors = {name.removeprefix(WRAPPER): tensor for name, tensor in tensors.items()}
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ConfigError(f"{place}: {name} has values that are infinite or not a number", "path")
    return tensors, checksum(tensors)


def _weights(content: Any) -> dict[str, Tensor]:
    """Those one level below, in a checkpoint, or else those at the top."""
    levels = [*(content.get(key) for key in INSIDE), content] if isinstance(content, Mapping) else []
    named = ({name: value.detach() for name, value in level.items() if isinstance(value, Tensor)}
             for level in levels if isinstance(level, Mapping))  # fmt: skip
    return next(filter(None, named), {})


def checksum(tensors: Mapping[str, Tensor]) -> str:
    """32 hexadecimal digits that stand for names, types, shapes and values."""
    content = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        content.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        content.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return content.hexdigest()


def _state_dict(place: Path) -> Any:
    return torch.load(place, map_location="cpu", weights_only=True)


def _program(place: Path) -> Any:
    """The weights of an exported program, read from its archive: torch.export.load would unpickle its sample inputs."""
    with zipfile.ZipFile(place) as archive:
        [config] = [name for name in archive.namelist() if name.endswith("/data/weights/model_weights_config.json")]
        folder = config.rpartition("/")[0]
        return {
            name: _record(archive.read(f"{folder}/{about['path_name']}"), about)
            for name, about in json.loads(archive.read(config))["config"].items()
        }


def _record(content: bytes, about: Mapping[str, Any]) -> Tensor:
    """A tensor of an archive. Those that are no plain memory are kept pickled, and read as state dicts are."""
    if about["use_pickle"]:
        return cast(Tensor, torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
    meta = about["tensor_meta"]
    sizes, strides = ([number["as_int"] for number in meta[key]] for key in ("sizes", "strides"))
    if not content:
        return torch.zeros(sizes, dtype=DTYPES[meta["dtype"]])
    values = torch.frombuffer(bytearray(content), dtype=DTYPES[meta["dtype"]])
    return values.as_strided(sizes, strides, meta["storage_offset"]["as_int"]).clone()


READERS: dict[str, Callable[[Path], Any]] = {
    ".safetensors": safetensors.torch.load_file,
    ".pt2": _program,
    ".pt": _state_dict,
    ".pth": _state_dict,
    ".bin": _state_dict,
    ".ckpt": _state_dict,
}
