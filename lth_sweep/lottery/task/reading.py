"""Networks that give more than one tensor: which of their parts is the output."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lth_sweep.lottery.common.errors import ConfigError

NAMES = ("logits", "out")
"""Of the output among others: as Hugging Face's and torchvision's networks have it."""


def read(output: Any) -> Any:
    """A tensor as it is; what is called "logits" or "out"; the first part of a tuple or a list. ConfigError where none
    of these is there."""
    if isinstance(output, Tensor):
        return output
    named = output if isinstance(output, Mapping) else vars(output) if hasattr(output, "__dict__") else {}
    found = next((named[name] for name in NAMES if isinstance(named.get(name), Tensor)), None)
    if found is None and isinstance(output, tuple | list) and output:
        found = read(output[0])
    if found is None:
        names = f" with {', '.join(map(str, named))}" if named else ""
        raise ConfigError(f"the network gives a {type(output).__name__}{names}, of which it cannot be told what the "
                          f"output is: it must be a tensor, called {' or '.join(NAMES)}, or the first of several",
                          "model")  # fmt: skip
    return found
