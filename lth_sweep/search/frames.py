"""The results of a sweep as tidy pandas frames. What their columns mean is in sweepfile.columns."""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from lth_sweep.search.trial import TrialRecord
from lth_sweep.sweepfile.spec import Objective

if TYPE_CHECKING:
    import pandas as pd


def levels_frame(trials: Iterable[TrialRecord], objective: Objective) -> "pd.DataFrame":
    """One row per trial, seed and level; the columns are those of `columns.levels`."""
    import pandas as pd

    rows, metric = [], objective.metric
    for trial in trials:
        for level in trial.levels:
            dense = trial.levels[0]
            match = level.number > 0 and objective.matches(level, dense)
            rows += [
                {
                    "trial": trial.number,
                    "ending": trial.ending or "interrupted",
                    **trial.picks,
                    "level": record.level,
                    "seed": record.seed,
                    "density": record.density,
                    "share": record.sizes["params"] / dense.size("params"),
                    **record.sizes,
                    **record.metrics,
                    **{name: record.metrics.get(name, math.nan) for name in ("barrier", "train_barrier")},
                    "difference": metric.gain(gain, 0.0),
                    "matches": match,
                    "steps_trained": record.steps_trained,
                    "steps_reused": record.steps_reused,
                    "seconds": record.seconds,
                    "latency": record.latency,
                    "memory": record.memory,
                    "finished": record.finished,
                    "stage": record.stage,
                }
                for record, gain in zip(level, level.gains(dense, metric), strict=True)
            ]
    return pd.DataFrame(rows)


def trials_frame(trials: Iterable[TrialRecord], objective: Objective) -> "pd.DataFrame":
    """One row per trial; the columns are those of `columns.trials`."""
    import pandas as pd

    return pd.DataFrame([_trial(trial, objective) for trial in trials])


def _trial(trial: TrialRecord, objective: Objective) -> dict[str, object]:
    smallest, metric = trial.outcome.level, objective.metric
    found: dict[str, float | None] = dict.fromkeys(("density", metric.name, "difference"))
    if smallest is not None:
        ticket = trial.levels[smallest]
        gain = objective.gain(ticket, trial.levels[0])
        found = {"density": ticket.density, metric.name: ticket.mean(metric.name), "difference": metric.gain(gain, 0.0)}
    return {
        "trial": trial.number,
        "ending": trial.ending or "interrupted",
        "reason": trial.reason,
        **trial.picks,
        "value": trial.outcome.value,
        "level": smallest,
        **found,
        "levels_run": len(trial.levels),
        "steps_trained": trial.steps_trained,
        "steps_reused": trial.steps_reused,
        "steps_saved": trial.steps_saved,
        "seconds": trial.seconds,
        "memory": max((record.memory for level in trial.levels for record in level if record.memory), default=None),
    }
