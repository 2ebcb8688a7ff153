"""Scores x granularity x scope -> masks, with exact counts."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

import torch
from torch import Tensor

from lth_sweep.lottery.common.errors import ConfigError, require
from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.structure import Network
from lth_sweep.lottery.pruning.granularity import Granularity

Scope = Literal["layer", "global"]


@dataclass(frozen=True)
class Pool:
    """Items that compete with each other, and how many of them go."""

    layers: tuple[str, ...]
    """As the granularity names them."""
    left: int
    remove: int


def remove(
    score: Callable[[Masks], Mapping[str, Tensor]],
    masks: Masks,
    network: Network,
    granularity: Granularity,
    pools: Sequence[Pool],
    rounds: int = 1,
) -> Masks:
    """Remove from each pool the items with the lowest scores, as many as it says; of equal scores the one that comes
    first goes first, so that exactly that many go. `score`: per layer, one for each weight.

    In several rounds, each with new scores, the share that is left falls exponentially (Tanaka et al. 2020, algorithm
    1), and the last round ends at the same count.
    """
    wanted = scored(pools, granularity, network)
    for number in range(1, rounds + 1):
        scores = score(masks)
        items = granularity.items({layer: scores[layer] for layer in wanted}, masks, network)
        removed: dict[str, Tensor] = {}
        for pool in pools:
            count = _gone_after(pool, number / rounds) - _gone_after(pool, (number - 1) / rounds)
            removed |= _lowest_of({name: items[name] for name in pool.layers}, count, granularity.keeps_one)
        masks = granularity.without(removed, masks, network)
    return masks


def pools_of_rate(
    rate: float, masks: Masks, network: Network, granularity: Granularity, scope: Scope, layer_rates: dict[str, float]
) -> list[Pool]:
    """A share of what is left goes; of each layer, rate * its factor, rounded to the nearest, half up, per layer (scope
    "layer") or once for all layers (scope "global"). Where the granularity has a density of its own, what is above that
    goes."""
    left = granularity.left(masks, network)
    factors = layer_factors(network, granularity, layer_rates)
    open_ = tuple(name for name in left if factors[name] > 0)
    if granularity.density is not None:
        whole = granularity.left(network.full, network)
        share = granularity.density
        return [Pool((name,), left[name], max(0, left[name] - round_half_up(whole[name] * share))) for name in open_]
    if scope == "layer":
        return [Pool((name,), left[name], round_half_up(left[name] * rate * factors[name])) for name in open_]
    total = sum(left[name] for name in open_)
    return [Pool(open_, total, round_half_up(total * rate))]


def pools_of_density(
    density: float,
    masks: Masks,
    network: Network,
    granularity: Granularity,
    scope: Scope,
    rate: float,
    layer_rates: dict[str, float],
) -> list[Pool]:
    """So many go, from full masks, that the share `density` of all items is left, those of spared layers among them.

    With scope "layer" the layers' shares are those that a ladder with this rate has when it comes to that density:
    (1 - rate * factor)^n, with the n, whole or not, that fits; without factors, all layers have the same density. With
    units, the density is that of the units of all layers whose units can be removed.
    """
    left = granularity.left(masks, network)
    factors = layer_factors(network, granularity, layer_rates)
    open_ = tuple(name for name in left if factors[name] > 0)
    total, target = sum(left.values()), density * sum(left.values())
    spared = total - sum(left[name] for name in open_)
    if spared >= target:
        raise ConfigError(f"a density of {density:g} cannot be reached: the layers that layer_rates spares alone hold "
                          f"{spared / total:.3g} of the items", "method.density")  # fmt: skip
    if scope == "global":
        return [Pool(open_, total - spared, round_half_up(total - target))]

    def share(name: str, levels: float) -> float:
        return (1 - rate * factors[name]) ** levels

    low, high = 0.0, 1.0
    while sum(left[name] * share(name, high) for name in left) > target:
        high *= 2
    for _ in range(100):  # halving the interval until floats end it
        middle = (low + high) / 2
        above = sum(left[name] * share(name, middle) for name in left) > target
        low, high = (middle, high) if above else (low, middle)
    return [Pool((name,), left[name], round_half_up(left[name] * (1 - share(name, high)))) for name in open_]


def layer_factors(network: Network, granularity: Granularity, layer_rates: dict[str, float]) -> dict[str, float]:
    """The factor on the rate, where the granularity has items; of several layers that share theirs, the smallest."""
    factors = {layer: layer_factor(layer, layer_rates, network) for layer in network.layers}
    return {name: min(factors[layer] for layer in layers) for name, layers in granularity.layers(network).items()}


def layer_factor(layer: str, layer_rates: dict[str, float], network: Network) -> float:
    """The factor on a layer's rate: its own name first, then "output", then the first pattern that fits; else 1."""
    if layer in layer_rates:
        return layer_rates[layer]
    if layer in network.output and "output" in layer_rates:
        return layer_rates["output"]
    return next((factor for pattern, factor in layer_rates.items() if fnmatchcase(layer, pattern)), 1.0)


