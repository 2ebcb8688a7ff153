"""Rules that end a trial before its last level: they spend less, and change the answer as little as they can.

A trial whose metrics are not numbers, or whose network says the same of all examples, stops in any case. With several
sizes to be minimised there is no single best one that a trial could fall short of.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from lth_sweep.lottery.common.errors import require
from lth_sweep.lottery.common.registry import Strategy
from lth_sweep.lottery.recipe.trial import TrialConfig
from lth_sweep.lottery.records import Level
from lth_sweep.sweepfile.objective import Objective


@dataclass(frozen=True)
class View:
    """What is known when a level of a trial is done."""

    trial: TrialConfig
    levels: Sequence[Level]
    """Level 0 to the one that is done, of the seeds that are being run."""
    objective: Objective
    """With a wider margin for rules that are asked of the first seed alone, see `Stop.race`."""
    best: float | None = None
    """The smallest size of the trials that have ended."""
    bound: float = 0.0
    """No level of this trial is smaller."""
    recorded: Sequence[Level] = field(default=(), kw_only=True)
    """All levels on record, those of another run of the trial, with its first seed alone, among them."""
    leader: float | None = field(default=None, kw_only=True)
    """The smallest size of all trials, with those that wait, known by some of their seeds."""
    may_wait: bool = field(default=False, kw_only=True)
    """Whether other trials are left to be tried before this one goes on."""

    def matches(self, level: Level) -> bool:
        return self.objective.matches(level, self.levels[0])


class StopRule(Strategy):
    """A family of stopping rules. One's own is a frozen dataclass with `reason`."""

    family: ClassVar[str] = "stopping rule"
    ends_trial: ClassVar[bool] = False
    """Whether a trial ends by it at once, even if its first seed alone is being run. By the others that run ends, and
    what it has found says whether the other seeds follow."""

    def reason(self, view: View) -> str | None:
        """Why the trial should not go on, for people; None if it should."""
        raise NotImplementedError


@dataclass(frozen=True)
class Diverged(StopRule):
    """A metric is not a number."""

    def reason(self, view: View) -> str | None:
        last = view.levels[-1]
        return None if last.is_finite else f"training diverged at level {last.number}: a metric is not a number"


@dataclass(frozen=True)
class Constant(StopRule):
    """The network says the same of all examples."""

    def reason(self, view: View) -> str | None:
        last = view.levels[-1]
        return f"at level {last.number} all examples get the same {view.trial.task.said}" if last.is_constant else None


@dataclass(frozen=True)
class Patience(StopRule):
    """Some levels in a row do not match. Those that were not trained to their end do not count."""

    levels: int = 2

    def __post_init__(self) -> None:
        require(self.levels >= 1, "levels", f"must be 1 or more, but got {self.levels}")

    def reason(self, view: View) -> str | None:
        finished = [level for level in view.levels if level.finished]
        if len(finished) <= self.levels or any(map(view.matches, finished[-self.levels :])):
            return None
        in_a_row = "1 level" if self.levels == 1 else f"{self.levels} levels in a row"
        match, below = view.objective.match, "below" if view.objective.metric.higher_is_better else "above"
        return f"{in_a_row} more than {match.words} {below} dense"


@dataclass(frozen=True)
class Hopeless(StopRule):
    """Not even the last level would be smaller than the best so far."""

    ends_trial: ClassVar[bool] = True

    def reason(self, view: View) -> str | None:
        if len(view.objective.sizes) > 1 or view.best is None or view.bound < view.best:
            return None
        return f"no level of it could be smaller than the best, {view.best:,.0f} {view.objective.first}"


STOP_RULES: dict[str, type[StopRule]] = {
    "diverged": Diverged,
    "constant": Constant,
    "patience": Patience,
    "hopeless": Hopeless,
}
StopRule.kinds = STOP_RULES
