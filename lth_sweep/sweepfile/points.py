"""Points of a space that no sampler has to choose: grids, and places by their share of each axis."""

import math
from collections.abc import Mapping, Sequence

from lth_sweep.sweepfile.axis import Axis, Between, Choice, Pick

GRID_POINTS = 5
"""Points that a grid takes of a range, both ends included."""


def grid(space: Sequence[Axis], picks: Mapping[str, Pick] | None = None) -> list[dict[str, Pick]]:
    """All combinations that go on from `picks`, each once: every label of a choice, GRID_POINTS of a range."""
    picks = dict(picks or {})
    if not space:
        return [picks]
    axis, *others = space
    if not axis.exists(picks):
        return grid(others, picks)
    return [whole for pick in points(axis.domain) for whole in grid(others, {**picks, axis.path: pick})]


def points(domain: Between | Choice) -> list[Pick]:
    """What a grid takes of one axis; fewer than GRID_POINTS of a range of few integers."""
    if isinstance(domain, Choice):
        return list(domain.options)
    low, high = (math.log(domain.low), math.log(domain.high)) if domain.log else (domain.low, domain.high)
    inner = [low + (high - low) * index / (GRID_POINTS - 1) for index in range(1, GRID_POINTS - 1)]
    # The ends as they are, whatever the logarithm would round them to.
    numbers = [domain.low, *(math.exp(number) if domain.log else number for number in inner), domain.high]
    if domain.integer:
        return list(dict.fromkeys(int(number + 0.5) for number in numbers))
    return [float(number) for number in numbers]


def at(domain: Between | Choice, share: float) -> Pick:
    """The point of a domain that has the share `share` (0 to 1, below 1) of it below it."""
    if isinstance(domain, Choice):
        return list(domain.options)[int(share * len(domain.options))]
    if domain.integer and not domain.log:
        return int(domain.low + int(share * (domain.high - domain.low + 1)))
    low, high = (math.log(domain.low), math.log(domain.high)) if domain.log else (domain.low, domain.high)
    number = low + share * (high - low)
    number = min(max(math.exp(number) if domain.log else number, domain.low), domain.high)
    return int(number + 0.5) if domain.integer else number


def point(space: Sequence[Axis], shares: Sequence[float], kept: Mapping[str, Pick] | None = None) -> dict[str, Pick]:
    """That of each axis at its share; the picks of `kept` are taken as they are."""
    picks: dict[str, Pick] = {}
    for axis, share in zip(space, shares, strict=True):
        if axis.exists(picks):
            picks[axis.path] = kept[axis.path] if kept and axis.path in kept else at(axis.domain, share)
    return picks


def key(picks: Mapping[str, Pick]) -> tuple[tuple[str, Pick], ...]:
    """The same for the same picks."""
    return tuple(sorted(picks.items()))
