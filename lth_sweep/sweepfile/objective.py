"""What is to be small, and when a ticket is as good as the dense network.

Compared by pairs: same seed, ticket and dense, on the validation split. A level matches when its mean gain over the
seeds is at least -margin. A level with a metric that is not a number never matches, nor does one that was not trained
to its end, or that lacks seeds which the dense level has. Nor does one where a network, its own or the dense one, says
the same of all examples: it has learnt nothing, and losing nothing against it is no merit.
"""

import math
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any, Literal

from lth_sweep.lottery.common.errors import ConfigError, require, unknown
from lth_sweep.lottery.common.identity import canonical
from lth_sweep.lottery.records import Level
from lth_sweep.lottery.task import LOSS, Classification, Metric, Task

Size = Literal["params", "flops", "bytes", "latency", "error"]

MAIN = Classification().metric()
"""Of a trial that names no task."""
ROUNDING = 1e-9
"""Two values of a metric that differ by exactly the margin differ by a little more or less in floats."""


@dataclass(frozen=True)
class Match:
    """When a ticket is as good as the dense network: its metric, as a mean over the seeds, is worse by the margin at
    most."""

    metric: str | None = None
    """One of the task's; by default its main one, which for classification is accuracy."""
    margin: float = 0.01
    """What a ticket may lose: of accuracy, 0.01 is one percentage point."""
    relative: bool = False
    """Whether the margin is a share of the dense network's value."""

    def __post_init__(self) -> None:
        require(self.margin >= 0, "margin", f"must be at least 0, but got {self.margin:g}")


@dataclass(frozen=True)
class Objective:
    """What is to be small, while the metric matches."""

    minimize: Size | tuple[Size, ...] = "params"
    """What is to be small, or several such, for the whole front; the best trial is the best by the first. latency is
    measured, in milliseconds of the compact network on one input; error is 1 - metric, and cannot come first."""
    match: Match = field(default_factory=Match)
    metric: Metric = field(default=MAIN, metadata={"written": False})
    """What `match.metric` names, of the trial's task: see `of`."""

    def __post_init__(self) -> None:
        require(len(self.sizes) > 0, "minimize", "needs at least one size")
        require(len(set(self.sizes)) == len(self.sizes), "minimize", "names a size twice")
        require(self.sizes[0] != "error", "minimize", "error cannot come first: name the size that it is weighed with "
                "before it, such as [params, error]")  # fmt: skip

    @property
    def sizes(self) -> tuple[str, ...]:
        return (self.minimize,) if isinstance(self.minimize, str) else self.minimize

    @property
    def first(self) -> str:
        """The size that says which trial is best."""
        return self.sizes[0]

    @property
    def written(self) -> dict[str, Any]:
        """As a sweep file has it, with the metric's name, and `relative` only where it is: as it was written before
        there was a choice, so that sweeps of then can be gone on with."""
        relative = {"relative": True} if self.match.relative else {}
        return {"minimize": canonical(self.minimize), "match": {
            "metric": self.metric.name, "margin": canonical(self.match.margin), **relative,
        }}  # fmt: skip

    def of(self, task: Task) -> "Objective":
        """The same, with the metric of this task that `match.metric` names. Raises ConfigError for what does not go
        with it."""
        try:
            metric = task.metric(self.match.metric)
        except KeyError:
            names = [metric.name for metric in (*task.metrics, LOSS)]
            raise ConfigError(unknown("metric", str(self.match.metric), names), "match.metric") from None
        share = self.match.relative or metric.format == "percent"
        require(self.match.margin < 1 or not share, "match.margin",
                f"must be at least 0 and below 1, but got {self.match.margin:g}")  # fmt: skip
        require("error" not in self.sizes or (metric.format == "percent" and metric.higher_is_better), "minimize",
                f"error is 1 - metric, for one in per cent of which more is better, which {metric.name} is not; leave "
                "it out")  # fmt: skip
        return replace(self, metric=metric)

    def margin(self, reference: float) -> float:
        """What a ticket may lose against a dense network with this value of the metric, in units of the metric."""
        return self.match.margin * abs(reference) if self.match.relative else self.match.margin

    def gain(self, level: Level, dense: Level) -> float:
        """How much better the tickets of a level are than the dense networks of their seeds, mean over the seeds; NaN
        where the level cannot be judged."""
        judged = level.is_finite and dense.is_finite and not (level.is_constant or dense.is_constant)
        if len(level) < len(dense) or not level.finished or not judged:
            return math.nan
        return fmean(level.gains(dense, self.metric))

    def shortfall(self, level: Level, dense: Level) -> float:
        """By how much a level misses the match; 0 or less where it matches, NaN where it cannot be judged."""
        missing = -self.margin(dense.mean(self.metric.name)) - self.gain(level, dense)
        return min(missing, 0.0) if missing <= ROUNDING else missing

    def matches(self, level: Level, dense: Level) -> bool:
        """Whether the level is as good as the dense one."""
        return self.shortfall(level, dense) <= 0
