"""When things happened in a sweep."""

import time
from pathlib import Path
from typing import Literal

from lth_sweep.lottery.records import Level
from lth_sweep.search.answer import Answer
from lth_sweep.search.trial import Ending, Outcome, Proposal
from lth_sweep.sweepfile.spec import SweepSpec


class Times:
    """A listener that notes when the first level was done and when the last trial ended."""

    first_level = last_trial = 0.0

    def sweep_started(self, spec: SweepSpec, folder: Path) -> None: ...

    def trial_started(self, proposal: Proposal) -> None: ...

    def level_done(self, proposal: Proposal, level: Level) -> None:
        self.first_level = self.first_level or time.perf_counter()

    def trial_waits(self, proposal: Proposal) -> None: ...

    def trial_ended(
        self, proposal: Proposal, ending: Ending, outcome: Outcome, reason: str = "", steps_saved: int = 0
    ) -> None:
        self.last_trial = time.perf_counter()

    def verifying(self, trial: int, level: int, done: int, networks: int) -> None: ...

    def answered(self, answer: Answer | None) -> None: ...

    def sweep_ended(self, ending: Literal["finished", "failed", "interrupted"]) -> None: ...
