"""The logic of a sweep, whatever runs its trials: what is next, what a level means, what became of a trial."""

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from lth_sweep.lottery.config import TrialConfig
from lth_sweep.lottery.disk import write_whole
from lth_sweep.lottery.errors import ConfigError
from lth_sweep.lottery.identity import canonical
from lth_sweep.lottery.loop import trial_digest
from lth_sweep.lottery.records import Level
from lth_sweep.orchestration.records import Records, best, read, read_one, write_tables
from lth_sweep.search.bound import smallest
from lth_sweep.search.events import Ending, Listener, Outcome, Proposal
from lth_sweep.search.objective import judge, nearest, sizes
from lth_sweep.search.stopping import stop_reason
from lth_sweep.search.study import SweepStudy
from lth_sweep.search.trial import NOTHING, TrialRecord
from lth_sweep.spec.decode import decode
from lth_sweep.spec.sweep import Pick, SweepSpec

ATTEMPTS = 3
"""So often a trial is tried at one level, each time from its stored stages, in all runs of the sweep together."""


@dataclass(frozen=True)
class SweepResult:
    """How a sweep stands after `run_sweep`."""

    name: str
    folder: Path
    ending: Literal["finished", "interrupted"]
    best: TrialRecord | None
    """The trial with the smallest matching network, with its levels; None if no level of any trial matches."""
    counts: dict[str, int]
    """Trials by ending, of all runs of this sweep."""
    steps_trained: int
    """In this run, as is `steps_reused`."""
    steps_reused: int
    steps_saved: int
    """By the rules in `stop`, in all runs of this sweep: what was not run would have taken about so many steps."""
    spent: Literal["", "steps", "hours"] = ""
    """The budget that was used up before all trials had ended."""


