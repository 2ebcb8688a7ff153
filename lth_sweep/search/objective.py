"""When a ticket is as good as the dense network, what a trial is worth, and when it should stop.

Compared by pairs: same seed, ticket minus dense, on the validation split. A level matches when the mean difference over
the seeds is at least -margin. The dense network itself is not a ticket: a trial of which no pruned level matches has no
value. A level with a metric that is not a number never matches, nor does one that was not trained to its end.
"""

import math
from collections.abc import Sequence
from statistics import fmean

from lth_sweep.lottery.records import Level
from lth_sweep.search.events import Outcome
from lth_sweep.spec.sweep import Objective, Stop

ROUNDING = 1e-9
"""Two accuracies that differ by exactly the margin differ by a little more or less in floats."""


def difference(level: Level, dense: Level, objective: Objective) -> float:
    """Mean over the seeds of (ticket - dense); NaN if any of them is, and where a level was not trained to its end."""
    if not all(record.finished for record in level):
        return math.nan
    metric = objective.match.metric
    reference = {record.seed: record.metrics[metric] for record in dense}
    return fmean(record.metrics[metric] - reference[record.seed] for record in level)


def matches(level: Level, dense: Level, objective: Objective) -> bool:
    return difference(level, dense, objective) >= -objective.match.margin - ROUNDING


def size(level: Level, objective: Objective) -> float:
    """Mean over the seeds."""
    return fmean(record.sizes[objective.minimize] for record in level)


def judge(levels: Sequence[Level], objective: Objective) -> Outcome:
    """What a trial is worth, from all its levels, level 0 first."""
    _, violation = nearest(levels, objective) or (None, None)
    matching = [level for level in levels[1:] if matches(level, levels[0], objective)]
    if not matching:
        return Outcome(value=None, violation=violation, level=None)
    smallest = min(matching, key=lambda level: size(level, objective))
    return Outcome(size(smallest, objective), violation, smallest[0].level)


def nearest(levels: Sequence[Level], objective: Objective) -> tuple[float, float] | None:
    """Size and violation of the pruned level that is nearest to matching; None if none can be judged.

    The violation is 0 or less if and only if that level matches.
    """
    pairs = [(difference(level, levels[0], objective), size(level, objective)) for level in levels[1:]]
    judged = [pair for pair in pairs if not math.isnan(pair[0])]
    if not judged:
        return None
    best, its_size = max(judged, key=lambda pair: (pair[0], -pair[1]))
    violation = -objective.match.margin - best
    return its_size, violation if violation > ROUNDING else min(violation, 0.0)


def stop_reason(levels: Sequence[Level], stop: Stop, objective: Objective) -> str | None:
    """Why a trial should not go on after its last level; None if it should."""
    last = levels[-1]
    if any(math.isnan(value) for record in last for value in record.metrics.values()):
        return f"training diverged at level {last[0].level}: a metric is not a number"
    judged = [level for level in levels if all(record.finished for record in level)]
    if stop.patience is None or len(judged) <= stop.patience:
        return None
    if any(matches(level, levels[0], objective) for level in judged[-stop.patience :]):
        return None
    in_a_row = "1 level" if stop.patience == 1 else f"{stop.patience} levels in a row"
    return f"{in_a_row} more than {objective.match.margin:g} below dense"
