"""Whether a network computes the same without units as with all that belongs to them at zero: tried, once."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lth_sweep.lottery.data.batch import call, first, leaves, mapped
from lth_sweep.lottery.network.norms import tell
from lth_sweep.lottery.network.resizing import Plan, masked_with, shrink
from lth_sweep.lottery.network.tracing import copied
from lth_sweep.lottery.network.units import Units

TOLERANCE = 1e-4
"""Largest difference of the outputs, relative to the largest output. Float rounding stays below 1e-5 (measured); a unit
that is removed wrongly shows above 1e-2."""


@torch.no_grad()
def not_removable(module: nn.Module, units: Sequence[Units], example: Any) -> dict[int, str]:
    """Those of `units`, by number, that cannot be removed -> why. module: on the CPU, in evaluation mode."""
    modules = [random_weights(copied(module), seed) for seed in (0, 1)]
    inputs = random_inputs(example, SCALES[2:5])
    shapes = {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}

    def fails(numbers: Iterable[int]) -> str:
        """Why, or nothing. Tried are a third of each, and, for each bit of their numbers, one unit of those that have
        it and most of the rest, so that any two lose other counts: what has to be of one size shows itself."""
        some = {number: units[number] for number in numbers}
        bits = max(some, default=0).bit_length() if len(some) > 1 else 1
        ways = [{number: max(1, group.count // 3) for number, group in some.items()}]
        for bit in range(max(1, bits)):
            ways.append({number: 1 if number >> bit & 1 else max(1, group.count - 1 - group.count // 4)
                         for number, group in some.items()})  # fmt: skip
        return next(filter(None, (differs(some, counts, modules[bool(way)]) for way, counts in enumerate(ways))), "")

    def differs(some: dict[int, Units], counts: dict[int, int], module: nn.Module) -> str:
        gone = {number: _some(group.count, counts[number]) for number, group in some.items()}
        masks = masked_with(some, gone, shapes, {})
        masked = copied(module)
        for name, parameter in masked.named_parameters():
            if name in masks:
                parameter.mul_(masks[name])
        tell(masked, masks)
        try:
            smaller = shrink(module, Plan.without(some, gone), module.state_dict())
            found = called(smaller, inputs)
        except Exception as error:  # of any kind, in the user's code
            return f"the network has a fixed size for its units: {type(error).__name__}: {error}".partition("\n")[0]
        return "" if same(called(masked, inputs), found) else "the network computes something else without its units"

    everything = range(len(units))
    if not units or not fails(everything):
        return {}
    failed = {number: reason for number in everything if (reason := fails([number]))}
    left: list[int] = []
    rest = [number for number in everything if number not in failed]
    if fails(rest):
        for number in rest:
            if reason := fails([*left, number]):
                failed[number] = reason
            else:
                left.append(number)
    return failed


def _some(count: int, gone: int) -> Tensor:
    """Bool [units], of which so many are true, but not all."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(count)) < min(gone, count - 1)


BLOCK = 99_991
"""Weights that are drawn; a prime number, so that those of two rows differ where larger tensors repeat them."""
SCALES = (1.0, 1.0, 1.0, 0.1, 10.0, 100.0)


def random_inputs(example: Any, scales: Sequence[float] = SCALES) -> Any:
    """One of each scale, so that a unit that a shift hides from small inputs shows itself; of numbers that are no
    floats, such as those of words, the example's own."""
    generator = torch.Generator().manual_seed(0)

    def drawn(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return first(tensor, len(scales), "cpu")
        x = torch.randn(len(scales), *tensor.shape[1:], generator=generator)
        return (x * torch.tensor(scales).view(-1, *[1] * (x.ndim - 1))).to(tensor.dtype)

    return mapped(drawn, example)


@torch.no_grad()
def random_weights(module: nn.Module, seed: int = 0) -> nn.Module:
    """The module with weights with which each unit makes a difference."""
    numbers = torch.randn(BLOCK, generator=torch.Generator().manual_seed(seed))
    running = {name: buffer for name, buffer in module.named_buffers() if "running_" in name}
    for number, (name, tensor) in enumerate({**dict(module.named_parameters()), **running}.items()):
        if tensor.is_floating_point():
            scale = tensor[0].numel() ** -0.5 if tensor.ndim > 1 else 0.5
            drawn = numbers.repeat(1 + tensor.numel() // BLOCK).roll(number)[: tensor.numel()] * scale
            drawn = drawn.view(tensor.shape)
            tensor.copy_(1 + drawn.abs() if name.endswith("running_var") else drawn)
    return module


def called(module: nn.Module, inputs: Any) -> Any:
    """What a network gives for inputs that it may change."""
    return call(module, mapped(Tensor.clone, inputs))


def same(expected: Any, found: Any) -> bool:
    """Whether two outputs are; where no number of the first is finite, there is nothing to compare."""
    expected, found = leaves(expected), leaves(found)
    return len(found) == len(expected) and all(map(_close, expected, found))


def _close(expected: Any, found: Any) -> bool:
    if not isinstance(expected, Tensor) or not isinstance(found, Tensor):
        return type(expected) is type(found)
    if found.shape != expected.shape:
        return False
    if not expected.is_floating_point():
        return torch.equal(expected, found)
    finite = expected.isfinite()
    if not torch.equal(finite, found.isfinite()):
        return not bool(finite.any())
    expected, found = (part.where(finite, torch.zeros_like(part)) for part in (expected, found))
    largest = expected.abs().amax(tuple(range(1, expected.ndim)), keepdim=True)
    scale = torch.maximum(largest, largest.max() * 1e-3).clamp(min=1e-30)
    return bool(((found - expected).abs() / scale).max() < TOLERANCE)
