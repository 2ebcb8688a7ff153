"""The race: a trial's first seed goes first and alone.

Other seeds are two thirds of a trial's work, and most are spent on what is soon beaten. So they follow at once only
where the first one, alone, is the best so far. Where one of its levels may be the answer, as it misses the margin by no
more than the race's slack, the trial waits until all others have been tried, as does the very first, with nothing to be
better than; then the one that promises most goes on first. Else the trial stops. All seeds together go down to the last
level that may still be the answer.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from lth_sweep.lottery.recipe.trial import TrialConfig
from lth_sweep.lottery.records import Level
from lth_sweep.search.objective import judge, judged
from lth_sweep.search.policy.base import Go, Policy, Stop, Wait, is_last
from lth_sweep.sweepfile.objective import Objective
from lth_sweep.sweepfile.stopping import View


@dataclass(frozen=True)
class Race(Policy):
    """With several sizes to be minimised, or with a single seed, there is no race."""

    slack: float
    """Beyond the margin, and like it a share of the dense value where that is relative."""

    def runs(self, trial: TrialConfig) -> list[tuple[int, ...]]:
        alone = [trial.seed_list[:1]] if len(trial.seed_list) > 1 and len(self.objective.sizes) == 1 else []
        return [*alone, trial.seed_list]

    def levels(self, trial: TrialConfig, run: Callable[[TrialConfig], Iterator[Level]]) -> Iterator[Level]:
        """Those of the first seed come once more, from their stages, with all seeds."""
        levels: list[Level] = []
        for seeds in self.runs(trial)[:-1]:
            for level in run(replace(trial, seeds=seeds)):
                levels.append(level)
                yield level
                if self._is_over(levels, trial):
                    break
        yield from run(trial)

    def on_level(self, view: View) -> Go | Stop | Wait:
        done, trial = view.levels[-1], view.trial
        reason = self.reason(view, ending_trials=True)
        if reason or len(self.runs(trial)) == 1:
            return Stop(reason) if reason else super().on_level(view)
        if len(done) < len(trial.seed_list):
            if not self._is_over(view.levels, trial):
                return Go()
            if self._promise(view.levels, view.best) == math.inf:
                return Stop(self._beaten)
            value = judge(view.levels, self.objective).value
            leads = value is not None and view.leader is not None and value < view.leader
            return Go() if leads or not view.may_wait else Wait()
        if reason := self.reason(view):
            return Stop(reason)
        alone = [Level(level[:1]) for level in view.recorded]
        if is_last(done, trial) or self._promise(alone, view.best, done.number) < math.inf:
            return Go()
        # Not so where the first seed, before a rule was loosened, has not come as far as it may now.
        return Stop("no further level is one that its first seed promised") if self._is_over(alone, trial) else Go()

    def next_waiting(self, waiting: Mapping[int, View]) -> tuple[int, Go | Stop]:
        promised = {number: self._promise(view.levels) for number, view in waiting.items()}
        number = min(promised, key=lambda number: (promised[number], number))
        best = waiting[number].best
        return number, Go() if best is None or promised[number] < best else Stop(self._beaten)

    @property
    def _within_reach(self) -> Objective:
        """By which the first seed, alone, is judged."""
        return replace(self.objective, match=self.objective.match.wider(self.slack))

    @property
    def _beaten(self) -> str:
        reach = self._within_reach.match.words
        return f"its first seed alone: no level smaller than the best is within {reach} of dense"

    def _is_over(self, alone: Sequence[Level], trial: TrialConfig) -> bool:
        """Whether the first seed's run has come to its end; workers, who do not know the best, can tell it, too."""
        return is_last(alone[-1], trial) or self.reason(View(trial, alone, self._within_reach)) is not None

    def _promise(self, alone: Sequence[Level], best: float | None = None, after: int = 0) -> float:
        """The smallest size, below the best, that may match once all seeds are there, of the levels after level `after`
        of the first seed; infinite if there is none. Its sizes stand for those of the others, which differ from it only
        where units compete across layers."""
        found = [one for one in judged(alone, self._within_reach) if one.violation <= 0 and one.level > after]
        return min((one.sizes[0] for one in found if best is None or one.sizes[0] < best), default=math.inf)
