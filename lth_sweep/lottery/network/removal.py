"""Which units of a network can go, and what is left without them."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.structure import PRUNABLE, Network, is_depthwise


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


@dataclass(frozen=True)
class Part:
    """Rows (dim 0) or columns (dim 1) of a layer that belong to units: entry index[i] to unit unit[i]."""

    layer: str
    dim: int
    index: Tensor
    unit: Tensor

    def units(self, entries: Tensor, count: int) -> Tensor:
        """Bool [count]: the units any of whose entries are true in `entries`, a bool for each row or column."""
        found = torch.zeros(count, dtype=torch.bool)
        found[self.unit[entries[self.index]]] = True
        return found

    def entries(self, units: Tensor) -> Tensor:
        """The rows or columns of these units (a bool for each)."""
        return self.index[units[self.unit]]


@dataclass(frozen=True)
class Units:
    """The units of a layer, and all that goes with them."""

    count: int
    producers: list[Part]
    """Layers that compute them: several where their outputs are added."""
    passed: list[Part]
    """What works on each unit by itself on the way: BatchNorm, depthwise convolutions."""
    consumers: list[Part]
    """Layers that read them."""

    @property
    def parts(self) -> list[Part]:
        return [*self.producers, *self.passed, *self.consumers]


class Structure:
    """Which units a network has that can be removed, by layer; from Torch-Pruning's dependency graph."""

    def __init__(self, module: nn.Module, example: Any) -> None:
        network = Network(module, example)
        names = {module: name for name, module in module.named_modules()}
        self.layers: dict[str, nn.Module] = dict(module.named_modules())
        found = {layer: _units(group, names, network.output) for layer, group in network.groups.items()}
        self.units: dict[str, Units] = {layer: units for layer, units in found.items() if units}

    @property
    def consumers(self) -> list[str]:
        return sorted({part.layer for units in self.units.values() for part in units.consumers})


def _units(group: Any, names: dict[nn.Module, str], output: str) -> Units | None:
    """None where the units cannot be removed one by one."""
    producers, passed, consumers = [], [], []
    count = 0
    for item in group:
        module = item.dep.target.module
        name = names.get(module)
        if name is None:
            if isinstance(module, nn.Parameter):
                return None
            continue  # an operation without parameters, such as an activation
        index, unit = torch.tensor(item.idxs), torch.tensor(item.root_idxs)
        count = max(count, int(unit.max()) + 1)
        removes_outputs = item.dep.handler.__name__ == "prune_out_channels"
        if isinstance(module, _BatchNorm) or is_depthwise(module):
            passed.append(Part(name, 0, index, unit))
        elif not isinstance(module, PRUNABLE) or getattr(module, "groups", 1) != 1:
            return None
        elif removes_outputs:
            producers.append(Part(name, 0, index, unit))
        else:
            consumers.append(Part(name, 1, index, unit))
    is_output = any(part.layer == output for part in producers)
    return Units(count, producers, passed, consumers) if producers and consumers and not is_output else None


