"""The most memory that was in use since it was last reset: of a GPU, or of this process."""

import contextlib
import re
from pathlib import Path

import torch

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"
"""proc(5): resets VmHWM, the largest resident set."""


def reset(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with contextlib.suppress(OSError):
            CLEAR.write_text(RESET_PEAK)


def peak(device: str) -> int | None:
    """Bytes: what PyTorch's tensors took up on a GPU, or what the process had resident; None where the operating system
    does not say. Where it does not reset it, the most since the process started."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    with contextlib.suppress(OSError):
        if found := re.search(r"^VmHWM:\s+(\d+) kB$", STATUS.read_text(), re.MULTILINE):
            return 1024 * int(found[1])
    return None
