"""What a sweep shows while it runs: a calm view on a terminal, one line per trial where the output is piped."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lth_sweep.lottery.records import Level
from lth_sweep.search.answer import Answer
from lth_sweep.search.objective import in_words, sizes
from lth_sweep.search.trial import Ending, Outcome, Proposal
from lth_sweep.sweepfile.spec import SweepSpec

ROWS = 12
"""Running trials that are shown; a cluster has more than a terminal has lines."""


class Progress:
    """A listener that prints."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()
        self._live: Live | None = None

    def sweep_started(self, spec: SweepSpec, folder: Path) -> None:
        self.spec = spec
        self.started = time.monotonic()
        self.before = self.done = 0
        self.best: float | None = None
        self.dense: float | None = None
        self.recorded: dict[int, list[Level]] = {}
        """By an earlier run, of trials that are not under way again yet."""
        self.running: dict[int, list[Level]] = {}
        self.levels: dict[int, int] = {}
        self.waiting: set[int] = set()
        self.trained = self.reused = self.saved = 0
        self.verification = ""
        if self.console.is_terminal:
            self._live = Live(console=self.console, get_renderable=self._view, refresh_per_second=2, transient=True)
            self._live.start()

    def trial_recorded(
        self,
        proposal: Proposal,
        levels: Sequence[Level],
        ending: Ending,
        outcome: Outcome,
        reason: str = "",
        steps_saved: int = 0,
    ) -> None:
        if ending == "interrupted":
            self.recorded[proposal.number] = list(levels)
        else:
            self.before += 1
            self._count(ending, outcome)

    def trial_started(self, proposal: Proposal) -> None:
        self.running.setdefault(proposal.number, self.recorded.pop(proposal.number, []))
        self.waiting.discard(proposal.number)
        self.levels[proposal.number] = proposal.recipe.method.levels(proposal.recipe)

    def level_done(self, proposal: Proposal, level: Level) -> None:
        levels = self.running[proposal.number]
        told = {seed for old in levels if old.number == level.number for seed in old.seeds}
        new = level.of(set(level.seeds) - told)
        self.trained += new.steps_trained
        self.reused += new.steps_reused
        levels[:] = [*(old for old in levels if old.number != level.number), level]
        if level.number == 0:
            self.dense = sizes(level, self.spec.objective)[0]

    def trial_waits(self, proposal: Proposal) -> None:
        self.waiting.add(proposal.number)

    def trial_ended(
        self, proposal: Proposal, ending: Ending, outcome: Outcome, reason: str = "", steps_saved: int = 0
    ) -> None:
        levels = self.running.pop(proposal.number, [])
        self.waiting.discard(proposal.number)
        if ending == "interrupted":
            return
        self._count(ending, outcome)
        self.saved += steps_saved
        trained, reused = sum(level.steps_trained for level in levels), sum(level.steps_reused for level in levels)
        found = f"{self._size(outcome.value)} matches" if outcome.value is not None else "no level matches"
        result = f"failed: {reason}" if ending == "failed" else f"{found}; {trained:,} steps trained, {reused:,} reused"
        line = f"trial {proposal.number}: {result}"
        self.console.print(Text(f"[{self.done}/{self.spec.search.trials}] {line}"), soft_wrap=True)

    def verifying(self, trial: int, level: int, done: int, networks: int) -> None:
        candidate = f"verifying trial {trial}, level {level}"
        self.verification = f"{candidate}: {done} of {networks} networks trained"
        if done == 0 and self._live is None:
            self.console.print(Text(f"{candidate}: {networks} networks on fresh seeds"), soft_wrap=True)

    def answered(self, answer: Answer | None) -> None:
        if answer and answer.verification:
            self.console.print(Text(f"verified: {answer.verification.verdict.sentence}"), soft_wrap=True)

    def sweep_ended(self, ending: Literal["finished", "failed", "interrupted"]) -> None:
        if self._live:
            self._live.stop()
            self._live = None

    def _count(self, ending: Ending, outcome: Outcome) -> None:
        self.done += 1
        if outcome.value is not None and ending != "failed":
            self.best = outcome.value if self.best is None else min(self.best, outcome.value)

    def _size(self, value: float) -> str:
        share = f" ({value / self.dense:.1%})" if self.dense else ""
        return in_words(value, self.spec.objective.first) + share

    def _view(self) -> Group:
        """At most 80 columns: a line per running trial, and a summary."""
        trials, metric = Table.grid(padding=(0, 2)), self.spec.objective.metric
        running = sorted((number, levels) for number, levels in self.running.items() if number not in self.waiting)
        for number, levels in running[:ROWS]:
            at, found = 0, list[str]()
            if levels:
                at, value = levels[-1].number, levels[-1].mean(metric.name)
                found = [f"density {levels[-1].density:.1%}", f"{metric.name} {metric.show(value)}"]
            trials.add_row(f"trial {number}", f"level {at} of {self.levels[number]}", *found)
        elapsed = time.monotonic() - self.started
        left = None if self.verification else self._time_left(elapsed)
        best = "none yet" if self.best is None else self._size(self.best)
        lines = [f"and {len(running) - ROWS} more trials"] if len(running) > ROWS else []
        if self.waiting:
            lines.append(f"waiting with their other seeds until all trials have been tried: {len(self.waiting)}")
        lines += [
            f"{self.done} of {self.spec.search.trials} trials   smallest that matches: {best}",
            f"steps: {self.trained:,} trained, {self.reused:,} reused, about {self.saved:,} saved",
            *([self.verification] if self.verification else []),
            clock(elapsed) + (f", about {clock(left)} left" if left is not None else ""),
        ]
        return Group(trials, Text("\n".join(lines)))

    def _time_left(self, elapsed: float) -> float | None:
        here = self.done - self.before
        return elapsed / here * max(0, self.spec.search.trials - self.done) if here else None


def clock(seconds: float) -> str:
    """Such as 0:42 or 1:03:20."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
