"""The logic of a sweep, whatever runs its trials: what is next, what a level means, what became of a trial."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from lth_sweep.lottery.recipe.forecast import smallest
from lth_sweep.lottery.recipe.trial import TrialConfig, trial_digest
from lth_sweep.lottery.records import Level
from lth_sweep.orchestration import extension
from lth_sweep.orchestration.evidence import conclude
from lth_sweep.orchestration.reconciliation import have_ended, recall, reconcile
from lth_sweep.orchestration.records import Records, best, read, read_one
from lth_sweep.remote.run_folder import RunFolder
from lth_sweep.search.listener import Listener
from lth_sweep.search.objective import judge, measured
from lth_sweep.search.policy import Go, Stop, Wait, policy_of
from lth_sweep.search.study import SweepStudy, unmeasured
from lth_sweep.search.trial import NOTHING, Ending, Outcome, Proposal, TrialRecord
from lth_sweep.sweepfile.spec import SweepSpec
from lth_sweep.sweepfile.stopping import View

ATTEMPTS = 3
"""So often a trial is tried at one level, each time from its stored stages, in all runs of the sweep together."""


@dataclass
class Running:
    """A trial that is being run."""

    proposal: Proposal
    record: TrialRecord
    bound: float = 0.0
    """No level of it is smaller."""
    decision: Go | Stop | Wait = field(default_factory=Go)
    """What the policy has said after its last level."""
    last_call: bool = False
    """It has waited, and all others have been tried."""
    error: str = ""
    """Why it cannot be run."""


class Driver:
    """Starts a sweep or goes on with it. Records are written before anybody is told."""

    def __init__(
        self,
        spec: SweepSpec,
        folder: Path,
        listeners: Sequence[Listener] = (),
        bound: Callable[[TrialConfig, str], float] = smallest,
        study: SweepStudy | None = None,
        say: Callable[[str], None] = print,
        until: Callable[[TrialRecord], bool] | None = None,
    ) -> None:
        """`bound`: of the sizes of a trial's levels, see `Forecast`; `study`: by default in the sweep's folder; `say`
        is told what has changed in the file of a sweep that goes on; `until`: once a trial of which this holds has
        ended, no other is started.

        Raises ConfigError, and has changed nothing, where what has changed would mix trials of different kinds."""
        self.spec, self.folder, self.listeners = spec, folder, listeners
        self.steps_trained = self.steps_reused = 0
        self._policy = policy_of(spec.stop, spec.objective)
        self._bound = bound
        self._until = until
        self._started = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        self._records = Records(folder)
        self._running: dict[int, Running] = {}
        self._again: list[int] = []
        """Those of them whose last attempt has failed."""
        self._waiting: dict[int, Running] = {}
        recorded = read(folder)
        changes = extension.check(folder, spec) if recorded else []
        self._study = study or SweepStudy(spec, RunFolder(folder).study, [trial.picks for trial in recorded])
        extension.note(folder, spec)
        self._steps_before = sum(trial.steps_trained for trial in recorded)
        ended = have_ended(recorded, spec, self._policy, bound)
        found = best(ended.values())
        self._best = found.outcome.value if found else None
        self._found = until is not None and any(trial.answers and until(trial) for trial in ended.values())
        self._ended = {trial.recipe: trial.number for trial in ended.values() if trial.answers}
        """Recipe -> the trial that answers it."""
        self._unfinished = reconcile(self._study, recorded, ended, spec.objective)
        for trial in ended.values():
            self._note(trial)
        if changes:
            reopened = sum(trial.ending is not None for trial in recorded) - len(ended)
            say(extension.in_words(spec, changes, reopened))
        for listener in listeners:
            listener.sweep_started(spec, folder)
            recall(recorded, ended, spec, listener)

    @property
    def has_more(self) -> bool:
        """Whether there may be a trial to be proposed."""
        more = bool(self._again or self._waiting) or self.has_untried
        return more and not (self.spent or self._found)

    @property
    def has_untried(self) -> bool:
        """Whether there is a trial that this run has not started."""
        return bool(self._unfinished) or self._study.count < self._study.limit

    @property
    def running(self) -> int:
        """How many trials are under way, without those whose attempt has failed: they have no worker until they are
        proposed once more."""
        return len(self._running) - len(self._again)

    @property
    def spent(self) -> Literal["", "steps", "hours"]:
        """The budget that is used up. Then trials are left as they are, to be gone on with."""
        steps = self.spec.search.steps
        if steps is not None and self._steps_before + self.steps_trained >= steps:
            return "steps"
        return "hours" if self.is_over_time else ""

    @property
    def is_over_time(self) -> bool:
        """Whether the hours of this run are over."""
        hours = self.spec.search.hours
        return hours is not None and time.monotonic() - self._started >= hours * 3600

    def propose(self) -> Proposal | None:
        """The next trial to run: one whose attempt has failed or that was interrupted, else a new one, else one that
        has waited, else None."""
        while self.has_more:
            if self._again:
                return self._running[self._again.pop(0)].proposal
            trial = self._untried() if self.has_untried else self._waited()
            if trial is None:
                return None
            proposal, number = trial.proposal, trial.proposal.number
            self._running[number] = trial
            if trial.record.faults >= ATTEMPTS:
                self.end(number, trial.record.reason)
                continue
            twin = self._ended.get(trial_digest(proposal.recipe)) if self.spec.stop.duplicates else None
            if twin is None:
                if self.spec.stop.hopeless and self._best is not None:
                    trial.bound = self._bound(proposal.recipe, self.spec.objective.first)
                return proposal
            self._answer(trial, read_one(self.folder, twin))
        return None

    def level(self, number: int, level: Level) -> bool:
        """Take a level of a running trial; whether the trial should stop here.

        A trial that goes on, or is tried again, yields its first levels once more, from their stages, and a trial whose
        first seed was run alone yields that seed again: what is on record already is not written or told again.
        """
        trial = self._running[number]
        new = self._put(trial, level)
        self.steps_trained += new.steps_trained
        self.steps_reused += new.steps_reused
        run = [known.of(level.seeds) for known in trial.record.levels[: level.number + 1]]
        trial.decision = self._policy.on_level(self._view(trial, run))
        return not isinstance(trial.decision, Go)

    def attempt_failed(self, number: int, error: str, log: str) -> None:
        """A trial's worker raised, died or was killed: it is proposed once more, or it ends with this error."""
        trial = self._running[number]
        self._records.log(number, log)
        trial.record = self._records.fault(trial.record, error)
        if trial.record.faults < ATTEMPTS:
            self._again.append(number)
        else:
            self.end(number, error)

    def faults(self, number: int) -> int:
        """So many attempts of a trial that is under way have failed since its last new level; 0 where it has ended."""
        trial = self._running.get(number)
        return trial.record.faults if trial else 0

    def refuse(self, number: int, error: str, log: str) -> None:
        """A trial cannot be run, however often it is tried; it will end with this error."""
        self._records.log(number, log)
        self._running[number].error = error

    def end(self, number: int, error: str = "") -> None:
        """A trial has ended: with an error, or by the reason that `level` gave, or because its levels are done."""
        trial = self._running[number]
        error = error or trial.error
        outcome = judge(trial.record.levels, self.spec.objective)
        if error:
            self._end(trial, "failed", outcome, error)
        elif isinstance(trial.decision, Wait):
            trial.record = self._records.wait(trial.record, outcome)
            self._note(trial.record)
            self._waiting[number] = self._running.pop(number)
            for listener in self.listeners:
                listener.trial_waits(trial.proposal)
        elif isinstance(trial.decision, Stop):
            if outcome == NOTHING and self._best is not None and trial.bound >= self._best:
                outcome = replace(NOTHING, bound=trial.bound)
            self._end(trial, "stopped", outcome, trial.decision.reason, trial.record.unspent(trial.proposal.recipe))
        else:
            self._end(trial, "finished", outcome)

    def close(self, ending: Literal["finished", "failed", "interrupted"]) -> None:
        """End the run: trials that are still running will go on when the sweep is run again."""
        with ExitStack() as last:  # in reverse, each also where another one fails, as all that write do on a full disk
            for listener in reversed(self.listeners):
                last.callback(listener.sweep_ended, ending)
            last.callback(conclude, self.spec, self.folder, self.listeners)
            last.callback(self._study.close)
            for trial in [*self._running.values(), *self._waiting.values()]:
                for listener in self.listeners:
                    outcome = judge(trial.record.levels, self.spec.objective)
                    listener.trial_ended(trial.proposal, "interrupted", outcome)
            self._running.clear()
            self._waiting.clear()

    def _untried(self) -> Running:
        number, picks = self._unfinished.pop(0) if self._unfinished else self._study.ask()
        proposal = Proposal(number, picks, self.spec.recipe(picks))
        trial = Running(proposal, self._records.start(number, picks))
        for listener in self.listeners:
            listener.trial_started(proposal)
        return trial

    def _waited(self) -> Running | None:
        """Of the trials that wait, the next that goes on; those before it end."""
        while self._waiting:
            views = {number: self._view(trial, trial.record.levels) for number, trial in self._waiting.items()}
            number, decision = self._policy.next_waiting(views)
            trial = self._waiting.pop(number)
            if isinstance(decision, Go):
                trial.last_call, trial.decision = True, decision
                for listener in self.listeners:
                    listener.trial_started(trial.proposal)
                return trial
            self._end(
                trial, "stopped", trial.record.outcome, decision.reason, trial.record.unspent(trial.proposal.recipe)
            )
        return None

    def _view(self, trial: Running, levels: Sequence[Level]) -> View:
        """For the policy: of a trial that has come to the last of `levels`, a run of some of its seeds."""
        values = [self._best, *(other.record.outcome.value for other in self._waiting.values())]
        return View(
            trial.proposal.recipe,
            levels,
            self.spec.objective,
            self._best,
            trial.bound,
            recorded=trial.record.levels,
            leader=min((value for value in values if value is not None), default=None),
            may_wait=not trial.last_call and self._until is None,
        )

    def _note(self, trial: TrialRecord) -> None:
        """Tell the sampler that is not Optuna's; of a trial that was hopeless, what it could not have fallen below."""
        level, bound = trial.outcome.level, trial.outcome.bound
        found = measured(trial, self.spec.objective) if bound is None else ([bound], 0.0)
        self._study.note(trial.number, trial.picks, found, None if level is None else trial.levels[level].density)

    def _put(self, trial: Running, level: Level) -> Level:
        """Record what is new of a level, and tell of it."""
        known = trial.record.levels[level.number] if level.number < len(trial.record.levels) else Level()
        new = level.of(set(level.seeds) - set(known.seeds))
        if new:
            whole = {record.seed: record for record in (*level, *known)}  # the known ones say what they cost
            level = Level(whole[record.seed] for record in level)
            trial.record = self._records.put_level(trial.record, level)
            for listener in self.listeners:
                listener.level_done(trial.proposal, level)
        return new

    def _answer(self, trial: Running, twin: TrialRecord) -> None:
        """End a trial with the records of an earlier one of the same recipe, at no cost."""
        for level in twin.levels:
            free = [
                replace(record, steps_trained=0, steps_reused=record.steps_trained + record.steps_reused, seconds=0.0)
                for record in level
            ]
            self._put(trial, Level(free))
        assert twin.ending
        self._end(trial, twin.ending, twin.outcome, f"the same recipe as trial {twin.number}, whose records answer it")

    def _end(self, trial: Running, ending: Ending, outcome: Outcome, reason: str = "", saved: int = 0) -> None:
        """Records first, then the study, then the listeners."""
        number = trial.proposal.number
        recipe = trial_digest(trial.proposal.recipe)
        trial.record = self._records.end(trial.record, recipe, ending, outcome, reason, saved)
        self._study.tell(number, measured(trial.record, self.spec.objective), unmeasured(trial.record))
        self._note(trial.record)
        self._running.pop(number, None)
        if trial.record.answers:
            self._ended.setdefault(recipe, number)
            self._found = self._found or (self._until is not None and self._until(trial.record))
            if outcome.value is not None:
                self._best = outcome.value if self._best is None else min(self._best, outcome.value)
        for listener in self.listeners:
            listener.trial_ended(trial.proposal, ending, outcome, reason, saved)
