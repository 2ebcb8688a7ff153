"""When a trial stops before its last level: rules that spend less, and change the answer as little as they can.

patience    some levels in a row are below the margin
race        the first seed, which goes first and alone, has no level that could be the answer; or it has, but is not
            the best so far itself: then the trial waits with its other seeds until all others have been tried
hopeless    not even the last level would be smaller than the best so far
A trial whose metrics are not numbers stops in any case. With several sizes to be minimised there is no single best one
to be beaten, and only patience applies.
"""

import math
from collections.abc import Collection, Sequence

from lth_sweep.lottery.recipe.trial import TrialConfig
from lth_sweep.lottery.records import Level
from lth_sweep.search.objective import ROUNDING, difference, judge, sizes
from lth_sweep.sweepfile.spec import Objective, Stop


def stop_reason(
    levels: Sequence[Level],
    index: int,
    seeds: Collection[int],
    trial: TrialConfig,
    stop: Stop,
    objective: Objective,
    best: float | None = None,
    bound: float = 0.0,
) -> str | None:
    """Why a trial should not go on after level `index` of the run with `seeds`; None if it should.

    levels: all on record, those of the first seed's run among them; best: the smallest size of the trials that have
    ended; bound: no level of this trial is smaller.
    """
    only = len(objective.sizes) == 1
    if stop.hopeless and only and best is not None and bound >= best:
        return f"no level of it could be smaller than the best, {best:,.0f} {objective.first}"
    run = [level.of(seeds) for level in levels[: index + 1]]
    if not racing(trial, stop, objective):
        return lost(run, stop, objective)
    alone = [Level(level[:1]) for level in levels]
    if len(seeds) < len(trial.seed_list):
        if not race_over(run, trial, stop, objective) or _promising(alone[: index + 1], stop, objective, best):
            return None
        return beaten(stop, objective)
    left = is_last(run[-1], trial) or any(level > index for level in _promising(alone, stop, objective, best))
    return lost(run, stop, objective) or (None if left else "no further level is one that its first seed promised")


def lost(levels: Sequence[Level], stop: Stop, objective: Objective, slack: float = 0.0) -> str | None:
    """Why no later level is to be hoped for; `slack` is allowed beyond the margin."""
    last = levels[-1]
    if any(math.isnan(value) for record in last for value in record.metrics.values()):
        return f"training diverged at level {last[0].level}: a metric is not a number"
    if any(record.metrics.get("constant") for record in last):
        return f"at level {last[0].level} all examples get the same class"
    judged = [level for level in levels if all(record.finished for record in level)]
    if stop.patience is None or len(judged) <= stop.patience:
        return None
    limit = -objective.match.margin - slack - ROUNDING
    if any(difference(level, levels[0], objective) >= limit for level in judged[-stop.patience :]):
        return None
    in_a_row = "1 level" if stop.patience == 1 else f"{stop.patience} levels in a row"
    return f"{in_a_row} more than {objective.match.margin + slack:g} below dense"


def waits(alone: Sequence[Level], trial: TrialConfig, stop: Stop, objective: Objective, best: float | None) -> bool:
    """Whether the first seed's run, which is `alone`, is over and not the best by itself; nor is the very first, with
    nothing to be better than. Other seeds are two thirds of a trial's work, and most are spent on what is soon beaten.
    """
    if not race_over(alone, trial, stop, objective):
        return False
    value = judge(alone, objective).value
    return best is None or value is None or value >= best


def promise(levels: Sequence[Level], stop: Stop, objective: Objective) -> float:
    """The smallest size that may match once all seeds are there, by the first seed; infinite if there is none."""
    alone = [Level(level[:1]) for level in levels]
    promised = _promising(alone, stop, objective, None)
    return min((sizes(level, objective)[0] for level in alone if level[0].level in promised), default=math.inf)


def beaten(stop: Stop, objective: Objective) -> str:
    """Why a trial ends that promises nothing smaller than the best."""
    return f"its first seed alone: no level smaller than the best is within {_reach(stop, objective):g} of dense"


def racing(trial: TrialConfig, stop: Stop, objective: Objective) -> bool:
    """Whether the trial's first seed is run alone, before all of them are."""
    return stop.race is not None and len(trial.seed_list) > 1 and len(objective.sizes) == 1


def race_over(levels: Sequence[Level], trial: TrialConfig, stop: Stop, objective: Objective) -> bool:
    """Whether the first seed's run has come to its end."""
    return is_last(levels[-1], trial) or lost(levels, stop, objective, stop.race or 0.0) is not None


def unspent(levels: Sequence[Level], trial: TrialConfig) -> int:
    """Steps of the levels and seeds that a stopped trial has not run, each as many as its last level's took."""
    steps = levels[-1][0].steps_trained + levels[-1][0].steps_reused
    whole = (1 + trial.method.levels(trial)) * len(trial.seed_list)
    return steps * (whole - sum(map(len, levels)))


def is_last(level: Level, trial: TrialConfig) -> bool:
    return level[0].level == trial.method.levels(trial)


def _promising(alone: Sequence[Level], stop: Stop, objective: Objective, best: float | None) -> list[int]:
    """Levels of the first seed that may match once all seeds are there, and that would then be the best. Its sizes
    stand for those of the others, which differ from it only where units compete across layers."""
    limit = -_reach(stop, objective) - ROUNDING
    return [
        level[0].level
        for level in alone[1:]
        if difference(level, alone[0], objective) >= limit and (best is None or sizes(level, objective)[0] < best)
    ]


def _reach(stop: Stop, objective: Objective) -> float:
    return objective.match.margin + (stop.race or 0.0)
