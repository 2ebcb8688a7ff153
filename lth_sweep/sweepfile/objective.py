"""What is to be small, and when a ticket is as good as the dense network.

Compared by pairs: same seed, ticket and dense, on the validation split. A level matches when its mean gain over the
seeds is at least -margin. A level with a metric that is not a number never matches, nor does one that was not trained
to its end, or that lacks seeds which the dense level has. Nor does one where a network, its own or the dense one, says
the same of all examples: it has learnt nothing, and losing nothing against it is no merit.
"""

import math
import re
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any, Literal

from lth_sweep.lottery.common.errors import ConfigError, require, unknown
from lth_sweep.lottery.common.identity import canonical
from lth_sweep.lottery.records import Level
from lth_sweep.lottery.task import Classification, Metric, Task

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
    margin: float | str = 0.01
    """What a ticket may lose, in units of the metric: of accuracy, 0.01 is one percentage point. With a percent sign,
    such as 2%, a share of the dense network's value."""

    def __post_init__(self) -> None:
        if isinstance(self.margin, str):
            require(re.fullmatch(r"\s*\d+(\.\d+)?\s*%\s*", self.margin) is not None, "margin", "must be a number, or a "
                    f"share of the dense network's value such as 2%, but got {self.margin!r}")  # fmt: skip
        require(self.amount >= 0, "margin", f"must be at least 0, but got {self.margin}")

    @property
    def relative(self) -> bool:
        """Whether the margin is a share of the dense network's value."""
        return isinstance(self.margin, str)

    @property
    def amount(self) -> float:
        """The margin as a number; a share where it is relative."""
        return float(self.margin.strip(" %")) / 100 if isinstance(self.margin, str) else self.margin

    @property
    def words(self) -> str:
        """As people read it: "0.01", "2%"."""
        return f"{100 * self.amount:.6g}%" if self.relative else f"{self.amount:g}"

    def wider(self, by: float) -> "Match":
        """With a margin that is so much larger; by a share where it is one."""
        margin = self.amount + by
        return replace(self, margin=f"{100 * margin:.12f}%" if self.relative else margin)


@dataclass(frozen=True)
class Objective:
    """What is to be small, while the metric matches."""

    minimize: Size | tuple[Size, ...] = "params"
    """What is to be small, or several such, for the whole front; the best trial is the best by the first. latency is
    measured, in milliseconds of the compact network on one input; error is 1 - metric, or, where lower is better, the
    metric, and cannot come first."""
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
        """As a sweep file has it, with the metric's name."""
        match = self.match
        margin = match.words if match.relative else canonical(match.margin)
        return {"minimize": canonical(self.minimize), "match": {"metric": self.metric.name, "margin": margin}}

    def of(self, task: Task) -> "Objective":
        """The same, with the metric of this task that `match.metric` names. Raises ConfigError for what does not go
        with it."""
        try:
            metric = task.metric(self.match.metric)
        except KeyError:
            names = [metric.name for metric in task.measured]
            raise ConfigError(unknown("metric", str(self.match.metric), names), "match.metric") from None
        if self.match.relative or metric.format == "percent":
            most = "100%" if self.match.relative else "1"
            require(self.match.amount < 1, "match.margin", f"must be at least 0 and below {most}, but got "
                    f"{self.match.words}")  # fmt: skip
        return replace(self, metric=metric)

    def margin(self, reference: float) -> float:
        """What a ticket may lose against a dense network with this value of the metric, in units of the metric."""
        return self.match.amount * abs(reference) if self.match.relative else self.match.amount

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
