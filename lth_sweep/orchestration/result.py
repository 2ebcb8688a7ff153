"""What `run_sweep` gives back."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lth_sweep.search.trial import TrialRecord


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
