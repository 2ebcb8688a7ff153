"""Whether two networks differ in nothing but what training changes, as those of a sweep's trials do."""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from lth_sweep.lottery.data.batch import leaves
from lth_sweep.lottery.network.state import first_names
from lth_sweep.lottery.network.weights_file import checksum

MOST = 32
"""Answers that are remembered."""
IN_MODULES = {"training", "_parameters", "_buffers", "_modules", "_flat_weights", "_flat_weight_refs"}
"""Attributes of modules that say nothing of what they do, or that are looked at as tensors."""

Answer = TypeVar("Answer")


def once_per_structure(function: Callable[[nn.Module, Any], Answer]) -> Callable[[nn.Module, Any], Answer]:
    """Remember what a function of a network and its inputs gives, for all networks that are the same."""
    known: dict[Any, Answer] = {}

    @wraps(function)
    def remembered(module: nn.Module, example: Any) -> Answer:
        try:
            key = _structure(module, example)
            if key in known:
                return known[key]
        except (TypeError, RuntimeError):  # something that is not compared by its value
            return function(module, example)
        if len(known) == MOST:
            del known[next(iter(known))]
        known[key] = function(module, example)
        return known[key]

    return remembered


def _structure(module: nn.Module, example: Any) -> Any:
    """All that says what a network does. Raises TypeError where that cannot be compared."""
    parts: list[Any] = [(tensor.dtype, tensor.shape[1:]) for tensor in leaves(example)]
    for name, part in module.named_modules():
        tensors = {key: _form(tensor) for key, tensor in {**part._parameters, **part._buffers}.items()}
        # A buffer can say what a network does, as one of indices does; the running statistics of a norm do not.
        values = {} if isinstance(part, _NormBase) else part._buffers
        content = checksum({key: value for key, value in values.items() if value is not None and not value.is_meta})
        other = {
            key: [*value.values()] if "hooks" in key and isinstance(value, dict) else value  # by numbers that count on
            for key, value in vars(part).items()
            if key not in IN_MODULES
        }
        parts.append((name, type(part), content, _comparable([tensors, other])))
    return (*parts, *first_names(module).items())


def _form(tensor: Tensor | None) -> Any:
    return None if tensor is None else (tensor.shape, tensor.dtype, tensor.requires_grad)


def _comparable(value: Any) -> Any:
    """As tuples; functions and other objects are themselves."""
    if isinstance(value, dict):
        return tuple((key, _comparable(one)) for key, one in value.items())
    if isinstance(value, list | tuple | set):
        return (type(value), *map(_comparable, value))
    if isinstance(value, partial):
        return (value.func, _comparable(value.args), _comparable(value.keywords))
    if isinstance(value, Tensor):
        raise TypeError("a tensor that is neither a parameter nor a buffer")
    hash(value)
    return value
