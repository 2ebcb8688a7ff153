"""What a trial is worth.

The dense network itself is not a ticket: a trial of which no pruned level matches has no value. A method with a single
size, such as one-shot pruning, is judged at that size alone, and a ladder at its best level: a ladder has more tries.
What that costs is counted in steps, which `search.steps` limits alike for both; that the best of many levels looks
better than it is, is corrected by the verification on fresh seeds.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lth_sweep.lottery.records import Level
from lth_sweep.lottery.task import Metric
from lth_sweep.search.trial import NOTHING, Outcome, TrialRecord
from lth_sweep.sweepfile.objective import Objective

Measured = tuple[Sequence[float], float]
"""Sizes, and by how much the trial missed the match; 0 or less where it did not."""


@dataclass(frozen=True)
class Judged:
    """A pruned level beside the dense one."""

    level: int
    sizes: tuple[float, ...]
    violation: float
    """By how much it misses the match; 0 or less where it matches."""


def sizes(level: Level, objective: Objective) -> tuple[float, ...]:
    """What is to be minimised, each a mean over the seeds; NaN for a latency that was not measured."""
    return tuple(_size(level, name, objective) for name in objective.sizes)


def _size(level: Level, name: str, objective: Objective) -> float:
    if name == "latency":
        return math.nan if level.latency is None else level.latency
    if name == "error":
        return objective.metric.error(level.mean(objective.metric.name))
    return level.size(name)


def in_words(value: float, size: str) -> str:
    """A size as people read it: "2,559 params", "0.052 ms"."""
    return f"{value:.3f} ms" if size == "latency" else f"{value:,.0f} {size}"


def as_number(value: float, metric: Metric) -> str:
    """A value of the metric without a unit, as in a table: "0.9680"."""
    return f"{value:.4f}" if metric.format == "percent" else f"{value:.4g}"


def none_matches(objective: Objective) -> str:
    """What is said where no level of any trial matches, without the "no" before it."""
    return f"trial found a network within {objective.match.words} of the dense one's {objective.metric.name}"


def judged(levels: Sequence[Level], objective: Objective) -> list[Judged]:
    """The pruned levels that can be judged, of all levels of a trial, level 0 first."""
    compared = (
        Judged(level.number, sizes(level, objective), objective.shortfall(level, levels[0])) for level in levels[1:]
    )
    return [one for one in compared if not any(map(math.isnan, (*one.sizes, one.violation)))]


def nearest(levels: Sequence[Level], objective: Objective) -> Judged | None:
    """The level that is nearest to matching; None if none can be judged."""
    return min(judged(levels, objective), key=lambda one: (one.violation, one.sizes[0]), default=None)


def smallest(levels: Sequence[Level], objective: Objective) -> Judged | None:
    """The smallest level that matches."""
    matching = (one for one in judged(levels, objective) if one.violation <= 0)
    return min(matching, key=lambda one: one.sizes, default=None)


def judge(levels: Sequence[Level], objective: Objective) -> Outcome:
    """What a trial is worth, from all its levels."""
    closest, found = nearest(levels, objective), smallest(levels, objective)
    if closest is None:
        return NOTHING
    if found is None:
        return Outcome(None, closest.violation, None)
    return Outcome(found.sizes[0], closest.violation, found.level)


def measured(trial: TrialRecord, objective: Objective) -> Measured | None:
    """The sizes of a trial's smallest level that matches, else those of the one that is nearest to it, with the
    violation of the nearest; None where it failed or cannot be judged."""
    closest = nearest(trial.levels, objective)
    if closest is None or trial.ending == "failed":
        return None
    return (smallest(trial.levels, objective) or closest).sizes, closest.violation


@dataclass(frozen=True)
class Tradeoff:
    """A level that matches, and that no other one beats in all sizes."""

    trial: int
    level: int
    sizes: Mapping[str, float]


def front(trials: Iterable[tuple[int, Sequence[Level]]], objective: Objective) -> list[Tradeoff]:
    """Of all matching levels of the trials, by number, those that none is smaller than in one size and as small as in
    all others; by the first size. Of equal ones the first. With a single size that is the best level alone."""
    found = [(one.sizes, number, one.level) for number, levels in trials for one in judged(levels, objective)
             if one.violation <= 0]  # fmt: skip
    kept: list[tuple[float, ...]] = []
    tradeoffs = []
    for size, number, level in sorted(found):  # whatever dominates one comes before it
        if not any(all(a <= b for a, b in zip(other, size, strict=True)) for other in kept):
            kept.append(size)
            tradeoffs.append(Tradeoff(number, level, dict(zip(objective.sizes, size, strict=True))))
    return tradeoffs
