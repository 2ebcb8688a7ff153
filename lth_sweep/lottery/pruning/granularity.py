"""What is removed together: single weights, whole units (a neuron of a Linear, a filter of a convolution), or n:m."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from lth_sweep.lottery.common.errors import ConfigError, require
from lth_sweep.lottery.common.registry import Strategy
from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.structure import Network
from lth_sweep.lottery.network.units.parts import Units
from lth_sweep.lottery.network.units.resizing import masked_with


class NothingToRemove(ConfigError):
    """Of this network the granularity can remove nothing: what is left of a trial is its dense network."""


class Granularity(Strategy):
    """A family of granularities: how weights make up the items that compete, and what removing an item removes.

    The items of a layer go by its name; those that several layers share, by the name of the first of these.
    """

    family: ClassVar[str] = "granularity"
    keeps_one: ClassVar[bool] = False
    """Whether the last item of a layer is never removed."""
    removes_units: ClassVar[bool] = False
    """Whether whole units go, so that a smaller network is left."""

    @property
    def density(self) -> float | None:
        """The share of the items that is kept, where no rate decides that."""
        return None

    def check_trial(self, trial: Any) -> None:
        if self.density is not None and trial.scope == "global":
            raise ConfigError(f"scope global does not go with granularity {self.kind}, which keeps the same share of "
                              "each layer; use scope layer", "scope")  # fmt: skip

    def layers(self, network: Network) -> dict[str, tuple[str, ...]]:
        """Where items are -> the layers whose weights they are made of. Raises ConfigError where there are none."""
        return {layer: (layer,) for layer in network.layers}

    def spared(self, network: Network) -> dict[str, str]:
        """Layer without items -> why it has none."""
        return {}

    def left(self, masks: Masks, network: Network) -> dict[str, int]:
        """How many items are still there."""
        raise NotImplementedError

    def items(self, scores: Mapping[str, Tensor], masks: Masks, network: Network) -> dict[str, tuple[Tensor, Tensor]]:
        """Where all layers have scores: a score for each item [n], and whether the item is still there [n]."""
        raise NotImplementedError

    def without(self, removed: Mapping[str, Tensor], masks: Masks, network: Network) -> Masks:
        """The masks that are left when the items with `removed` [n] true are gone."""
        raise NotImplementedError


@dataclass(frozen=True)
class Weight(Granularity):
    """Single weights."""

    def left(self, masks: Masks, network: Network) -> dict[str, int]:
        return {layer: masks.kept[network.weights[layer]] for layer in self.layers(network)}

    def items(self, scores: Mapping[str, Tensor], masks: Masks, network: Network) -> dict[str, tuple[Tensor, Tensor]]:
        return {layer: (score.flatten(), masks[network.weights[layer]].flatten()) for layer, score in scores.items()}

    def without(self, removed: Mapping[str, Tensor], masks: Masks, network: Network) -> Masks:
        gone = {network.weights[layer]: items for layer, items in removed.items()}
        return masks.replace({name: masks[name] & ~items.view_as(masks[name]) for name, items in gone.items()})


@dataclass(frozen=True)
class Unit(Granularity):
    """Whole units, with everything that only they use: their bias and normalisation entries, and the weights that read
    their output (Li et al. 2016, section 3). The units of the last layer, the classes, are never removed.

    Units are neurons, filters (of a convolution in groups, one of each group), units of recurrent layers with all their
    gates, heads of attention, the hidden part of gated and feed-forward blocks, groups of a GroupNorm. What goes
    together is measured on the network, and each removal is tried before anything is trained: the network has to
    compute the same without the units. Layers where it does not keep theirs; `plan` names them.

    Where the outputs of several layers are added, as in residual networks, or read by a depthwise convolution, unit u
    of one can only go with unit u of the others. By default such layers keep their units (Li et al., section 3.3).
    """

    coupled: bool = False
    """Remove those too, together, the width of a transformer among them; their score is the mean over all their
    weights."""

    keeps_one: ClassVar[bool] = True
    removes_units: ClassVar[bool] = True

    def units(self, network: Network) -> dict[str, Units]:
        return {
            first: units for first, units in network.units.items()
            if units.layers and (self.coupled or not units.coupled)
        }  # fmt: skip

    def layers(self, network: Network) -> dict[str, tuple[str, ...]]:
        found = {first: tuple(units.layers) for first, units in self.units(network).items()}
        if not found:
            raise NothingToRemove(
                f"no layer of the network has units that can be removed{_reasons(network)}", "granularity"
            )
        return found

    def spared(self, network: Network) -> dict[str, str]:
        alone = {layer for units in self.units(network).values() for layer in units.layers}
        return {
            layer: network.spared.get(layer, "its units can only go with others: coupled is false")
            for layer in network.layers
            if layer not in alone
        }

    def left(self, masks: Masks, network: Network) -> dict[str, int]:
        units = self.units(network)
        return {first: int((_sums(network, masks, group) > 0).sum()) for first, group in units.items()}

    def items(self, scores: Mapping[str, Tensor], masks: Masks, network: Network) -> dict[str, tuple[Tensor, Tensor]]:
        """Scores are means over the weights that are left, so that units of different layers can be compared."""
        items = {}
        for first, group in self.units(network).items():
            if all(layer in scores for layer in group.layers):
                left = _sums(network, masks, group)
                items[first] = (_sums(network, masks, group, scores) / left.clamp(min=1), left > 0)
        return items

    def without(self, removed: Mapping[str, Tensor], masks: Masks, network: Network) -> Masks:
        return masks.replace(masked_with(network.units, removed, network.shapes, masks.tensors))


def _reasons(network: Network) -> str:
    """Why each layer has none."""
    coupled = sorted({layer for units in network.units.values() if units.coupled for layer in units.layers})
    hint = f"; {{kind: unit, coupled: true}} removes those of {', '.join(coupled)}, together" if coupled else ""
    return "".join(f"; {layer}: {reason}" for layer, reason in network.spared.items()) + hint


def _sums(network: Network, masks: Masks, units: Units, scores: Mapping[str, Tensor] | None = None) -> Tensor:
    """Of each unit [units]: how many weights are left, or their scores, added up."""
    found = []
    for layer, part in units.layers.items():
        kept = masks[part.parameter]
        values = kept if scores is None else scores[layer] * kept
        found.append(values.movedim(part.dim, 0).flatten(1)[part.indices].flatten(1).sum(1))
    return torch.as_tensor(sum(found))


@dataclass(frozen=True)
class NOfM(Weight):
    """Of each m consecutive inputs of a unit (at each position of a convolution's kernel), the n best: with 2 of 4 what
    GPUs compute at twice the speed (Mishra et al. 2021).

    The density is n/m in all layers whose inputs are a multiple of m; the others, often the first, stay dense. Of
    `layer_rates` only 0 has an effect, and there is only one pruned level.
    """

    n: int = 2
    m: int = 4

    def __post_init__(self) -> None:
        require(self.m >= 2, "m", f"must be 2 or more, but got {self.m}")
        require(1 <= self.n < self.m, "n", f"must be at least 1 and below m = {self.m}, but got {self.n}")

    @property
    def density(self) -> float | None:
        return self.n / self.m

    def layers(self, network: Network) -> dict[str, tuple[str, ...]]:
        inputs = self._inputs(network)
        fit: dict[str, tuple[str, ...]] = {layer: (layer,) for layer, count in inputs.items() if count % self.m == 0}
        if not fit:
            raise ConfigError(f"no layer has a multiple of m = {self.m} inputs, but {inputs}", "granularity")
        return fit

    def spared(self, network: Network) -> dict[str, str]:
        return {
            layer: f"its {count} inputs are no multiple of m = {self.m}"
            for layer, count in self._inputs(network).items()
            if count % self.m
        }

    def _inputs(self, network: Network) -> dict[str, int]:
        return {layer: network.shapes[name][network.inputs_dim[layer]] for layer, name in network.weights.items()}

    def items(self, scores: Mapping[str, Tensor], masks: Masks, network: Network) -> dict[str, tuple[Tensor, Tensor]]:
        """Single weights with their rank within their m as their score, so that the lowest m - n of each m go."""
        ranks = {}
        for layer, score in scores.items():
            last = score.masked_fill(~masks[network.weights[layer]], -torch.inf)
            last = last.movedim(network.inputs_dim[layer], -1)
            groups = last.reshape(*last.shape[:-1], -1, self.m)
            rank = groups.argsort(dim=-1, stable=True).argsort(dim=-1)
            ranks[layer] = rank.view(last.shape).movedim(-1, network.inputs_dim[layer]).float()
        return super().items(ranks, masks, network)


GRANULARITIES: dict[str, type[Granularity]] = {"weight": Weight, "unit": Unit, "n-m": NOfM}
Granularity.kinds = GRANULARITIES
