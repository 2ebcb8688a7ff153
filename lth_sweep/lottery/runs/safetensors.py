"""The safetensors format, read and written in a few lines, so that the core needs nothing but torch.

8 bytes: length n of the header, little endian; n bytes: a JSON object, name -> {dtype, shape, data_offsets}; then the
tensors' bytes, one after the other. Files are the same as the safetensors package's, which the tests read them with.
"""

import json
import math

import torch
from torch import Tensor

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


def encode(tensors: dict[str, Tensor]) -> bytes:
    """The file for these tensors, in the order of their names."""
    header = {}
    parts = []
    start = 0
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        content = tensor.flatten().view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
        header[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, start + len(content)],
        }
        parts.append(content)
        start += len(content)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])


def decode(content: bytes) -> dict[str, Tensor]:
    """The tensors of a file. ValueError where it is not a whole file of this format."""
    start = 8 + int.from_bytes(content[:8], "little")
    if len(content) < start:
        raise ValueError("the file ends within its header")
    tensors = {}
    buffer = bytearray(content[start:])
    for name, entry in json.loads(content[8:start]).items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        dtype, shape = _DTYPES[entry["dtype"]], entry["shape"]
        if end > len(buffer) or end - begin != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"tensor {name!r} does not fit its place in the file")
        count = math.prod(shape)
        flat = (
            torch.frombuffer(buffer, dtype=dtype, count=count, offset=begin) if count else torch.empty(0, dtype=dtype)
        )
        tensors[name] = flat.view(shape).clone()
    return tensors
