"""What a sweep tells those who listen."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

from lth_sweep.lottery.records import Level
from lth_sweep.search.answer import Answer
from lth_sweep.search.trial import Ending, Outcome, Proposal
from lth_sweep.sweepfile.spec import SweepSpec


class Listener(Protocol):
    """MLflow, the progress view, whoever else wants to know. Called by the
    driver, in its process, in this order; each trial's calls are in order, trials interleave."""

    def sweep_started(self, spec: SweepSpec, folder: Path) -> None: ...

    def trial_recorded(
        self,
        proposal: Proposal,
        levels: Sequence[Level],
        ending: Ending,
        outcome: Outcome,
        reason: str = "",
        steps_saved: int = 0,
    ) -> None:
        """A trial that an earlier run of the sweep has on record; an interrupted one is started again later."""

    def trial_started(self, proposal: Proposal) -> None:
        """Told once more when a trial that has waited goes on."""

    def level_done(self, proposal: Proposal, level: Level) -> None:
        """Told once more when seeds are added to a level: the first seed of a trial may go alone."""

    def trial_waits(self, proposal: Proposal) -> None:
        """Its first seed is done; its other seeds wait until all trials have been tried."""

    def trial_ended(
        self, proposal: Proposal, ending: Ending, outcome: Outcome, reason: str = "", steps_saved: int = 0
    ) -> None:
        """`reason`: why it was stopped or failed, for people. `steps_saved`: by stopping, about."""

    def verifying(self, trial: int, level: int, done: int, networks: int) -> None:
        """After the search: so many of the networks are trained that the verification of a candidate takes; 0 first."""

    def answered(self, answer: Answer | None) -> None:
        """What the sweep has found so far, at its end, however it ends; None where no trial matches."""

    def sweep_ended(self, ending: Literal["finished", "failed", "interrupted"]) -> None: ...