class Removal:
    """Takes units out of a network, one reason after the other, and remembers what is left."""

    def __init__(self, structure: Structure, masks: Masks, only: str | None = None) -> None:
        self.structure, self.masks = structure, masks
        self.units = {layer: units for layer, units in structure.units.items() if only in (None, layer)}
        self.left: dict[tuple[str, int], Tensor] = {}
        """(layer, dimension) -> which rows or columns are still there."""
        self.connected: dict[str, Tensor] = {}
        """Layer -> bool [rows, columns]: whether any weight is left between the two."""
        for units in structure.units.values():
            for part in units.parts:
                layer: Any = structure.layers[part.layer]
                weight = layer.weight
                size = layer.num_features if weight is None else weight.shape[part.dim]
                self.left[part.layer, part.dim] = torch.ones(size, dtype=torch.bool)
                if weight is not None and weight.ndim > 1 and part.layer not in self.connected:
                    name = f"{part.layer}.weight"
                    mask = masks[name] if name in masks else torch.ones(weight.shape, dtype=torch.bool)
                    self.connected[part.layer] = mask.flatten(2).any(2) if mask.ndim > 2 else mask.clone()

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
            for part in units.consumers:
                used |= part.units(self.connected[part.layer].any(0), units.count)
            for part in [*units.producers, *units.passed]:
                for name in ("weight", "bias"):
                    parameter = getattr(self.structure.layers[part.layer], name)
                    if parameter is not None:
                        rows = dead_rows(self.masks, f"{part.layer}.{name}", len(parameter))
                        used |= part.units(~rows, units.count)
            self._remove(units, ~used)

    def of_useless(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Units with no way out, and those with no way in; what the latter add to the biases of the layers that read
        them. `inputs`: of each layer that reads units, see `_inputs`."""
        folded: dict[str, Tensor] = {}
        changed = True
        while changed:
            changed = False
            for forwards in (False, True):
                reached = self._reached(forwards)
                for layer, units in self.units.items():
                    gone = ~reached[layer]
                    if forwards:
                        for part in units.consumers:
                            foldable = _can_fold(self.structure.layers[part.layer], inputs[part.layer])
                            gone &= ~part.units(~foldable, units.count)
                    gone = self._remove(units, gone)
                    changed |= bool(gone.any())
                    for part in units.consumers if forwards and gone.any() else []:
                        columns = part.entries(gone)
                        reader: Any = self.structure.layers[part.layer]
                        read = reader.weight.detach()[:, columns].double().reshape(len(reader.weight), len(columns), -1)
                        amount = read.sum(2) @ inputs[part.layer][columns].mean(1).double()
                        if amount.any():
                            folded[part.layer] = folded.get(part.layer, 0) + amount
        return {layer: amount.float() for layer, amount in folded.items()}

    def _reached(self, forwards: bool) -> dict[str, Tensor]:
        """Layer -> bool [units]: those with a way in from the network's inputs, or, backwards, a way out.

        Grows from the ends of the network, so that units which only feed each other, as the blocks of a residual
        network can, are not reached.
        """
        side = 1 if forwards else 0
        ends = {layer: torch.ones(weights.shape[side], dtype=torch.bool) for layer, weights in self.connected.items()}
        for units in self.units.values():
            for part in units.parts:
                if part.dim == side and part.layer in ends:
                    ends[part.layer][part.index] = False
        found = {layer: torch.zeros(units.count, dtype=torch.bool) for layer, units in self.units.items()}
        grows = True
        while grows:
            grows = False
            for layer in self.units if forwards else reversed(self.units):
                units = self.units[layer]
                new = torch.zeros(units.count, dtype=torch.bool)
                for part in units.producers if forwards else units.consumers:
                    weights = self.connected[part.layer].index_select(side, ends[part.layer].nonzero().flatten())
                    new |= part.units(weights.any(side), units.count)
                grows |= bool((new & ~found[layer]).any())
                found[layer] |= new
                for part in units.parts:
                    if part.dim == side and part.layer in ends:
                        ends[part.layer][part.entries(new)] = True
        return found

    def _remove(self, units: Units, gone: Tensor) -> Tensor:
        """Remove these units where they are still there, leaving each layer one; bool [units]: those removed."""
        first = units.producers[0]
        gone = gone & first.units(self.left[first.layer, 0], units.count)
        for part in units.producers:
            left = self.left[part.layer, 0]
            without = left.index_fill(0, part.entries(gone), False)
            if not without.any():
                spared = left.nonzero()[0]
                gone[part.unit[part.index == spared]] = False
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


def _can_fold(layer: nn.Module, x: Tensor) -> Tensor:
    """Bool [columns]: whether an input of `layer` is constant, so that it acts as a bias. One that is not zero does
    not where zeros pad the image."""
    low, high = x.amin(1), x.amax(1)
    constant = high - low <= 1e-6 * torch.maximum(low.abs(), high.abs())
    if isinstance(layer, _ConvNd) and layer.padding_mode == "zeros" and layer.padding != "valid":
        padded = layer.padding == "same" or any(layer.padding)
        return constant & (high == 0) if padded else constant
    return constant
