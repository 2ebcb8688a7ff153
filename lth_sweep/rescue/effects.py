"""What a remedy has changed: paired differences to the patient and to dense, and a word for it.

A remedy is compared on the patient's seeds first. That look chooses, and proves nothing: a patient is one because it
did badly on these very seeds, by bad luck as often as not, so that whatever is tried on them looks better than it is.
Only on fresh seeds, where the patient runs again beside the few that looked best, is a remedy said to have helped. The
error is divided between all that may be tried there (Bonferroni): of remedies that do nothing, any is said to have
helped in at most ERROR of rescues.
"""

import math
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

from lth_sweep.lottery.records import Level, LevelRecord
from lth_sweep.lottery.task import LOSS, Metric
from lth_sweep.search.verdict import Interval, of_seeds, of_values
from lth_sweep.sweepfile.spec import Objective

ERROR = 0.05
CONFIDENCE = 0.975
"""Of each bound, so that an interval holds with 95%."""

Word = Literal["helped", "better, unconfirmed", "worse", "no difference shown", "diverged"]


@dataclass(frozen=True)
class Difference:
    """By how much one network is better than another of the same seed: above 0 is better, whichever way the metric
    goes. Without bounds (NaN) for a single seed."""

    metric: Metric
    mean: float
    lower: float
    upper: float

    @property
    def number(self) -> str:
        """The mean: "+0.12", in points where the metric is a share."""
        return number(self.mean, self.metric)

    @property
    def bounds(self) -> str:
        """ "-0.30 to +0.54"; empty where there are none."""
        ends = (number(end, self.metric) for end in (self.lower, self.upper))
        return "" if math.isnan(self.lower) else " to ".join(ends)

    def words(self, unit: str = "") -> str:
        """ "+0.12 (-0.30 to +0.54)", with a unit after the mean."""
        return f"{self.number}{f' {unit}' if unit else ''}{f' ({self.bounds})' if self.bounds else ''}"

    def __str__(self) -> str:
        """With the metric's unit."""
        return self.words(unit_of(self.metric))

    def to_json(self) -> dict[str, float | None]:
        return Interval(self.mean, self.lower, self.upper).to_json()


def unit_of(metric: Metric) -> str:
    """Of its differences as they are written."""
    return "points" if metric.format == "percent" else metric.name


def scale_of(metric: Metric) -> int:
    """By which differences are multiplied when they are written."""
    return 100 if metric.format == "percent" else 1


def number(difference: float, metric: Metric) -> str:
    """In units of `unit_of`, with its sign."""
    return f"{100 * difference:+.2f}" if metric.format == "percent" else metric.show_difference(difference)


def _values(level: Level, metric: Metric) -> list[float]:
    """By seed. A network whose share is not a number has the worst there is: it is right on no example."""
    worst = float(not metric.higher_is_better) if metric.format == "percent" else math.nan
    found = [record.metrics[metric.name] for record in level]
    return [worst if math.isnan(value) else value for value in found]


def mean(level: Level, metric: Metric) -> float:
    """Over the seeds."""
    return fmean(_values(level, metric))


def paired(one: Level, other: Level, metric: Metric, examples: int, confidence: float = CONFIDENCE) -> Difference:
    """How much better `one` is than `other`, on so many examples."""
    pairs = zip(_values(one, metric), _values(other, metric), strict=True)
    gains = [metric.gain(value, reference) for value, reference in pairs]
    if metric.format == "percent" and len(gains) > 1:  # shares come in steps of one example
        return Difference(metric, *of_seeds(gains, examples, confidence))
    return Difference(metric, *of_values(gains, 2 * confidence - 1))


def diverged(record: LevelRecord) -> bool:
    return math.isnan(record.metrics[LOSS.name])


@dataclass(frozen=True)
class Effect:
    """Of one remedy, at the level nearest to the patient's density. Bounds are one-sided, each at `confidence`."""

    to_patient: Difference
    """Of the ticket to the patient's ticket."""
    to_dense: Difference
    """To the patient's dense network, which all remedies are compared with."""
    to_own_dense: Difference | None
    """To the dense network of its own recipe; None where that is the patient's."""
    density: float
    seeds: tuple[int, ...]
    confidence: float
    word: Word
    matches: bool
    """Whether the mean difference to dense is at least -margin."""

    def to_json(self) -> dict[str, Any]:
        return {name: value.to_json() if isinstance(value, Difference) else value for name, value in vars(self).items()}


def effect(
    ticket: Level,
    own: Level,
    patient: Level,
    dense: Level,
    objective: Objective,
    examples: int,
    *,
    remedies: int,
    fresh: bool,
) -> Effect:
    """`own`: the dense network of the remedy's recipe; `remedies`: how many share the error; `fresh`: whether these are
    not the seeds that patient and remedy were chosen on."""
    confidence = 1 - ERROR / remedies
    to_patient, to_dense, to_own_dense = (
        paired(ticket, other, objective.metric, examples, confidence) for other in (patient, dense, own)
    )
    word: Word = "no difference shown"
    if any(map(diverged, ticket)):
        word = "diverged"
    elif to_patient.lower > 0:
        word = "helped" if fresh else "better, unconfirmed"
    elif to_patient.upper < 0:
        word = "worse"
    same = [record.stage for record in own] == [record.stage for record in dense]
    match = is_match(ticket, own, dense, objective)
    return Effect(to_patient, to_dense, None if same else to_own_dense, ticket.density, ticket.seeds, confidence, word,
                  match)  # fmt: skip


def is_match(ticket: Level, own: Level, dense: Level, objective: Objective) -> bool:
    """Against the patient's dense network; against its own where that one has learnt nothing."""
    return objective.matches(ticket, own if dense.is_constant or any(map(diverged, dense)) else dense)
