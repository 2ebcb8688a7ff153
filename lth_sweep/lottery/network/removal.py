"""Which units of a network do nothing, and what is left without them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.structure import Network
from lth_sweep.lottery.network.units.parts import Part, Units


def connections(network: Network, masks: Masks) -> dict[str, Tensor]:
    """Weight that makes units or reads them -> bool, along its first two dimensions: whether anything is left there."""
    found: dict[str, Tensor] = {}
    ends = [part for units in network.units.values() for part in _ends(units, True) + _ends(units, False)]
    for part in {part.parameter: part for part in ends}.values():
        mask = masks.tensors.get(part.parameter)
        mask = torch.ones(network.shapes[part.parameter], dtype=torch.bool) if mask is None else mask
        found[part.parameter] = mask.flatten(2).any(2) if mask.ndim > 2 else mask.clone()
    return found


def _ends(units: Units, forwards: bool) -> list[Part]:
    """The rows that make the units, or, backwards, the columns that read them."""
    return [part for part in (units.producers if forwards else units.consumers) if part.dim < 2]


def reached(units: Mapping[str, Units], connected: Mapping[str, Tensor], forwards: bool) -> dict[str, Tensor]:
    """Bool [units], for each of `units`: those with a way in from the network's inputs, or, backwards, a way out.

    Grows from the ends of the network, so that units which only feed each other, as the blocks of a residual network
    can, are not reached. Whatever is not among `units` counts as reached.
    """
    open_ = {(name, dim): torch.ones(size, dtype=torch.bool)
             for name, weights in connected.items() for dim, size in enumerate(weights.shape)}  # fmt: skip
    ways = {name: _ends(group, forwards) for name, group in units.items()}
    found = {name: torch.full((group.count,), not ways[name]) for name, group in units.items()}

    def open_up(name: str) -> None:
        for part in _ends(units[name], not forwards):
            open_[part.parameter, part.dim][part.indices] = found[name][:, None]

    for name in units:
        open_up(name)
    grows = True
    while grows:
        grows = False
        for name in units if forwards else reversed(list(units)):
            before = found[name]
            for part in ways[name]:
                other = 1 - part.dim
                there = open_[part.parameter, other].nonzero().flatten()
                weights = connected[part.parameter].index_select(other, there)
                found[name] = found[name] | part.units(weights.any(other))
            grows |= not torch.equal(found[name], before)
            open_up(name)
    return found


def pruned(network: Network, masks: Masks) -> dict[str, Tensor]:
    """Bool [units], for each of the network's: those all of whose parameters are masked, but for one of each layer."""
    found = {}
    for name, group in network.units.items():
        gone = torch.ones(group.count, dtype=torch.bool)
        for part in (part for part in group.parts if part.parameter in network.shapes):  # a buffer has no mask
            gone &= ~part.units(_used(part, masks))
        if gone.all():
            gone[0] = False
        found[name] = gone
    return found


def _used(part: Part, masks: Masks) -> Tensor:
    """Bool [entries]: whether anything of them is left."""
    if part.parameter not in masks:
        return torch.ones(part.size, dtype=torch.bool)
    return masks[part.parameter].movedim(part.dim, 0).reshape(part.size, -1).any(1)


def useless(
    network: Network, masks: Masks, module: nn.Module, inputs: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Bool [units], for each of the network's: those with no way out, again and again, and those with no way in, but
    for one of each layer; and what the latter add to the biases of the layers that read them, by the names of their
    weights. A unit stays that a norm over all channels counts, such as a LayerNorm.

    inputs: what each layer of the masked `module` that has a bias for what it reads gets [columns, ...], by the name of
    its weight.
    """
    units, connected = network.units, connections(network, masks)
    found = {name: torch.zeros(group.count, dtype=torch.bool) for name, group in units.items()}
    biases: dict[str, Tensor] = {}
    layers = {name: module.get_submodule(name.removesuffix("weight").rstrip(".")) for name in inputs}
    folds = {name: _can_fold(layer, inputs[name]) for name, layer in layers.items()}
    counted = {name: torch.zeros(group.count, dtype=torch.bool) for name, group in units.items()}
    for name, group in units.items():
        for part in (part for part in group.parts if part.role == "norm"):
            counted[name] |= part.units(_used(part, masks))
    changed = True
    while changed:
        changed = False
        for forwards in (False, True):
            used = reached(units, connected, forwards)
            for name, group in units.items():
                gone = ~used[name] & ~found[name] & ~counted[name]
                for part in group.consumers if forwards else []:
                    constant = folds.get(part.parameter, torch.zeros(part.size, dtype=torch.bool))
                    gone &= ~part.units(~constant)
                if (gone | found[name]).all():
                    gone[(~found[name]).nonzero()[0]] = False
                if not gone.any():
                    continue
                changed = True
                found[name] |= gone
                for part in group.parts:
                    entries, weight = part.entries(gone), part.parameter
                    if weight in connected and part.dim < 2:
                        connected[weight].index_fill_(part.dim, entries, False)
                    if forwards and part.role == "consumer":
                        amount = _constant(layers[weight], entries, inputs[weight])
                        if amount.any():
                            biases[weight] = biases.get(weight, 0) + amount
    return found, {weight: amount.float() for weight, amount in biases.items()}


def _constant(layer: Any, columns: Tensor, x: Tensor) -> Tensor:
    """What these columns of a layer add to its outputs, where what they read, of x [columns, ...], does not vary."""
    read = layer.weight.detach()[:, columns].double().reshape(len(layer.weight), len(columns), -1)
    return read.sum(2) @ x[columns].mean(1).double()


def _can_fold(layer: nn.Module, x: Tensor) -> Tensor:
    """Bool [columns]: whether an input of `layer` is constant, so that it acts as a bias. One that is not zero does
    not where zeros pad the image."""
    low, high = x.amin(1), x.amax(1)
    constant = high - low <= 1e-6 * torch.maximum(low.abs(), high.abs())
    if isinstance(layer, _ConvNd) and layer.padding_mode == "zeros" and layer.padding != "valid":
        padded = layer.padding == "same" or any(layer.padding)
        return constant & (high == 0) if padded else constant
    return constant
