"""What is removed together: single weights, or whole units (a neuron of a Linear, a filter of a convolution)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lth_sweep.lottery.masks import Masks
from lth_sweep.lottery.network import Network
from lth_sweep.lottery.registry import Strategy


class Granularity(Strategy):
    """A family of granularities: how weights make up the items that compete, and what removing an item removes."""

    family: ClassVar[str] = "granularity"
    keeps_one: ClassVar[bool] = False
    """Whether the last item of a layer is never removed."""

    def items(self, scores: dict[str, Tensor], masks: Masks, network: Network) -> dict[str, tuple[Tensor, Tensor]]:
        """Per layer: a score for each item [n], and whether the item is still there [n]."""
        raise NotImplementedError

    def without(self, removed: dict[str, Tensor], masks: Masks, network: Network) -> Masks:
        """The masks that are left when in each layer the items with `removed` [n] true are gone."""
        raise NotImplementedError


@dataclass(frozen=True)
class Weight(Granularity):
    """Single weights."""

    def items(self, scores: dict[str, Tensor], masks: Masks, network: Network) -> dict[str, tuple[Tensor, Tensor]]:
        return {layer: (score.flatten(), masks[f"{layer}.weight"].flatten()) for layer, score in scores.items()}

    def without(self, removed: dict[str, Tensor], masks: Masks, network: Network) -> Masks:
        kept = {
            f"{layer}.weight": masks[f"{layer}.weight"] & ~gone.view_as(masks[f"{layer}.weight"])
            for layer, gone in removed.items()
        }
        return masks.replace(kept)


@dataclass(frozen=True)
class Unit(Granularity):
    """Whole units, with everything that only they use: their bias and normalisation entries, and the weights that read
    their output (Li et al. 2016, section 3). The units of the last layer, the classes, are never removed."""

    keeps_one: ClassVar[bool] = True

    def items(self, scores: dict[str, Tensor], masks: Masks, network: Network) -> dict[str, tuple[Tensor, Tensor]]:
        """Scores are means over the weights that are left, so that units of different layers can be compared."""
        items = {}
        for layer in network.units:
            if layer not in scores:
                continue
            mask = masks[f"{layer}.weight"].flatten(1)
            left = mask.sum(1)
            items[layer] = (scores[layer].flatten(1).mul(mask).sum(1) / left.clamp(min=1), left > 0)
        return items

    def without(self, removed: dict[str, Tensor], masks: Masks, network: Network) -> Masks:
        kept: dict[str, Tensor] = {}
        for layer, gone in removed.items():
            for unit_entries in network.units[layer]:
                name = unit_entries.parameter
                mask = kept.get(
                    name, masks[name] if name in masks else torch.ones(network.shapes[name], dtype=torch.bool)
                )
                index = unit_entries.indices[gone].flatten()
                kept[name] = mask.index_fill(unit_entries.dim, index, False)
        return masks.replace(kept)


GRANULARITIES: dict[str, type[Granularity]] = {"weight": Weight, "unit": Unit}
Granularity.kinds = GRANULARITIES
