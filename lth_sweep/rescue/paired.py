"""Paired differences: one network minus another of the same seed, and how they are written."""

import math
from statistics import fmean

from lth_sweep.lottery.records import Level
from lth_sweep.search.verdict import Interval, of_seeds

CONFIDENCE = 0.975
"""Of each bound, so that an interval holds with 95%."""


def accuracies(level: Level, metric: str = "accuracy") -> list[float]:
    """By seed; a network whose metrics are not numbers is right on none."""
    return [0.0 if math.isnan(record.metrics[metric]) else record.metrics[metric] for record in level]


def accuracy(level: Level) -> float:
    """The mean over the seeds."""
    return fmean(accuracies(level))


def paired(
    one: Level, other: Level, examples: int, confidence: float = CONFIDENCE, metric: str = "accuracy"
) -> Interval:
    """One minus other, by seed; without bounds (NaN) for a single seed."""
    differences = [a - b for a, b in zip(accuracies(one, metric), accuracies(other, metric), strict=True)]
    if len(differences) == 1:
        return Interval(differences[0], math.nan, math.nan)
    return of_seeds(differences, examples, confidence)


def points(interval: Interval, unit: str = "") -> str:
    """+0.12 (-0.30 to +0.54), with the unit after the mean; without bounds where there are none."""
    reach = bounds(interval)
    return f"{number(interval.mean)}{unit}{f' ({reach})' if reach else ''}"


def bounds(interval: Interval) -> str:
    return "" if math.isnan(interval.lower) else f"{number(interval.lower)} to {number(interval.upper)}"


def number(share: float) -> str:
    """In points."""
    return f"{100 * share:+.2f}"
