"""Trials as a sweep knows them: proposed, on record, what they are worth; and who is told of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from lth_sweep.lottery.recipe.trial import TrialConfig
from lth_sweep.lottery.records import Level
from lth_sweep.sweepfile.axis import Pick

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
    bound: float | None = None
    """No level could have been smaller than this; of a trial that was stopped for it, with nothing else to tell."""


NOTHING = Outcome(value=None, violation=None, level=None)


class Span(NamedTuple):
    """When a level was being worked on, in seconds since the epoch."""

    level: int
    start: float
    end: float


@dataclass(frozen=True)
class TrialRecord:
    """What is known about a trial."""

    number: int
    picks: Mapping[str, Pick]
    levels: tuple[Level, ...] = ()
    ending: Ending | None = None
    """None while it runs, and after it was interrupted."""
    outcome: Outcome = NOTHING
    reason: str = ""
    """Why it was stopped or failed, or the last attempt did."""
    faults: int = 0
    """Attempts that have failed since its last new level."""
    steps_saved: int = 0
    """By stopping: what the levels and seeds that were not run would have taken."""
    recipe: str = ""
    """Stands for the recipe that it has ended with: since then it may have been given more seeds or levels."""
    spans: tuple[Span, ...] = field(default=(), compare=False)
    """In the order written; a level has more than one where seeds were added to it. Known of trials that were read."""

    @property
    def answers(self) -> bool:
        """Whether it has ended as a result, which another trial of the same recipe would only repeat."""
        return self.ending in ("finished", "stopped")

    @property
    def steps_trained(self) -> int:
        return sum(record.steps_trained for level in self.levels for record in level)

    @property
    def steps_reused(self) -> int:
        return sum(record.steps_reused for level in self.levels for record in level)

    def unspent(self, recipe: TrialConfig) -> int:
        """Steps of the levels and seeds that it has not run, each about as many as those of its last level."""
        last, whole = self.levels[-1][0], (1 + recipe.method.levels(recipe)) * len(recipe.seed_list)
        return (last.steps_trained + last.steps_reused) * (whole - sum(map(len, self.levels)))

    @property
    def seconds(self) -> float:
        """Of work on its levels."""
        return sum(record.seconds for level in self.levels for record in level)
