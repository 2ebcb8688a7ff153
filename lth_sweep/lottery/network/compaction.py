"""A masked network -> a physically smaller one that computes the same."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.data.batch import call, first, leaves, mapped
from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.removal import Plan, connections, pruned, useless
from lth_sweep.lottery.network.state import State
from lth_sweep.lottery.network.structure import Network, watched
from lth_sweep.lottery.network.tracing import copied
from lth_sweep.lottery.network.units import Units, is_depthwise, units_dim

TOLERANCE = 1e-4
"""Largest difference of the outputs, relative to the largest output. Float rounding stays below 1e-5 (measured); a unit
that is removed wrongly shows above 1e-2."""


def compact(module: nn.Module, masks: Masks, example: Any) -> nn.Module:
    """A copy of `module` under `masks` without the units that do nothing; for inputs like those of `example`, a
    batch, it computes the same in evaluation mode, up to float rounding.

    Gone are units with no way out (nothing reads them), again and again, as their own inputs may then have none; and
    units with no way in, whose constant output goes into the next layer's bias. Such a unit stays where that would not
    be exact: a constant that zero padding surrounds. A layer keeps one unit at least, so that where the masks cut a
    layer off, a network remains whose output is constant. Layers whose units cannot be told apart (grouped
    convolutions, normalisation over several channels) stay whole. `module` itself does not change; the copy is on the
    CPU.

    Raises ConfigError, naming the layer, where the network uses a layer's output in a way that its graph does not show.
    """
    shapes = {name: tensor.shape for name, tensor in module.state_dict().items()}
    for name in masks:
        if masks[name].shape != shapes.get(name):
            raise ConfigError(f"the masks are another network's: the mask of {name} has the shape "
                              f"{list(masks[name].shape)}, but it has {list(shapes.get(name, []))}")  # fmt: skip
    masked = copied(module).cpu().eval()
    State.of(module).masked(masks).load(masked)
    network = Network(module, example)
    units = _removable(network)
    inputs = _inputs(masked, units, example)

    def without(units: dict[str, Units]) -> nn.Module:
        gone, biases = useless(units, connections(network, masks), masked, inputs)
        tensors = dict(masked.state_dict())
        for layer, amount in biases.items():
            tensors[f"{layer}.bias"] = amount + tensors.get(f"{layer}.bias", 0)
        return shrink(masked, Plan.without(units, gone), tensors)

    smaller = without(units)
    if not _same(masked, smaller, example):
        blame = [layer for layer, group in units.items() if not _same(masked, without({layer: group}), example)]
        raise ConfigError(
            f"cannot remove units of layer {', '.join(blame or units)}: the network uses them in a way that "
            "does not show in its layers (a fixed size in a view, an operation over all channels, an addition of "
            "something that no layer makes); spare the layer by a rate of 0 in layer_rates, or rewrite that part"
        )
    return smaller.train(module.training)


def pruned_units(module: nn.Module, masks: Masks, example: Any) -> Plan:
    """What remains without the units of which nothing is left: no weight in or out, no bias, no normalisation.

    Only these may be missing while a network is trained: all their parameters are masked, so that they neither change
    nor matter. Depends on the network's structure and the masks, not on weights, so that a run that is interrupted goes
    on with the same network. Empty where a network cannot be made smaller: it is then trained at its full size.
    """
    if all(mask.flatten(1).any(1).all() for mask in masks.weights.values()):
        return Plan()
    try:
        units = _removable(Network(module, example))
    except ConfigError:
        return Plan()
    plan = Plan.without(units, pruned(units, masks))
    if not plan:
        return plan
    probe = _random_weights(copied(module).cpu().eval())
    State.of(probe).masked(masks).load(probe)
    return plan if _same(probe, shrink(probe, plan, probe.state_dict()), example) else Plan()


def _removable(network: Network) -> dict[str, Units]:
    return {layer: units for layer, units in network.units.items() if units.removable}


def shrink(module: nn.Module, plan: Plan, tensors: dict[str, Tensor]) -> nn.Module:
    """A copy of `module` of the size that the plan keeps, with what it keeps of `tensors`, the state of a whole one."""
    return fit(copied(module), {name: plan.gather(name, tensor) for name, tensor in tensors.items()})


def fit(module: nn.Module, tensors: dict[str, Tensor]) -> nn.Module:
    """`module` itself with these parameters and buffers, by their names in its state, whatever their shapes.

    A bias is added where there is a tensor for one and the layer had none.
    """
    parameters: dict[nn.Parameter | None, nn.Parameter] = {}
    for prefix, layer in module.named_modules():
        for key, old in layer._parameters.items():
            new = tensors.get(f"{prefix}.{key}" if prefix else key)
            if old in parameters:  # one that two layers share is still shared afterwards
                layer._parameters[key] = parameters[old]
            elif new is not None:
                made = nn.Parameter(new.detach().clone(), requires_grad=old is None or old.requires_grad)
                layer._parameters[key] = made
                if old is not None:
                    parameters[old] = made
        for key in layer._buffers:
            new = tensors.get(f"{prefix}.{key}" if prefix else key)
            if new is not None:
                layer._buffers[key] = new.detach().clone()
        if isinstance(layer, nn.Linear):
            layer.out_features, layer.in_features = layer.weight.shape
        elif isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            if is_depthwise(layer):
                layer.groups = layer.weight.shape[0]
            layer.out_channels, readable = layer.weight.shape[:2]
            layer.in_channels = readable * layer.groups
        elif isinstance(layer, _BatchNorm):
            sized = layer.weight if layer.weight is not None else layer.running_mean
            layer.num_features = layer.num_features if sized is None else len(sized)
    return module


@torch.no_grad()
def _inputs(module: nn.Module, units: dict[str, Units], example: Any) -> dict[str, Tensor]:
    """What the layers that read units get when the network sees random inputs: layer -> [columns, ...]."""
    layers = {module.get_submodule(part.layer): part.layer for group in units.values() for part in group.consumers}
    seen: dict[str, list[Tensor]] = {layer: [] for layer in layers.values()}

    def remember(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen[layers[layer]].append(inputs[0].movedim(units_dim(layer), 0).flatten(1))

    with watched(layers, remember):
        call(module, _random_inputs(example))
    return {layer: torch.cat(parts, 1) for layer, parts in seen.items()}


def _random_inputs(example: Any) -> Any:
    """Six, of several scales, so that a unit that a shift hides from small inputs shows itself; of numbers that are no
    floats, such as those of words, the example's own."""
    generator = torch.Generator().manual_seed(0)

    def drawn(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return first(tensor, 6, "cpu")
        x = torch.randn(6, *tensor.shape[1:], generator=generator)
        return (x * torch.tensor([1.0, 1, 1, 0.1, 10, 100]).view(-1, *[1] * (x.ndim - 1))).to(tensor.dtype)

    return mapped(drawn, example)


@torch.no_grad()
def _random_weights(module: nn.Module) -> nn.Module:
    """The module with weights with which each unit makes a difference."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in module.state_dict(keep_vars=True).items():
        if tensor.is_floating_point():
            scale = tensor[0].numel() ** -0.5 if tensor.ndim > 1 else 0.5
            drawn = torch.randn(tensor.shape, generator=generator) * scale
            tensor.copy_(1 + drawn.abs() if name.endswith("running_var") else drawn)
    return module


@torch.no_grad()
def _same(module: nn.Module, smaller: nn.Module, example: Any) -> bool:
    """Whether both give the same outputs; where the first gives none that are finite, there is nothing to compare."""
    inputs = _random_inputs(example)
    expected = leaves(call(module, inputs))
    try:
        found = leaves(call(smaller, inputs))
    except Exception:  # shapes that do not fit, in the user's code
        return False
    return len(found) == len(expected) and all(map(_close, expected, found))


def _close(expected: Tensor, found: Tensor) -> bool:
    if found.shape != expected.shape:
        return False
    if not torch.isfinite(expected).all():
        return True
    largest = expected.abs().amax(tuple(range(1, expected.ndim)), keepdim=True)
    scale = torch.maximum(largest, largest.max() * 1e-3).clamp(min=1e-30)
    return bool(((found - expected).abs() / scale).max() < TOLERANCE)
