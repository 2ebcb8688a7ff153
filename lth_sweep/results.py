"""A sweep that has been run, for Python and notebooks."""

from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Self

from lth_sweep.commands.shared import in_words
from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.orchestration.evidence import answer
from lth_sweep.orchestration.records import read
from lth_sweep.remote import mirror
from lth_sweep.remote.run_folder import RunFolder
from lth_sweep.search.answer import Answer
from lth_sweep.search.frames import levels_frame, trials_frame
from lth_sweep.search.objective import Tradeoff, front
from lth_sweep.search.trial import TrialRecord
from lth_sweep.sweepfile.load import load_spec
from lth_sweep.sweepfile.spec import SweepSpec

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Sweep:
    """The results in runs/NAME, also s3://BUCKET/PREFIX/NAME, read anew at each call, so that a sweep can be watched
    while it runs."""

    folder: Path

    @classmethod
    def open(cls, folder: Path | str) -> Self:
        """`folder` is runs/NAME. Raises ConfigError where there is no sweep."""
        runs, _, name = str(folder).rstrip("/").rpartition("/")
        folder = mirror.runs_folder(runs) / name if runs else Path(folder)
        RunFolder(folder).fetch()
        if not RunFolder(folder).exists:
            raise ConfigError(f"there is no sweep in {folder}: it has no sweep.yaml; name the folder of one, runs/NAME")
        return cls(folder)

    @cached_property
    def spec(self) -> SweepSpec:
        """The sweep file."""
        return load_spec(RunFolder(self.folder).file, checked=True)

    @property
    def records(self) -> list[TrialRecord]:
        """All that is known about each trial."""
        RunFolder(self.folder).fetch()
        return read(self.folder)

    def levels(self) -> "pd.DataFrame":
        """A row per trial, seed and level; the columns are those of `sweepfile.columns.levels`."""
        return levels_frame(self.records, self.spec.objective)

    def trials(self) -> "pd.DataFrame":
        """A row per trial; the columns are those of `sweepfile.columns.trials`."""
        return trials_frame(self.records, self.spec.objective)

    def front(self) -> list[Tradeoff]:
        """The matching levels that no other one beats in all sizes that the sweep minimises."""
        return front([(trial.number, trial.levels) for trial in self.records if trial.answers], self.spec.objective)

    def best(self) -> Answer | None:
        """The answer, verified where that is done; None where no trial matches."""
        return answer(self.spec, self.folder, self.records)

    def __repr__(self) -> str:
        words = in_words(self.best(), self.spec, self.folder.parent)
        return f"{self.spec.name}: {len(self.records)} trials\n\n{words}"

    def _repr_html_(self) -> str:
        return f"<pre>{escape(repr(self))}</pre>"
