"""Whether a network computes the same without units as with all that belongs to them at zero: tried, once."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lth_sweep.lottery.data.batch import call, first, leaves, mapped
from lth_sweep.lottery.network.norms import tell
from lth_sweep.lottery.network.tracing import copied, random_weights
from lth_sweep.lottery.network.units.parts import Units
from lth_sweep.lottery.network.units.resizing import Plan, masked_with, shrink

TOLERANCE = 1e-4
"""Largest difference of the outputs, relative to the largest output. Float rounding stays below 1e-5 (measured); a unit
that is removed wrongly shows above 1e-2."""


@torch.no_grad()
def not_removable(module: nn.Module, units: Sequence[Units], example: Any) -> dict[int, str]:
    """Those of `units`, by number, that cannot be removed -> why. module: on the CPU, in evaluation mode."""
    inputs = random_inputs(example, SCALES[2:5])
    modules = [tried for seed in (0, 1) if (tried := _tried(module, seed, inputs)) is not None]
    if len(modules) < 2:
        return dict.fromkeys(range(len(units)), "the network's outputs, to be compared without them, are not finite")
    shapes = {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}

    def fails(numbers: Iterable[int]) -> str:
        """Why, or nothing. Tried are a third of each; and one unit of some and most of the rest, by each bit of their
        numbers and by the opposite of the first, so that each loses most once, and any two lose other counts: what has
        to be of one size shows itself."""
        some = {number: units[number] for number in numbers}
        ways = [{number: max(1, group.count // 3) for number, group in some.items()}]
        for bit in (-1, *range(max(some, default=0).bit_length() if len(some) > 1 else 1)):
            few = {number: bool((~number if bit < 0 else number >> bit) & 1) for number in some}
            ways.append({number: 1 if few[number] else max(1, group.count - 1 - group.count // 4)
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


def _tried(module: nn.Module, seed: int, inputs: Any) -> nn.Module | None:
    """A copy with other weights: random ones, or, where these give no finite numbers, its own, changed a bit."""
    tried = random_weights(copied(module), seed)
    if _is_finite(called(tried, inputs)):
        return tried
    tried = copied(module)
    generator = torch.Generator().manual_seed(seed)
    for parameter in tried.parameters():
        parameter.mul_(1 + 0.2 * torch.rand(parameter.shape, generator=generator))
    return tried if _is_finite(called(tried, inputs)) else None


def _is_finite(output: Any) -> bool:
    """Whether there is something to compare."""
    return all(bool(part.isfinite().any()) for part in leaves(output))


def _some(count: int, gone: int) -> Tensor:
    """Bool [units], of which so many are true, but not all."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(count)) < min(gone, count - 1)


REAL = 2
"""Inputs of the example itself."""
SCALES = (1.0, 1.0, 1.0, 0.1, 10.0, 100.0)


def random_inputs(example: Any, scales: Sequence[float] = SCALES) -> Any:
    """One of each scale, so that a unit that a shift hides from small inputs shows itself, and two of the example's, as
    a logarithm has no value for most others; of numbers that are no floats, such as those of words, only its own."""
    generator = torch.Generator().manual_seed(0)

    def drawn(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return first(tensor, len(scales) + REAL, "cpu")
        x = torch.randn(len(scales), *tensor.shape[1:], generator=generator)
        x = (x * torch.tensor(scales).view(-1, *[1] * (x.ndim - 1))).to(tensor.dtype)
        return torch.cat([x, first(tensor, REAL, "cpu")])

    return mapped(drawn, example)


def called(module: nn.Module, inputs: Any) -> Any:
    """What a network gives for inputs that it may change."""
    return call(module, mapped(Tensor.clone, inputs))


CHANGES = "the network gives other outputs at each call in evaluation mode, so that nothing can be compared"


def changes(module: nn.Module, inputs: Any) -> bool:
    """Whether a network gives something else each time."""
    return not same(called(module, inputs), called(module, inputs))


def same(expected: Any, found: Any) -> bool:
    """Whether two outputs are, wherever the first is finite: of a masked network, a unit that is gone may be zero times
    something that is not."""
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
    if not found[finite].isfinite().all():
        return False
    expected, found = (part.where(finite, torch.zeros_like(part)) for part in (expected, found))
    largest = expected.abs().amax(tuple(range(1, expected.ndim)), keepdim=True)
    scale = torch.maximum(largest, largest.max() * 1e-3).clamp(min=1e-30)
    return bool(((found - expected).abs() / scale).max() < TOLERANCE)
