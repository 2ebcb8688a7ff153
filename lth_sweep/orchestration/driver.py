"""The logic of a sweep, whatever runs its trials: what is next, what a level means, what became of a trial."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lth_sweep.lottery.config import TrialConfig
from lth_sweep.lottery.errors import ConfigError
from lth_sweep.lottery.identity import canonical
from lth_sweep.lottery.records import Level
from lth_sweep.orchestration.records import Records, TrialRecord, best, read, write_table
from lth_sweep.search.events import Ending, Listener, Proposal
from lth_sweep.search.objective import judge, nearest, stop_reason
from lth_sweep.search.study import SweepStudy
from lth_sweep.spec.decode import decode
from lth_sweep.spec.sweep import Pick, SweepSpec

RETRIES = 2
"""How often a trial that fails is tried again, each time from its stored stages."""


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


class Driver:
    """Starts a sweep or goes on with it. Records are written before anybody is told."""

    def __init__(self, spec: SweepSpec, folder: Path, listeners: Sequence[Listener] = ()) -> None:
        self.spec, self.folder, self.listeners = spec, folder, listeners
        self.steps_trained = self.steps_reused = 0
        folder.mkdir(parents=True, exist_ok=True)
        self._records = Records(folder)
        self._study = SweepStudy(spec, folder / "optuna.db")
        self._refuse_another_sweep()
        (folder / "sweep.yaml").write_text(spec.text)
        self._running: dict[int, tuple[Proposal, TrialRecord]] = {}
        self._stopped: dict[int, str] = {}
        self._unfinished = self._reconcile()
        for listener in listeners:
            listener.sweep_started(spec, folder)

    def __getstate__(self) -> dict[str, object]:
        """Nothing: Tune pickles all that it is given, for a restore that is not used here; listeners have threads."""
        return {}

    @property
    def has_more(self) -> bool:
        """Whether there is a trial to be proposed."""
        return bool(self._unfinished) or self._study.count < self._study.limit

    def propose(self) -> Proposal | None:
        """The next trial to run: one that was interrupted, else a new one, else None."""
        if not self.has_more:
            return None
        number, picks = self._unfinished.pop(0) if self._unfinished else self._study.ask()
        proposal = Proposal(number, picks, self.spec.recipe(picks))
        self._running[number] = (proposal, self._records.start(number, picks))
        for listener in self.listeners:
            listener.trial_started(proposal)
        return proposal

    def level(self, number: int, level: Level) -> bool:
        """Take a level of a running trial; whether the trial should stop here.

        A trial that goes on, or is tried again, yields its first levels once more, from their stages: those that are on
        record already are not written or told again.
        """
        proposal, trial = self._running[number]
        index = level[0].level
        if index == len(trial.levels):
            trial = self._records.add_level(trial, level)
            self._running[number] = (proposal, trial)
            self.steps_trained += sum(record.steps_trained for record in level)
            self.steps_reused += sum(record.steps_reused for record in level)
            for listener in self.listeners:
                listener.level_done(proposal, level)
        reason = stop_reason(trial.levels[: index + 1], self.spec.stop, self.spec.objective)
        if reason:
            self._stopped[number] = reason
        return reason is not None

    def attempt_failed(self, number: int, traceback: str) -> None:
        """Keep the traceback of an attempt, the last or not."""
        self._records.log(number, traceback)

    def end(self, number: int, error: str = "") -> None:
        """A trial has ended: with an error, or by the reason that `level` gave, or because its levels are done."""
        proposal, trial = self._running.pop(number)
        stopped = self._stopped.pop(number, "")
        ending: Ending = "failed" if error else "stopped" if stopped else "finished"
        outcome = judge(trial.levels, self.spec.objective)
        trial = self._records.end(trial, ending, outcome, error or stopped)
        self._tell(trial)
        for listener in self.listeners:
            listener.trial_ended(proposal, ending, outcome, error or stopped)

    def close(self, ending: Literal["finished", "failed", "interrupted"]) -> None:
        """End the run: trials that are still running will go on when the sweep is run again."""
        for proposal, trial in self._running.values():
            for listener in self.listeners:
                listener.trial_ended(proposal, "interrupted", judge(trial.levels, self.spec.objective))
        self._running.clear()
        self._study.close()
        write_table(self.folder)
        for listener in self.listeners:
            listener.sweep_ended(ending)

    def result(self, ending: Literal["finished", "interrupted"]) -> SweepResult:
        trials = read(self.folder)
        counts: Counter[str] = Counter(trial.ending or "interrupted" for trial in trials)
        return SweepResult(
            self.spec.name, self.folder, ending, best(trials), dict(counts), self.steps_trained, self.steps_reused
        )

    def _tell(self, trial: TrialRecord) -> None:
        """Tell Optuna: the value of a trial that matches, else the size of its nearest level, with the violation."""
        measured = None if trial.ending == "failed" else nearest(trial.levels, self.spec.objective)
        if measured and trial.outcome.value is not None:
            measured = trial.outcome.value, measured[1]
        self._study.tell(trial.number, measured)

    def _reconcile(self) -> list[tuple[int, dict[str, Pick]]]:
        """Bring the study in line with the records; the trials that have not ended, by number and picks."""
        recorded = {trial.number: trial for trial in read(self.folder)}
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
