"""The listener that logs a sweep to MLflow: one experiment, a parent run, a child run per trial."""

import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeVar

from lth_sweep.lottery.records import Level, LevelRecord
from lth_sweep.lottery.ticket.ticket import Ticket
from lth_sweep.remote.run_folder import RunFolder
from lth_sweep.search.answer import Answer
from lth_sweep.search.trial import Ending, Outcome, Proposal
from lth_sweep.sweepfile.spec import SweepSpec
from lth_sweep.tracking.machine import Machine
from lth_sweep.tracking.metrics import levels_csv
from lth_sweep.tracking.model import Best
from lth_sweep.tracking.news import STATUS, News, totals
from lth_sweep.tracking.runs import Runs
from lth_sweep.tracking.sender import Sender
from lth_sweep.tracking.update import Update

T = TypeVar("T")

SHORT_SECONDS = 5.0
"""What an interrupted sweep waits for MLflow at most: who stops it, as Slurm and Kubernetes do, soon kills it."""
Attach = Callable[[SweepSpec, Path], Mapping[str, str]]
FindTicket = Callable[[SweepSpec, Path], tuple[Answer, LevelRecord, Callable[[], Ticket]] | None]


def to_stderr(message: str) -> None:
    print(message, file=sys.stderr)


class MlflowListener:
    """Implements `lth_sweep.search.trial.Listener`.

    All calls return at once; one thread does the sending. A server that is away fails nothing: its news is kept, and
    sent when it answers. `say` is told once when it goes and when it is back. At the end the sweep waits for what is
    not sent yet, until nothing could be sent for `patience` seconds, or a few in all where it is interrupted; `missing`
    then says in words what MLflow lacks.
    """

    def __init__(self, say: Callable[[str], None] = to_stderr, patience: float = 30.0, attach: Attach | None = None,
                 ticket: FindTicket | None = None) -> None:  # fmt: skip
        """`attach` is called at the end of a sweep that is not interrupted: its texts, by file name, become artifacts
        of the sweep's own run; then `ticket`: the answer, the record of the network, and what loads it, which becomes a
        registered model. Where one fails, `say` is told."""
        self._say, self._patience = say, patience
        self._attach, self._ticket = attach, ticket
        self._machine: Machine | None = None
        self.missing: list[str] = []

    def sweep_started(self, spec: SweepSpec, folder: Path) -> None:
        """Raises ConfigError where `tracking` asks for what cannot be. Nothing is reached out to here."""
        self._begin(spec, folder)
        if spec.tracking.system_metrics:
            since = RunFolder(folder).identity.stat().st_mtime
            self._machine = Machine(lambda samples: self._sender.put(self._news.of_sweep(samples=samples)), since)
        self._sender.put(self._news.introduction())

    def resend(self, spec: SweepSpec, folder: Path,
               recorded: Iterable[tuple[Proposal, Sequence[Level], Ending, Outcome, str, int]],
               found: Answer | None, ending: Literal["finished", "interrupted"]) -> Counter[str]:  # fmt: skip
        """Make MLflow equal to the records of a sweep that is not running. What was sent for that: the number of
        "values", and of runs that were "made" and "replaced"; nothing where MLflow had it all."""
        self._begin(spec, folder)
        for trial in recorded:
            self.trial_recorded(*trial)
        *words, answer = self._news.answered(found)
        for update in words:
            self._sender.put(update)
        self._finish(ending, self._news.introduction().merged(answer))
        return self._runs.sent

    def _begin(self, spec: SweepSpec, folder: Path) -> None:
        self._spec, self._folder = spec, folder
        self._news = News(spec, folder)
        self._runs = Runs(spec, folder, self._say)
        self.place = self._runs.place
        self._sender = Sender(self._send, str(self.place), self._say)

    def trial_recorded(self, proposal: Proposal, levels: Sequence[Level], ending: Ending, outcome: Outcome,
                       reason: str = "", steps_saved: int = 0) -> None:  # fmt: skip
        """A trial that an earlier run of the sweep has on record, called after `sweep_started`, before `trial_started`.

        What MLflow lacks of it is sent, and nothing is doubled; so a killed or cut-off sweep becomes complete. A run
        that says something else, as of fewer seeds, is replaced. Levels told here need not come again through
        `level_done`.
        """
        self._sender.put(self._news.recorded(proposal, levels, ending, outcome, reason, steps_saved))

    def trial_started(self, proposal: Proposal) -> None:
        self._sender.put(self._news.started(proposal))

    def level_done(self, proposal: Proposal, level: Level) -> None:
        self._sender.put(self._news.level(proposal, level))

    def trial_waits(self, proposal: Proposal) -> None:
        self._sender.put(self._news.waits(proposal))

    def trial_ended(self, proposal: Proposal, ending: Ending, outcome: Outcome, reason: str = "",
                    steps_saved: int = 0) -> None:  # fmt: skip
        self._sender.put(self._news.ended(proposal, ending, outcome, reason, steps_saved))

    def verifying(self, trial: int, level: int, done: int, networks: int) -> None:
        """MLflow gets the result alone."""

    def answered(self, found: Answer | None) -> None:
        for update in self._news.answered(found):
            self._sender.put(update)

    def sweep_ended(self, ending: Literal["finished", "failed", "interrupted"]) -> None:
        """Waits until MLflow has everything, or gives up and says what is missing."""
        if self._machine:
            self._machine.close()
        self._finish(ending, self._news.of_sweep())

    def _finish(self, ending: Literal["finished", "failed", "interrupted"], update: Update) -> None:
        files = {"levels.csv": levels_csv(self._news.levels)}
        if ending == "finished":
            files |= self._extra("report", self._attach) or {}
        last = self._news.of_sweep(tags={"lth.ending": str(ending)}, status=STATUS[ending], files=files)
        self._sender.put(update.merged(last))
        if ending == "finished" and (best := self._extra("ticket", self._ticket)):
            self._sender.put(self._news.of_sweep(best=Best(*best), status=STATUS[ending]))
        unsent = self._sender.close(self._patience, SHORT_SECONDS if ending == "interrupted" else math.inf)
        self.missing = unsent + self._runs.unsent
        if self.missing:
            more = [f"and {len(self.missing) - 5} more"] if len(self.missing) > 5 else []
            self._say(f"MLflow at {self.place} lacks parts of this sweep: {'; '.join(self.missing[:5] + more)}")

    def _extra(self, what: str, make: Callable[[SweepSpec, Path], T] | None) -> T | None:
        try:
            return make(self._spec, self._folder) if make else None
        except Exception as error:  # of any kind: the sweep itself is done, and has to end well
            self._say(f"MLflow gets no {what} of this sweep: {type(error).__name__}: {error}")
            return None

    def _send(self, update: Update) -> None:
        """In the thread. An answer takes the place of the one before. The sweep's last update is completed with totals
        of what MLflow then has of all trials."""
        if update.trial is None and "best" in update.tags:
            for earlier in ("best.", "verdict"):
                self._runs.drop_tags(earlier, keep=update.tags)
        if update.trial is None and update.status != "RUNNING" and not update.best:
            trials = {number: run for number, run in self._runs.open().items() if number is not None}
            update = replace(update, summary=update.summary | totals(trials))
        self._runs.apply(update)


def note_on_sweep(spec: SweepSpec, folder: Path, ending: Literal["finished", "interrupted"], *,
                  tags: Mapping[str, str], metrics: Mapping[str, float], files: Mapping[str, str],
                  say: Callable[[str], None] = to_stderr) -> None:  # fmt: skip
    """Put more about the sweep in `folder`, runs/NAME, which has ended, on its own run; `ending` is that of a run that
    has to be made. Where MLflow cannot be reached, or does not take something, `say` is told: what is noted is in the
    sweep's folder, too."""
    try:
        runs = Runs(spec, folder)
        status = None if None in runs.open() else STATUS[ending]
        runs.apply(Update(None, spec.name, tags=dict(tags), summary=dict(metrics), files=dict(files), status=status))
        missing = runs.unsent
    except Exception as error:  # of any kind: the sweep itself is done
        missing = [f"{type(error).__name__}: {error}"]
    if missing:
        say(f"MLflow lacks parts of {spec.name}: {'; '.join(missing)}")
