"""A level as MLflow metrics.

The UI makes a section of all metrics with the same text before their last slash, and sorts sections by name:

    level/*                     means over the seeds, by level
    level/seeds/*               the same of each seed, of a few metrics
    training/accuracy/level-*   means over the seeds, by optimizer step; likewise training/loss and training/train_loss
    training/accuracy/seeds/*   the same of each seed
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from lth_sweep.tracking.recipe import key

if TYPE_CHECKING:
    from lth_sweep.lottery.records import Level, LevelRecord

COSTS = ("steps_trained", "steps_reused", "seconds")
CURVES = ("train_loss", "accuracy", "loss")
OF_SEEDS = ("accuracy", "difference", "loss")
"""What is logged of each seed, beside the mean; the table of levels has the rest."""


class Point(NamedTuple):
    key: str
    value: float
    step: int
    timestamp: int
    """Milliseconds. Kept when a point is sent again, so that MLflow knows it for the same point."""


def seed_points(level: "Level", dense: Mapping[int, float], timestamp: int) -> list[Point]:
    """Of each replica: its training curve of accuracy by optimizer step, and some of what was measured by level.

    `dense` is the accuracy of level 0 by seed.
    """
    found = []
    for record in level:
        curve = key(f"training/accuracy/seeds/level-{record.level:02d}-seed-{record.seed}")
        found += [Point(curve, _number(point.metrics["accuracy"]), point.step, timestamp) for point in record.curve]
        for name, value in _measured(record, dense).items():
            if name in OF_SEEDS:
                found.append(
                    Point(key(f"level/seeds/{name}-seed-{record.seed}"), _number(value), record.level, timestamp)
                )
    return found


def mean_points(level: "Level", dense: Mapping[int, float], timestamp: int) -> list[Point]:
    """Means over the seeds: training curves by optimizer step, and `level/*` by level, with `accuracy_sd`, the sample
    standard deviation, and sums of costs."""
    curves = [
        Point(
            key(f"training/{name}/level-{level[0].level:02d}"),
            _mean([getattr(point, name) for point in points]),
            points[0].step,
            timestamp,
        )
        for points in zip(*(record.curve for record in level), strict=False)  # one that diverged is shorter
        for name in CURVES
    ]
    return curves + [
        Point(key(f"level/{name}"), value, level[0].level, timestamp) for name, value in summary(level, dense).items()
    ]


def summary(level: "Level", dense: Mapping[int, float]) -> dict[str, float]:
    """The means of a level over its seeds, and the sums of what it cost."""
    replicas = [{**_measured(record, dense), "density": record.density, **record.sizes} for record in level]
    common = [
        name for name in replicas[0] if all(name in replica for replica in replicas)
    ]  # one that diverged has fewer
    found = {name: _mean([replica[name] for replica in replicas]) for name in common}
    if len(level) > 1 and "accuracy" in found:
        accuracies = [record.metrics["accuracy"] for record in level]
        found["accuracy_sd"] = statistics.stdev(accuracies) if all(map(math.isfinite, accuracies)) else math.nan
    found |= {name: float(sum(getattr(record, name) for record in level)) for name in COSTS}
    return found | most_memory([level])


def most_memory(levels: Sequence["Level"]) -> dict[str, float]:
    """`memory`: the most bytes in use at any of these levels; nothing where that is not known."""
    known = [record.memory for level in levels for record in level if record.memory is not None]
    return {"memory": float(max(known))} if known else {}


def accuracies(levels: Sequence["Level"]) -> dict[int, float]:
    """The accuracy of level 0, the dense network, by seed."""
    return {record.seed: record.metrics["accuracy"] for record in levels[0]} if levels else {}


def diverged(levels: Sequence["Level"]) -> str:
    """Where training gave something that is not a number, in words."""
    return "; ".join(f"level {record.level}, seed {record.seed}" for level in levels for record in level
                     if not all(map(math.isfinite, record.metrics.values())))  # fmt: skip


def _measured(record: "LevelRecord", dense: Mapping[int, float]) -> dict[str, float]:
    if record.seed not in dense or "accuracy" not in record.metrics:
        return record.metrics
    return {**record.metrics, "difference": record.metrics["accuracy"] - dense[record.seed]}


def _mean(values: Sequence[float]) -> float:
    return _number(sum(values) / len(values))


def _number(value: float) -> float:
    """MLflow's databases store an infinity as 1.8e308, which flattens every chart that it is in."""
    return value if math.isfinite(value) else math.nan
