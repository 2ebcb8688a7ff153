"""Scores x granularity x scope -> masks, with exact counts."""

from fnmatch import fnmatchcase
from typing import Literal

import torch
from torch import Tensor

from lth_sweep.lottery.granularity import Granularity
from lth_sweep.lottery.masks import Masks
from lth_sweep.lottery.network import Network


def prune(
    scores: dict[str, Tensor],
    masks: Masks,
    network: Network,
    granularity: Granularity,
    scope: Literal["layer", "global"],
    rate: float,
    layer_rates: dict[str, float],
) -> Masks:
    """Remove the share `rate` of the items that are left, lowest scores first.

    scores: per layer, one for each weight. The number to remove is rounded to the nearest, half up, per layer (scope
    "layer") or once for all layers (scope "global"); of equal scores the one that comes first goes first, so that
    exactly that many go.
    """
    factors = {layer: layer_factor(layer, layer_rates, network) for layer in network.layers}
    items = granularity.items({layer: scores[layer] for layer in scores if factors[layer] > 0}, masks, network)
    if scope == "layer":
        removed = {}
        for layer, (score, there) in items.items():
            left = int(there.sum())
            count = min(round_half_up(left * rate * factors[layer]), left - granularity.keeps_one)
            removed[layer] = lowest(score, there, count)
        return granularity.without(removed, masks, network)

    score = torch.cat([score for score, _ in items.values()])
    there = torch.cat([there for _, there in items.values()])
    spared = torch.cat([_best(score, there) for score, there in items.values()]) & granularity.keeps_one
    left = int(there.sum())
    gone = lowest(score, there & ~spared, min(round_half_up(left * rate), int((there & ~spared).sum())))
    parts = gone.split([score.numel() for score, _ in items.values()])
    return granularity.without(dict(zip(items, parts, strict=True)), masks, network)


def layer_factor(layer: str, layer_rates: dict[str, float], network: Network) -> float:
    """The factor on a layer's rate: its own name first, then "output", then the first pattern that fits; else 1."""
    if layer in layer_rates:
        return layer_rates[layer]
    if layer == network.output and "output" in layer_rates:
        return layer_rates["output"]
    return next((factor for pattern, factor in layer_rates.items() if fnmatchcase(layer, pattern)), 1.0)


def round_half_up(amount: float) -> int:
    """To the nearest whole number. A product such as 0.35 * 10 lies a rounding error beside its half: mended first."""
    return int(round(amount, 9) + 0.5)


def lowest(scores: Tensor, there: Tensor, count: int) -> Tensor:
    """A bool tensor [n] with exactly `count` true: the lowest scores among those that are there, ties by position.

    Partitioning instead of sorting: 25 million scores take a fraction of a sort's time.
    """
    chosen = torch.zeros_like(there)
    if count <= 0:
        return chosen
    candidates = scores.masked_fill(~there, torch.inf) if not there.all() else scores
    threshold = candidates.kthvalue(count).values
    chosen = (candidates < threshold) & there
    ties = ((candidates == threshold) & there).nonzero().flatten()
    chosen[ties[: count - int(chosen.sum())]] = True
    return chosen


def _best(scores: Tensor, there: Tensor) -> Tensor:
    """A bool tensor [n]: true for the highest score among those that are there."""
    best = torch.zeros_like(there)
    best[scores.masked_fill(~there, -torch.inf).argmax()] = True
    return best