@dataclass
class Running:
    """A trial that is being run."""

    proposal: Proposal
    record: TrialRecord
    bound: float = 0.0
    """No level of it is smaller."""
    stopped: str = ""
    """Why it was told to stop."""
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
    ) -> None:
        """`bound`: of the sizes of a trial's levels, see `search.bound`; `study`: by default in the sweep's folder."""
        self.spec, self.folder, self.listeners = spec, folder, listeners
        self.steps_trained = self.steps_reused = 0
        self._bound = bound
        self._started = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        self._records = Records(folder)
        self._study = study or SweepStudy(spec, folder / "optuna.db")
        self._limit = self._study.limit
        self._refuse_another_sweep()
        write_whole(folder / "sweep.yaml", spec.text)
        self._running: dict[int, Running] = {}
        self._again: list[int] = []
        """Those of them whose last attempt has failed."""
        recorded = read(folder)
        self._steps_before = sum(trial.steps_trained for trial in recorded)
        found = best(recorded)
        self._best = found.outcome.value if found else None
        self._ended = {trial_digest(spec.recipe(trial.picks)): trial.number for trial in recorded if trial.answers}
        """Recipe -> the trial that answers it."""
        self._unfinished = self._reconcile({trial.number: trial for trial in recorded})
        for listener in listeners:
            listener.sweep_started(spec, folder)
            for trial in recorded:
                proposal = Proposal(trial.number, trial.picks, spec.recipe(trial.picks))
                outcome = trial.outcome if trial.ending else judge(trial.levels, spec.objective)
                listener.trial_recorded(proposal, trial.levels, trial.ending or "interrupted", outcome, trial.reason)

    def __getstate__(self) -> dict[str, object]:
        """Nothing: Tune pickles all that it is given, for a restore that is not used here; listeners have threads."""
        return {}

    @property
    def has_more(self) -> bool:
        """Whether there is a trial to be proposed."""
        return not self.spent and (bool(self._again or self._unfinished) or self._study.count < self._study.limit)

    @property
    def is_busy(self) -> bool:
        """Whether a trial is running, and so may have to be proposed once more."""
        return bool(self._running)

    @property
    def spent(self) -> Literal["", "steps", "hours"]:
        """The budget that is used up. Then trials are left as they are, to be gone on with."""
        search = self.spec.search
        if search.steps is not None and self._steps_before + self.steps_trained >= search.steps:
            return "steps"
        if search.hours is not None and time.monotonic() - self._started >= search.hours * 3600:
            return "hours"
        return ""

    def propose(self) -> Proposal | None:
        """The next trial to run: one whose attempt has failed or that was interrupted, else a new one, else None."""
        while self.has_more:
            if self._again:
                return self._running[self._again.pop(0)].proposal
            number, picks = self._unfinished.pop(0) if self._unfinished else self._study.ask()
            proposal = Proposal(number, picks, self.spec.recipe(picks))
            trial = self._running[number] = Running(proposal, self._records.start(number, picks))
            for listener in self.listeners:
                listener.trial_started(proposal)
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
        known = trial.record.levels[level[0].level] if level[0].level < len(trial.record.levels) else ()
        new = [record for record in level if record.seed not in {old.seed for old in known}]
        if new:
            whole = {record.seed: record for record in (*level, *known)}  # the known ones say what they cost
            self._put(trial, tuple(whole[record.seed] for record in level))
            self.steps_trained += sum(record.steps_trained for record in new)
            self.steps_reused += sum(record.steps_reused for record in new)
        reason = stop_reason(
            trial.record.levels,
            level[0].level,
            {record.seed for record in level},
            trial.proposal.recipe,
            self.spec.stop,
            self.spec.objective,
            self._best,
            trial.bound,
        )
        trial.stopped = reason or ""
        return reason is not None

    def attempt_failed(self, number: int, error: str, log: str) -> None:
        """A trial's worker raised, died or was killed: it is proposed once more, or it ends with this error."""
        trial = self._running[number]
        self._records.log(number, log)
        trial.record = self._records.fault(trial.record, error)
        if trial.record.faults < ATTEMPTS:
            self._again.append(number)
        else:
            self.end(number, error)

    def refuse(self, number: int, error: str, log: str) -> None:
        """A trial cannot be run, however often it is tried; it will end with this error."""
        self._records.log(number, log)
        self._running[number].error = error

    def end(self, number: int, error: str = "") -> None:
        """A trial has ended: with an error, or by the reason that `level` gave, or because its levels are done."""
        trial = self._running[number]
        error = error or trial.error
        outcome = judge(trial.record.levels, self.spec.objective)
        if not error and trial.stopped and outcome == NOTHING and self._best is not None and trial.bound >= self._best:
            outcome = Outcome(None, None, None, trial.bound)
        ending: Ending = "failed" if error else "stopped" if trial.stopped else "finished"
        self._end(trial, ending, outcome, error or trial.stopped, self._saved(trial) if ending == "stopped" else 0)

    def close(self, ending: Literal["finished", "failed", "interrupted"]) -> None:
        """End the run: trials that are still running will go on when the sweep is run again."""
        with ExitStack() as last:  # in reverse, each also where another one fails, as all that write do on a full disk
            for listener in reversed(self.listeners):
                last.callback(listener.sweep_ended, ending)
            last.callback(write_tables, self.folder, self.spec.objective)
            last.callback(self._study.close)
            for trial in self._running.values():
                for listener in self.listeners:
                    outcome = judge(trial.record.levels, self.spec.objective)
                    listener.trial_ended(trial.proposal, "interrupted", outcome)
            self._running.clear()

    def result(self, ending: Literal["finished", "interrupted"]) -> SweepResult:
        trials = read(self.folder)
        counts: Counter[str] = Counter(trial.ending or "interrupted" for trial in trials)
        return SweepResult(
            self.spec.name,
            self.folder,
            ending,
            best(trials),
            dict(counts),
            self.steps_trained,
            self.steps_reused,
            sum(trial.steps_saved for trial in trials),
            self.spent if counts["interrupted"] or self._limit > len(trials) else "",
        )

    def _put(self, trial: Running, level: Level) -> None:
        trial.record = self._records.put_level(trial.record, level)
        for listener in self.listeners:
            listener.level_done(trial.proposal, level)

    def _answer(self, trial: Running, twin: TrialRecord) -> None:
        """End a trial with the records of an earlier one of the same recipe, at no cost."""
        for level in twin.levels[len(trial.record.levels) :]:
            free = [
                replace(record, steps_trained=0, steps_reused=record.steps_trained + record.steps_reused, seconds=0.0)
                for record in level
            ]
            self._put(trial, tuple(free))
        assert twin.ending
        self._end(trial, twin.ending, twin.outcome, f"the same recipe as trial {twin.number}, whose records answer it")

    def _end(self, trial: Running, ending: Ending, outcome: Outcome, reason: str, saved: int = 0) -> None:
        """Records first, then the study, then the listeners."""
        number = trial.proposal.number
        trial.record = self._records.end(trial.record, ending, outcome, reason, saved)
        self._tell(trial.record)
        del self._running[number]
        if trial.record.answers:
            self._ended.setdefault(trial_digest(trial.proposal.recipe), number)
            if outcome.value is not None:
                self._best = outcome.value if self._best is None else min(self._best, outcome.value)
        for listener in self.listeners:
            listener.trial_ended(trial.proposal, ending, outcome, reason)

    def _saved(self, trial: Running) -> int:
        """Steps of the levels and seeds that a stopped trial has not run, each as many as its last level's took."""
        recipe, levels = trial.proposal.recipe, trial.record.levels
        steps = levels[-1][0].steps_trained + levels[-1][0].steps_reused
        whole = (1 + recipe.method.levels(recipe)) * len(recipe.seed_list)
        return steps * (whole - sum(map(len, levels)))

    def _tell(self, trial: TrialRecord) -> None:
        """Tell Optuna: the sizes of a trial that matches, else those of its nearest level, with the violation; of one
        that was stopped because it could not be smaller, the size that it could not have fallen below."""
        outcome, objective = trial.outcome, self.spec.objective
        measured: tuple[Sequence[float], float] | None = nearest(trial.levels, objective)
        if measured and outcome.level is not None:
            measured = sizes(trial.levels[outcome.level], objective), measured[1]
        elif outcome.bound is not None:
            measured = [outcome.bound], 0.0
        self._study.tell(trial.number, None if trial.ending == "failed" else measured)

    def _reconcile(self, recorded: Mapping[int, TrialRecord]) -> list[tuple[int, dict[str, Pick]]]:
        """Bring the study in line with the records; the trials that have not ended, by number and picks."""
        while self._study.count in recorded:
            self._study.restore(recorded[self._study.count].picks)
        unfinished = []
        for number, picks in self._study.unfinished():
            if number in recorded and recorded[number].ending:
                self._tell(recorded[number])
            else:
                unfinished.append((number, picks))
        return unfinished

    def _refuse_another_sweep(self) -> None:
        """Trials that differ in more than their picks could not be compared."""
        spec = self.spec
        sections = {"trial": decode(TrialConfig, spec.base), "space": list(spec.space), "objective": spec.objective}
        for name, section in sections.items():
            if self._study.fix(name, json.dumps(canonical(section))):
                continue
            raise ConfigError(
                f"the sweep {spec.name!r} was started with something else here, and its trials could not be compared "
                f"with new ones; give this sweep another name, or remove {self.folder}",
                name,
            )
