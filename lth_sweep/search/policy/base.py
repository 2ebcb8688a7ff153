"""What happens after a level of a trial."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from lth_sweep.lottery.recipe.trial import TrialConfig
from lth_sweep.lottery.records import Level
from lth_sweep.sweepfile.objective import Objective
from lth_sweep.sweepfile.stopping import StopRule, View


@dataclass(frozen=True)
class Go:
    """On to the next level."""


@dataclass(frozen=True)
class Stop:
    """The trial ends."""

    reason: str
    """For people."""


@dataclass(frozen=True)
class Wait:
    """The trial goes on once all others have been tried, if it then still could be the best."""


@dataclass(frozen=True)
class Policy:
    """Trials run all their seeds together, and stop by the first rule that has a reason."""

    rules: Sequence[StopRule]
    objective: Objective

    def runs(self, trial: TrialConfig) -> list[tuple[int, ...]]:
        """The seeds of each run of a trial, in their order."""
        return [trial.seed_list]

    def levels(self, trial: TrialConfig, run: Callable[[TrialConfig], Iterator[Level]]) -> Iterator[Level]:
        """All levels of a trial, in a worker; `run` yields those of a trial with its seeds together."""
        return run(trial)

    def on_level(self, view: View) -> Go | Stop | Wait:
        """Called in the driver after each level, also after one that is yielded once more from its stages."""
        reason = self.reason(view, ending_trials=True) or self.reason(view)
        return Stop(reason) if reason else Go()

    def next_waiting(self, waiting: Mapping[int, View]) -> tuple[int, Go | Stop]:
        """Of the trials that wait, by number, when all others have been tried: the next, and what becomes of it."""
        return min(waiting), Go()

    def reason(self, view: View, ending_trials: bool = False) -> str | None:
        """That of the first rule that has one."""
        reasons = (rule.reason(view) for rule in self.rules if rule.ends_trial == ending_trials)
        return next((reason for reason in reasons if reason is not None), None)

    def would_stop(self, view: View) -> bool:
        """Whether a trial with the levels `view.recorded` is to be stopped after one of them. A trial that was stopped
        is also stopped once the best has become smaller, unless the rules have changed."""
        for seeds in self.runs(view.trial):
            run = [level.of(seeds) for level in view.recorded if set(seeds) <= set(level.seeds)]
            views = (replace(view, levels=run[: done + 1]) for done in range(len(run)))
            if any(isinstance(self.on_level(view), Stop) for view in views):
                return True
        return self.reason(replace(view, levels=view.recorded), ending_trials=True) is not None


def is_last(level: Level, trial: TrialConfig) -> bool:
    return level.number == trial.method.levels(trial)
