"""What a report is made from, and the means over seeds that its figures draw."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, stdev

from lth_sweep.lottery.records import Level, LevelRecord
from lth_sweep.search.answer import Answer
from lth_sweep.search.objective import matches
from lth_sweep.search.trial import TrialRecord
from lth_sweep.sweepfile.spec import SweepSpec

SIZES = ("params", "flops", "bytes")


@dataclass(frozen=True)
class LevelMean:
    """One level of a trial, over its seeds."""

    trial: int
    level: int
    seeds: int
    density: float
    accuracy: float
    """On validation; NaN where training diverged."""
    spread: float
    """Sample standard deviation of the accuracy; NaN for one seed."""
    sizes: Mapping[str, float]
    """params, flops, bytes, and latency where it was measured."""
    match: bool


@dataclass(frozen=True)
class Material:
    """A sweep as it is on record."""

    spec: SweepSpec
    trials: Sequence[TrialRecord]
    """By number."""
    answer: Answer | None
    commands: Mapping[str, str]
    """What to type, by what it is for."""

    @cached_property
    def means(self) -> dict[int, list[LevelMean]]:
        """By trial, level 0 first; trials without a level are left out."""
        return {trial.number: [self._mean(trial, level) for level in trial.levels] for trial in self.trials
                if trial.levels}  # fmt: skip

    @cached_property
    def shown(self) -> TrialRecord | None:
        """The trial of the answer; where there is none, the one that came nearest to matching."""
        if self.answer:
            return next(trial for trial in self.trials if trial.number == self.answer.trial)
        near = [trial for trial in self.trials if trial.outcome.violation is not None]
        return min(near, key=lambda trial: trial.outcome.violation or 0.0, default=None)

    @property
    def shown_as(self) -> str:
        """What to call it."""
        if self.shown is None:
            return ""
        return f"Trial {self.shown.number}" + ("" if self.answer else ", which came nearest to matching")

    @property
    def shown_densities(self) -> list[float]:
        assert self.shown
        return [point.density for point in self.means[self.shown.number]]

    @cached_property
    def dense(self) -> list[float]:
        """Accuracies of all dense networks, each once, however many trials share it."""
        found = {record.stage: record.metrics["accuracy"] for trial in self.trials for level in trial.levels[:1]
                 for record in level}  # fmt: skip
        return [accuracy for accuracy in found.values() if math.isfinite(accuracy)]

    @property
    def target(self) -> float:
        """The accuracy to be matched: the mean of the dense networks, less the margin."""
        return fmean(self.dense) - self.spec.objective.match.margin

    @cached_property
    def ticket(self) -> Level | None:
        """The level of the shown trial that is its answer, or else its last."""
        if self.shown is None:
            return None
        wanted = self.answer.ticket.level if self.answer else self.shown.levels[-1][0].level
        return next(level for level in self.shown.levels if level[0].level == wanted)

    def _mean(self, trial: TrialRecord, level: Level) -> LevelMean:
        accuracies = [record.metrics["accuracy"] for record in level]
        sizes = {name: fmean(record.sizes[name] for record in level) for name in SIZES}
        latencies = [record.latency for record in level if record.latency is not None]
        if len(latencies) == len(level):
            sizes["latency"] = fmean(latencies)
        return LevelMean(
            trial.number,
            level[0].level,
            len(level),
            fmean(record.density for record in level),
            fmean(accuracies),
            stdev(accuracies) if len(level) > 1 and all(map(math.isfinite, accuracies)) else math.nan,
            sizes,
            level[0].level > 0 and matches(level, trial.levels[0], self.spec.objective),
        )


def steps_to(record: LevelRecord, accuracy: float) -> int | None:
    """The first measured optimizer step at which a network has this accuracy on validation; None if at none."""
    return next((point.step for point in record.curve if point.metrics["accuracy"] >= accuracy), None)


def smaller_front(points: Sequence[LevelMean], size: str) -> list[LevelMean]:
    """Those that no other one beats: smaller, or as small, and more accurate. Falling in size."""
    kept: list[LevelMean] = []
    measured = [point for point in points if size in point.sizes and math.isfinite(point.accuracy)]
    for point in sorted(measured, key=lambda point: (point.sizes[size], -point.accuracy)):
        if not kept or point.accuracy > kept[-1].accuracy:
            kept.append(point)
    return kept[::-1]