def check_layer_rates(layer_rates: Mapping[str, float], layers: Collection[str]) -> None:
    """Raise ConfigError for a name or a pattern that fits none of a network's layers, and so has no effect."""
    for pattern in layer_rates:
        matches = pattern == "output" or any(fnmatchcase(layer, pattern) for layer in layers)
        require(matches, f"layer_rates.{pattern}", f"matches no layer; allowed: {', '.join(layers)}, patterns of them "
                                                   'such as "conv*", and "output" for the last')  # fmt: skip


def scored(pools: Sequence[Pool], granularity: Granularity, network: Network) -> tuple[str, ...]:
    """The layers that the items of these pools are made of."""
    layers = granularity.layers(network)
    return tuple(layer for pool in pools for name in pool.layers for layer in layers[name])


def round_half_up(amount: float) -> int:
    """To the nearest whole number. A product such as 0.35 * 10 lies a rounding error beside its half: mended first."""
    return int(round(amount, 9) + 0.5)


def lowest(scores: Tensor, there: Tensor, count: int) -> Tensor:
    """A bool tensor [n] with exactly `count` true: the lowest scores among those that are there, ties by position."""
    return _lowest_of_all([(scores, there)], count)[0]


def _lowest_of_all(items: Sequence[tuple[Tensor, Tensor]], count: int) -> list[Tensor]:
    """The same for several tensors as if they were one."""
    if count <= 0:
        return [torch.zeros_like(there) for _, there in items]
    threshold = _kth_lowest(items, count)
    chosen = [(scores < threshold).logical_and_(there) for scores, there in items]
    missing = count - sum(map(_count, chosen))
    for (scores, there), part in zip(items, chosen, strict=True):
        if missing > 0:
            ties = (scores == threshold).logical_and_(there).nonzero().flatten()[:missing]
            part[ties] = True
            missing -= len(ties)
    return chosen


SAMPLE = 100_000
"""Scores that say where a threshold lies, where there are ten times as many."""


def _kth_lowest(items: Sequence[tuple[Tensor, Tensor]], count: int) -> Tensor:
    """The count-th lowest score among those that are there.

    A sample says between which two values it lies, so that only the few in between are partitioned: `kthvalue` of 25
    million scores alone takes a second and three times their memory.
    """
    stride = sum(scores.numel() for scores, _ in items) // SAMPLE
    if stride < 10:
        return torch.cat([scores[there] for scores, there in items]).kthvalue(count).values
    sample = torch.cat([scores[::stride][there[::stride]] for scores, there in items]).sort().values
    place = int(count / sum(_count(there) for _, there in items) * len(sample))
    slack = 4 * math.isqrt(SAMPLE)
    low = float(sample[place - slack]) if place >= slack else -math.inf
    high = float(sample[place + slack]) if place + slack < len(sample) else math.inf
    within = torch.cat([
        scores[(scores >= low).logical_and_(scores <= high).logical_and_(there)] for scores, there in items
    ])  # fmt: skip
    rank = count - sum(_count((scores < low).logical_and_(there)) for scores, there in items)
    if not 1 <= rank <= len(within):  # an unlucky sample
        within, rank = torch.cat([scores[there] for scores, there in items]), count
    return within.kthvalue(rank).values


def _count(mask: Tensor) -> int:
    """How many are true. (The sum of a bool tensor makes an int64 copy of it first.)"""
    return int(mask.count_nonzero())


def _gone_after(pool: Pool, share: float) -> int:
    """How many items are gone after this share of the rounds."""
    if not pool.remove:
        return 0
    return round_half_up(pool.left - pool.left * ((pool.left - pool.remove) / pool.left) ** share)


def _lowest_of(items: dict[str, tuple[Tensor, Tensor]], count: int, keep_one: bool) -> dict[str, Tensor]:
    """The `count` items with the lowest scores, or all but the best of each layer."""
    open_ = [(score, there & ~_best(score, there) if keep_one else there) for score, there in items.values()]
    gone = _lowest_of_all(open_, min(count, sum(_count(there) for _, there in open_)))
    return dict(zip(items, gone, strict=True))


def _best(scores: Tensor, there: Tensor) -> Tensor:
    """A bool tensor [n]: true for the highest score among those that are there; of several, the last."""
    best = torch.zeros_like(there)
    best[-1 - scores.masked_fill(~there, -torch.inf).flip(0).argmax()] = True
    return best
