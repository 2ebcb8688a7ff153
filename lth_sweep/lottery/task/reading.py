"""Networks that give more than one tensor: which of them is the output, and which a loss of their own."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from lth_sweep.lottery.common.errors import ConfigError

NAMES = ("logits", "out")
"""Of the output among others: as Hugging Face's and torchvision's networks have it."""


class Own(NamedTuple):
    """What a network gives that computes its own loss."""

    output: Any
    loss: Tensor
    """One for each example, [n]: where the network gives a single one, each has that."""


def read(given: Any, part: str | int | None = None, own_loss: bool = False) -> Any:
    """The output among what a network has given: its `part`, by name or place, else what is called "logits" or "out",
    else the first tensor of a tuple that is no single number; with `own_loss` together with the loss, if there is one.
    A tensor is its own output. ConfigError where the output, or what to do with a loss, cannot be told."""
    if isinstance(given, Tensor):
        return given
    parts = _parts(given)
    numbers = [value for value in parts.values() if isinstance(value, Tensor) and value.ndim == 0]
    loss = parts.get("loss", numbers[0] if numbers else None)
    if part is not None:
        output = parts.get(part)
    else:
        tensors = [parts[name] for name in NAMES if name in parts]
        if isinstance(given, tuple | list):
            tensors += [value for value in parts.values() if value is not loss]
        output = next((value for value in tensors if isinstance(value, Tensor)), None)
    if output is None:
        meant = f"no part {part!r}" if part is not None else "no logits"
        raise ConfigError(
            f"the network gives a {type(given).__name__} of {', '.join(map(str, parts)) or 'nothing'}, "
            f"and {meant}; say which part is the output: task: {{kind: ..., output: NAME or PLACE}}"
        )
    if loss is None or not (own_loss or part is None):
        return output
    if not own_loss:
        raise ConfigError("the network computes a loss of its own; to train on that, name the parameter of its forward "
                          "that takes the targets, task: {kind: ..., targets: labels}, and to train on the task's, the "
                          "output, task: {kind: ..., output: logits}")  # fmt: skip
    return Own(output, loss.expand(len(output)))


def parts_of(given: Any) -> tuple[str | int, ...]:
    """The names or places of what a network gives beside each other; of a tensor none."""
    return () if isinstance(given, Tensor) else tuple(_parts(given))


def _parts(given: Any) -> dict[str | int, Any]:
    """By name, or by place; what is None is left out."""
    named = isinstance(given, Mapping) or hasattr(given, "__dict__")
    if isinstance(given, tuple | list) and not hasattr(given, "_fields"):
        found = dict(enumerate(given))
    elif hasattr(given, "_asdict"):
        found = given._asdict()
    else:
        found = dict(given if isinstance(given, Mapping) else vars(given)) if named else {}
    return {name: value for name, value in found.items() if value is not None}
