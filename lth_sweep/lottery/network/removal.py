"""Which units of a network do nothing, and what is left without them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.structure import Network
from lth_sweep.lottery.network.units import Units


@dataclass(frozen=True)
class Plan:
    """What a smaller network keeps: parameter or buffer -> dimension -> indices. What is not named is kept whole."""

    kept: dict[str, dict[int, Tensor]] = field(default_factory=dict)

    @classmethod
    def without(cls, units: Mapping[str, Units], gone: Mapping[str, Tensor]) -> "Plan":
        """gone: bool [units], for each of `units`."""
        left: dict[tuple[str, int], Tensor] = {}
        for layer, group in units.items():
            for part in group.parts:
                entries = left.setdefault((part.layer, part.dim), torch.ones(part.size, dtype=torch.bool))
                entries[part.entries(gone[layer])] = False
        kept: dict[str, dict[int, Tensor]] = {}
        for (layer, dim), entries in left.items():
            if not entries.all():
                for name in ("weight", "bias", "running_mean", "running_var") if dim == 0 else ("weight",):
                    kept.setdefault(f"{layer}.{name}", {})[dim] = entries.nonzero().flatten()
        return cls(kept)

    def __bool__(self) -> bool:
        return bool(self.kept)

    def gather(self, name: str, tensor: Tensor) -> Tensor:
        """The part that is kept. Tensors without that many dimensions, such as a count of steps, are kept whole."""
        for dim, index in self.kept.get(name, {}).items():
            if dim < tensor.ndim:
                tensor = tensor.index_select(dim, index.to(tensor.device))
        return tensor

    def scatter(self, name: str, tensor: Tensor, shape: torch.Size) -> Tensor:
        """Back to `shape`, with zeros where nothing was kept."""
        for dim, index in self.kept.get(name, {}).items():
            if dim < tensor.ndim:
                size = [*tensor.shape[:dim], shape[dim], *tensor.shape[dim + 1 :]]
                tensor = tensor.new_zeros(size).index_copy(dim, index.to(tensor.device), tensor)
        return tensor


def connections(network: Network, masks: Masks) -> dict[str, Tensor]:
    """Layer with units or reading them -> bool [rows, columns]: whether any weight is left between the two."""
    found: dict[str, Tensor] = {}
    for part in (part for units in network.units.values() for part in units.parts):
        frozen = (name for name in part.parameters if len(network.shapes[name]) > 1)
        if name := network.weights.get(part.layer, next(frozen, None)):
            mask = masks[name] if name in masks else torch.ones(network.shapes[name], dtype=torch.bool)
            found[part.layer] = mask.flatten(2).any(2) if mask.ndim > 2 else mask.clone()
    return found


def reached(units: Mapping[str, Units], connected: Mapping[str, Tensor], forwards: bool) -> dict[str, Tensor]:
    """Bool [units], for each of `units`: those with a way in from the network's inputs, or, backwards, a way out.

    Grows from the ends of the network, so that units which only feed each other, as the blocks of a residual network
    can, are not reached. Whatever is not among `units` counts as reached.
    """
    side = 1 if forwards else 0
    open_ = {layer: torch.ones(weights.shape[side], dtype=torch.bool) for layer, weights in connected.items()}
    ways = {layer: group.producers if forwards else group.consumers for layer, group in units.items()}
    found = {layer: torch.full((group.count,), not ways[layer]) for layer, group in units.items()}

    def open_up(layer: str) -> None:
        for part in units[layer].parts:
            if part.dim == side and part.layer in open_:
                open_[part.layer][part.indices] = found[layer][:, None]

    for layer in units:
        open_up(layer)
    grows = True
    while grows:
        grows = False
        for layer in units if forwards else reversed(list(units)):
            before = found[layer]
            for part in ways[layer]:
                weights = connected[part.layer].index_select(side, open_[part.layer].nonzero().flatten())
                found[layer] = found[layer] | part.units(weights.any(side))
            grows |= not torch.equal(found[layer], before)
            open_up(layer)
    return found


def pruned(units: Mapping[str, Units], masks: Masks) -> dict[str, Tensor]:
    """Bool [units], for each of `units`: those all of whose parameters are masked, but for one of each layer."""
    found = {}
    for layer, group in units.items():
        gone = torch.ones(group.count, dtype=torch.bool)
        for part in group.parts:
            for name in part.parameters:
                used = torch.ones(part.size, dtype=torch.bool)
                if name in masks:
                    used = masks[name].movedim(part.dim, 0).reshape(part.size, -1).any(1)
                gone &= ~part.units(used)
        if gone.all():
            gone[0] = False
        found[layer] = gone
    return found


def useless(
    units: Mapping[str, Units], connected: dict[str, Tensor], module: nn.Module, inputs: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Bool [units], for each of `units`: those with no way out, again and again, and those with no way in, but for one
    of each layer; and what the latter add to the biases of the layers that read them.

    connected: see `connections`; loses what the units have. inputs: what each layer of the masked `module` that reads
    units gets [columns, ...].
    """
    found = {layer: torch.zeros(group.count, dtype=torch.bool) for layer, group in units.items()}
    biases: dict[str, Tensor] = {}
    changed = True
    while changed:
        changed = False
        for forwards in (False, True):
            used = reached(units, connected, forwards)
            for layer, group in units.items():
                gone = ~used[layer] & ~found[layer]
                for part in group.consumers if forwards else []:
                    gone &= ~part.units(~_can_fold(module.get_submodule(part.layer), inputs[part.layer]))
                if (gone | found[layer]).all():
                    gone[(~found[layer]).nonzero()[0]] = False
                if not gone.any():
                    continue
                changed = True
                found[layer] |= gone
                for part in group.parts:
                    entries = part.entries(gone)
                    if part.layer in connected:
                        connected[part.layer].index_fill_(part.dim, entries, False)
                    if forwards and part.role == "consumer":
                        amount = _constant(module.get_submodule(part.layer), entries, inputs[part.layer])
                        if amount.any():
                            biases[part.layer] = biases.get(part.layer, 0) + amount
    return found, {layer: amount.float() for layer, amount in biases.items()}


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
