"""Any nesting of tensors (tuples, lists, dicts) whose first dimension is the examples."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree


def arguments(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Of `forward`: several inputs in their order, those in a dict by name."""
    if isinstance(inputs, Tensor):
        return (inputs,), {}
    return ((), inputs) if isinstance(inputs, dict) else (tuple(inputs), {})


def call(module: Callable[..., Any], inputs: Any) -> Any:
    """What a module gives for these inputs."""
    positional, named = arguments(inputs)
    return module(*positional, **named)


def leaves(batch: Any) -> list[Tensor]:
    """All tensors, in a fixed order."""
    if isinstance(batch, Tensor):
        return [batch]
    return [part for part in pytree.tree_leaves(batch) if isinstance(part, Tensor)]  # None is no tensor


def mapped(function: Callable[[Tensor], Any], batch: Any) -> Any:
    """The same nesting, each tensor replaced by what the function makes of it."""
    return function(batch) if isinstance(batch, Tensor) else pytree.tree_map(function, batch)


def examples_of(batch: Any) -> int:
    return len(leaves(batch)[0])


def described(batch: Any, whole: bool = True) -> Any:
    """The shapes of its tensors, in the same nesting, for people; `whole`: with the number of examples."""
    return mapped(lambda tensor: list(tensor.shape[not whole :]), batch)


def to_json(batch: Any) -> Any:
    """What inputs like these are: the same nesting, with [dtype, shape without the examples] for a tensor."""
    if isinstance(batch, Tensor):
        return {"dtype": str(batch.dtype).removeprefix("torch."), "shape": list(batch.shape[1:])}
    named = isinstance(batch, dict)
    return {"named" if named else "listed": {name: to_json(part) for name, part in batch.items()} if named
            else [to_json(part) for part in batch]}  # fmt: skip


def from_json(fields: Mapping[str, Any], count: int) -> Any:
    """So many zeros like what `to_json` has described."""
    if "named" in fields:
        return {name: from_json(part, count) for name, part in fields["named"].items()}
    if "listed" in fields:
        return tuple(from_json(part, count) for part in fields["listed"])
    return torch.zeros(count, *fields["shape"], dtype=getattr(torch, fields["dtype"]))


def first(batch: Any, count: int, device: torch.device | str) -> Any:
    """Its first `count` examples, and again from the first where it has fewer."""
    return mapped(lambda tensor: tensor[torch.arange(count, device=tensor.device) % len(tensor)].to(device), batch)


def device_of(module: nn.Module) -> torch.device:
    """Where a module's parameters lie; the CPU where it has none."""
    return next((tensor.device for tensor in module.parameters()), torch.device("cpu"))
