"""Which units of a network can go, and what is left without them."""

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
        name = f"{part.layer}.weight"
        shape = network.shapes.get(name, ())
        if len(shape) > 1:
            mask = masks[name] if name in masks else torch.ones(shape, dtype=torch.bool)
            found[part.layer] = mask.flatten(2).any(2) if mask.ndim > 2 else mask.clone()
    return found


def reached(units: Mapping[str, Units], connected: Mapping[str, Tensor], forwards: bool) -> dict[str, Tensor]:
    """Bool [units], for each of `units`: those with a way in from the network's inputs, or, backwards, a way out.

    Grows from the ends of the network, so that units which only feed each other, as the blocks of a residual network
    can, are not reached. Whatever is not among `units` counts as reached.
    """
    side = 1 if forwards else 0
    open_ = {layer: torch.ones(weights.shape[side], dtype=torch.bool) for layer, weights in connected.items()}
    found = {}
    order = list(units) if forwards else list(units)[::-1]
    for layer, group in units.items():
        is_end = not (group.producers if forwards else group.consumers)
        found[layer] = torch.full((group.count,), is_end)
        for part in group.parts:
            if part.dim == side and part.layer in open_ and not is_end:
                open_[part.layer][part.indices.flatten()] = False
    grows = True
    while grows:
        grows = False
        for layer in order:
            group, before = units[layer], found[layer]
            for part in group.producers if forwards else group.consumers:
                weights = connected[part.layer].index_select(side, open_[part.layer].nonzero().flatten())
                found[layer] = found[layer] | part.units(weights.any(side))
            grows |= not torch.equal(found[layer], before)
            for part in group.parts:
                if part.dim == side and part.layer in open_:
                    open_[part.layer][part.entries(found[layer])] = True
    return found


class Removal:
    """Takes units out of a network, one reason after the other, and remembers what is left."""

    def __init__(self, network: Network, masks: Masks, only: str | None = None) -> None:
        self.masks = masks
        self.units = {
            layer: units for layer, units in network.units.items() if units.removable and only in (None, layer)
        }
        self.connected = connections(network, masks)
        self.left = {
            (part.layer, part.dim): torch.ones(part.size, dtype=torch.bool)
            for units in self.units.values()
            for part in units.parts
        }
        """(layer, dimension) -> which rows or columns are still there."""

    def plan(self) -> Plan:
        kept: dict[str, dict[int, Tensor]] = {}
        for (layer, dim), left in self.left.items():
            if not left.all():
                for name in ("weight", "bias", "running_mean", "running_var") if dim == 0 else ("weight",):
                    kept.setdefault(f"{layer}.{name}", {})[dim] = left.nonzero().flatten()
        return Plan(kept)

    def of_pruned(self) -> None:
        """Units all of whose parameters are masked."""
        for units in self.units.values():
            used = torch.zeros(units.count, dtype=torch.bool)
            for part in units.parts:
                if part.role == "consumer":
                    used |= part.units(self.connected[part.layer].any(0))
                else:
                    for name in part.parameters:
                        used |= part.units(~dead_rows(self.masks, name, part.size))
            self._remove(units, ~used)

    def of_useless(self, readers: Mapping[str, nn.Module], inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Units with no way out, and those with no way in; what the latter add to the biases of the layers that read
        them. Of these: the masked layer, and what it reads [columns, ...]."""
        folded: dict[str, Tensor] = {}
        changed = True
        while changed:
            changed = False
            for forwards in (False, True):
                found = reached(self.units, self.connected, forwards)
                for layer, units in self.units.items():
                    gone = ~found[layer]
                    for part in units.consumers if forwards else []:
                        gone &= ~part.units(~_can_fold(readers[part.layer], inputs[part.layer]))
                    gone = self._remove(units, gone)
                    changed |= bool(gone.any())
                    for part in units.consumers if forwards and gone.any() else []:
                        amount = _constant(readers[part.layer], part.entries(gone), inputs[part.layer])
                        if amount.any():
                            folded[part.layer] = folded.get(part.layer, 0) + amount
        return {layer: amount.float() for layer, amount in folded.items()}

    def _remove(self, units: Units, gone: Tensor) -> Tensor:
        """Remove these units where they are still there, leaving each layer one; bool [units]: those removed."""
        first = units.producers[0]
        gone = gone & first.units(self.left[first.layer, 0])
        for part in units.producers:
            left = self.left[part.layer, 0]
            if not left.index_fill(0, part.entries(gone), False).any():
                gone[(part.indices == left.nonzero()[0]).any(1)] = False
        for part in units.parts:
            self.left[part.layer, part.dim][part.entries(gone)] = False
            if part.layer in self.connected:
                self.connected[part.layer].index_fill_(part.dim, part.entries(gone), False)
        return gone


def dead_rows(masks: Masks, name: str, count: int = 0) -> Tensor:
    """Bool [rows]: of which rows nothing is kept; none of `count` where there is no mask."""
    if name not in masks:
        return torch.zeros(count, dtype=torch.bool)
    return ~masks[name].reshape(len(masks[name]), -1).any(1)


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
