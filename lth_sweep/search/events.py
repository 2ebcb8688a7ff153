"""What a sweep tells those who listen: MLflow, the progress view, the record files."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from lth_sweep.lottery.config import TrialConfig
from lth_sweep.lottery.records import Level
from lth_sweep.spec.sweep import Pick, SweepSpec

Ending = Literal["finished", "stopped", "failed", "interrupted"]
"""finished: all levels; stopped: by a stopping rule; failed: an error; interrupted: the sweep was, and the trial will
go on when the sweep is run again."""


@dataclass(frozen=True)
class Proposal:
    """A trial that is to be run."""

    number: int
    """Of the trial in the study, from 0."""
    picks: Mapping[str, Pick]
    recipe: TrialConfig


@dataclass(frozen=True)
class Outcome:
    """What a trial is worth. Both numbers are None where they could not be known (no level, or not a number)."""

    value: float | None
    """The smallest matching size; None if no level matches."""
    violation: float | None
    """How far the level nearest to matching is from it: mean difference below -margin; 0 or less where one matches."""
    level: int | None
    """The level that `value` belongs to."""


class Listener(Protocol):
    """Called by the driver, in its process, in this order; each trial's calls are in order, trials interleave."""

    def sweep_started(self, spec: SweepSpec, folder: Path) -> None: ...

    def trial_started(self, proposal: Proposal) -> None: ...

    def level_done(self, proposal: Proposal, level: Level) -> None: ...

    def trial_ended(self, proposal: Proposal, ending: Ending, outcome: Outcome, reason: str = "") -> None:
        """`reason`: why it was stopped or failed, for people."""

    def sweep_ended(self, ending: Literal["finished", "failed", "interrupted"]) -> None: ...
