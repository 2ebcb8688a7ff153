"""When a ticket is as good as the dense network, and what a trial is worth.

Compared by pairs: same seed, ticket minus dense, on the validation split. A level matches when the mean difference over
the seeds is at least -margin. The dense network itself is not a ticket: a trial of which no pruned level matches has no
value. A level with a metric that is not a number never matches, nor does one that was not trained to its end, or that
lacks seeds which the dense level has. Nor does one where a network, its own or the dense one, gives all examples the
same class: it has learnt nothing, and losing nothing against it is no merit.

A method with a single size, such as one-shot pruning, is judged at that size alone, and a ladder at its best level: a
ladder has more tries. What that costs is counted in steps, which `search.steps` limits alike for both; that the best of
many levels looks better than it is, is corrected by the verification on fresh seeds.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from lth_sweep.lottery.records import Level, LevelRecord
from lth_sweep.lottery.task import Metric
from lth_sweep.search.trial import Outcome, TrialRecord
from lth_sweep.sweepfile.spec import Objective

Measured = tuple[Sequence[float], float] | None
"""Sizes, and by how much the trial missed the match; None where it failed or cannot be judged."""
ROUNDING = 1e-9
"""Two accuracies that differ by exactly the margin differ by a little more or less in floats."""


def difference(level: Level, dense: Level, objective: Objective) -> float:
    """Mean over the seeds of (ticket - dense); NaN if any of them is, and where the level cannot be judged."""
    if len(level) < len(dense) or not all(record.finished for record in level):
        return math.nan
    metrics = [record.metrics for record in (*level, *dense)]
    if any(some.get("constant") or any(map(math.isnan, some.values())) for some in metrics):
        return math.nan
    metric = objective.metric.name
    reference = {record.seed: record.metrics[metric] for record in dense}
    return fmean(record.metrics[metric] - reference[record.seed] for record in level)


def matches(level: Level, dense: Level, objective: Objective) -> bool:
    return difference(level, dense, objective) >= -objective.match.margin - ROUNDING


def sizes(level: Level, objective: Objective) -> tuple[float, ...]:
    """What is to be minimised, each a mean over the seeds; NaN for a latency that was not measured."""
    return tuple(fmean(_size(record, name, objective) for record in level) for name in objective.sizes)


def _size(record: LevelRecord, name: str, objective: Objective) -> float:
    if name == "latency":
        return math.nan if record.latency is None else record.latency
    if name == "error":
        return 1 - record.metrics[objective.metric.name]
    return record.sizes[name]


def in_words(value: float, size: str) -> str:
    """A size as people read it: "2,559 params", "0.052 ms"."""
    return f"{value:.3f} ms" if size == "latency" else f"{value:,.0f} {size}"


def as_number(value: float, metric: Metric) -> str:
    """A value of the metric without a unit, as in a table: "0.9680"."""
    return f"{value:.4f}" if metric.format == "percent" else f"{value:.4g}"


def none_matches(objective: Objective) -> str:
    """What is said where no level of any trial matches, without the "no" before it."""
    match = objective.match
    within = f"{100 * match.margin:.4g}%" if match.relative else f"{match.margin:g}"
    return f"trial found a network within {within} of the dense one's {objective.metric.name}"


def judge(levels: Sequence[Level], objective: Objective) -> Outcome:
    """What a trial is worth, from all its levels, level 0 first."""
    _, violation = nearest(levels, objective) or (None, None)
    matching = [level for level in levels[1:] if matches(level, levels[0], objective)]
    if not matching:
        return Outcome(value=None, violation=violation, level=None)
    smallest = min(matching, key=lambda level: sizes(level, objective))
    return Outcome(sizes(smallest, objective)[0], violation, smallest[0].level)


def nearest(levels: Sequence[Level], objective: Objective) -> tuple[tuple[float, ...], float] | None:
    """Sizes and violation of the pruned level that is nearest to matching; None if none can be judged.

    The violation is 0 or less if and only if that level matches.
    """
    pairs = [(difference(level, levels[0], objective), sizes(level, objective)) for level in levels[1:]]
    judged = [(found, size) for found, size in pairs if not math.isnan(found) and not any(map(math.isnan, size))]
    if not judged:
        return None
    best, its_sizes = max(judged, key=lambda pair: (pair[0], -pair[1][0]))
    violation = -objective.match.margin - best
    return its_sizes, violation if violation > ROUNDING else min(violation, 0.0)


def measured(trial: TrialRecord, objective: Objective) -> Measured:
    """What Optuna is told: the sizes of a trial that matches, else those of its nearest level, with the violation; of
    one that was stopped because it could not be smaller, the size that it could not have fallen below."""
    outcome = trial.outcome
    if trial.ending == "failed":
        return None
    found = nearest(trial.levels, objective)
    if found and outcome.level is not None:
        return sizes(trial.levels[outcome.level], objective), found[1]
    return found if outcome.bound is None else ([outcome.bound], 0.0)


@dataclass(frozen=True)
class Point:
    """A level that matches, and that no other one beats in all sizes."""

    trial: int
    level: int
    sizes: Mapping[str, float]


def front(trials: Iterable[tuple[int, Sequence[Level]]], objective: Objective) -> list[Point]:
    """Of all matching levels of the trials, by number, those that none is smaller than in one size and as small as in
    all others; by the first size. Of equal ones the first. With a single size that is the best level alone."""
    found = [
        (sizes(level, objective), number, level[0].level)
        for number, levels in trials
        for level in levels[1:]
        if matches(level, levels[0], objective)
    ]
    kept: list[tuple[float, ...]] = []
    points = []
    for size, number, level in sorted(found):  # whatever dominates a point comes before it
        if not any(all(a <= b for a, b in zip(other, size, strict=True)) for other in kept):
            kept.append(size)
            points.append(Point(number, level, dict(zip(objective.sizes, size, strict=True))))
    return points
