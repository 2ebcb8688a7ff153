"""What a report is made from, and the means over seeds that its figures draw."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from lth_sweep.lottery.records import Level, LevelRecord
from lth_sweep.lottery.task import Metric
from lth_sweep.search.answer import Answer
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
    value: float
    """Of the metric that has to match, on validation; NaN where training diverged."""
    spread: float
    """Sample standard deviation of that value; NaN for one seed."""
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

    @property
    def metric(self) -> Metric:
        """The one that has to match."""
        return self.spec.objective.metric

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

    @cached_property
    def ticket(self) -> Level | None:
        """The level of the shown trial that is its answer, or else its last."""
        if self.shown is None:
            return None
        wanted = self.answer.ticket.level if self.answer else self.shown.levels[-1].number
        return next(level for level in self.shown.levels if level.number == wanted)

    @cached_property
    def dense(self) -> list[float]:
        """Of all dense networks the value that has to be matched, each once, however many trials share it."""
        found = {record.stage: record.metrics[self.metric.name] for trial in self.trials for level in trial.levels[:1]
                 for record in level}  # fmt: skip
        return [value for value in found.values() if math.isfinite(value)]

    @property
    def margin(self) -> float:
        """In units of the metric."""
        return self.spec.objective.margin(fmean(self.dense))

    @property
    def target(self) -> float:
        """What is to be matched: the mean of the dense networks, worse by the margin."""
        return fmean(self.dense) + (-self.margin if self.metric.higher_is_better else self.margin)

    @property
    def target_as(self) -> str:
        """Its name in a legend, without how large the margin is."""
        return f"dense {'−' if self.metric.higher_is_better else '+'} "

    def _mean(self, trial: TrialRecord, level: Level) -> LevelMean:
        name, sizes = self.metric.name, {size: level.size(size) for size in SIZES}
        if level.latency is not None:
            sizes["latency"] = level.latency
        match = level.number > 0 and self.spec.objective.matches(level, trial.levels[0])
        return LevelMean(trial.number, level.number, len(level), level.density, level.mean(name), level.spread(name),
                         sizes, match)  # fmt: skip


def steps_to(record: LevelRecord, value: float, metric: Metric) -> int | None:
    """The first measured optimizer step at which a network is as good as this on validation; None if at none."""
    return next((point.step for point in record.curve if metric.gain(point.metrics[metric.name], value) >= 0), None)


def smaller_front(points: Sequence[LevelMean], size: str, metric: Metric) -> list[LevelMean]:
    """Those that no other one beats: smaller, or as small, and better. Falling in size."""
    kept: list[LevelMean] = []
    measured = [point for point in points if size in point.sizes and math.isfinite(point.value)]
    for point in sorted(measured, key=lambda point: (point.sizes[size], metric.gain(0.0, point.value))):
        if not kept or metric.gain(point.value, kept[-1].value) > 0:
            kept.append(point)
    return kept[::-1]


def sorted_out(points: Sequence[LevelMean]) -> tuple[list[LevelMean], list[LevelMean], list[LevelMean]]:
    """The dense ones, those that do not match, and those that do."""
    return ([point for point in points if not point.level],
            [point for point in points if point.level and not point.match],
            [point for point in points if point.match])  # fmt: skip


def over(seeds: int) -> str:
    """How many, in words."""
    return f"{seeds} seed{'s' * (seeds > 1)}"


def duration(seconds: float) -> str:
    """In words."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
