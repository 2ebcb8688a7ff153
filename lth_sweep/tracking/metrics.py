"""A level as MLflow metrics, and all levels as a table.

The UI makes a section of all metrics with the same text before their last slash, and sorts sections by name. NAME is
the metric that has to match:

    level/*                 means over the seeds, by level
    level/seeds/*           the same of each seed: NAME, its difference to dense, and the loss
    training/NAME/level-*   means over the seeds, by optimizer step; likewise the other metrics and the training loss
    training/NAME/seeds/*   the same of each seed
"""

import csv
import io
import math
from collections.abc import Mapping, Sequence

from lth_sweep.lottery.records import Level, LevelRecord
from lth_sweep.lottery.task import LOSS
from lth_sweep.tracking.recipe import key
from lth_sweep.tracking.update import Sample

COSTS = ("steps_trained", "steps_reused", "seconds")


def seed_samples(level: Level, dense: Level, metric: str, timestamp: int) -> list[Sample]:
    """Of each replica: its training curve by optimizer step, and some of what was measured by level."""
    found = []
    for record in level:
        curve = key(f"training/{metric}/seeds/level-{record.level:02d}-seed-{record.seed}")
        found += [Sample(curve, _number(point.metrics[metric]), point.step, timestamp) for point in record.curve]
        measured = _measured(record, dense, metric)
        for name in {metric, "difference", LOSS.name} & measured.keys():
            by_level = key(f"level/seeds/{name}-seed-{record.seed}")
            found.append(Sample(by_level, _number(measured[name]), record.level, timestamp))
    return found


def mean_samples(level: Level, dense: Level, metric: str, timestamp: int) -> list[Sample]:
    """Means over the seeds: training curves by optimizer step, and `summary` by level."""
    found = []
    for points in zip(*(record.curve for record in level), strict=False):  # one that diverged is shorter
        values = [{"train_loss": point.train_loss, **point.metrics} for point in points]
        for name in values[0]:
            curve = key(f"training/{name}/level-{level.number:02d}")
            found.append(Sample(curve, _mean(values, name), points[0].step, timestamp))
    return found + [Sample(key(f"level/{name}"), value, level.number, timestamp)
                    for name, value in summary(level, dense, metric).items()]  # fmt: skip


def summary(level: Level, dense: Level, metric: str) -> dict[str, float]:
    """The means of a level over its seeds, `NAME_sd`, the sample standard deviation of the metric that has to match,
    and the sums of what the level cost."""
    replicas = [{**_measured(record, dense, metric), "density": record.density, **record.sizes} for record in level]
    common = [name for name in replicas[0] if all(name in one for one in replicas)]  # one that diverged has fewer
    found = {name: _mean(replicas, name) for name in common}
    if len(level) > 1 and metric in found:
        found[f"{metric}_sd"] = level.spread(metric)
    costs = {name: float(sum(getattr(record, name) for record in level)) for name in COSTS}
    return found | costs | most_memory([level])


def most_memory(levels: Sequence[Level]) -> dict[str, float]:
    """`memory`: the most bytes in use at any of these levels; nothing where that is not known."""
    known = [record.memory for level in levels for record in level if record.memory is not None]
    return {"memory": float(max(known))} if known else {}


def diverged(levels: Sequence[Level]) -> str:
    """Where training gave something that is not a number, in words."""
    return "; ".join(f"level {record.level}, seed {record.seed}" for level in levels for record in level
                     if not all(map(math.isfinite, record.metrics.values())))  # fmt: skip


def levels_csv(trials: Mapping[int, Sequence[Level]]) -> str:
    """As CSV, which the MLflow UI shows: a row per trial, level and seed."""
    rows = [{"trial": trial, "level": record.level, "seed": record.seed, "density": record.density,
             **record.metrics, **record.sizes, **{name: getattr(record, name) for name in COSTS}}
            for trial, levels in sorted(trials.items()) for level in levels for record in level]  # fmt: skip
    out = io.StringIO()
    writer = csv.DictWriter(out, list(dict.fromkeys(column for row in rows for column in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _measured(record: LevelRecord, dense: Level, metric: str) -> dict[str, float]:
    """With the difference to the dense network of the same seed, where there is one."""
    reference = next((one.metrics[metric] for one in dense if one.seed == record.seed), None)
    if reference is None or metric not in record.metrics:
        return record.metrics
    return {**record.metrics, "difference": record.metrics[metric] - reference}


def _mean(values: Sequence[Mapping[str, float]], name: str) -> float:
    return _number(sum(one[name] for one in values) / len(values))


def _number(value: float) -> float:
    """MLflow's databases store an infinity as 1.8e308, which flattens every chart that it is in."""
    return value if math.isfinite(value) else math.nan
