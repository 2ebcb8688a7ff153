"""What MLflow is told of each trial."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any

from lth_sweep.lottery.records import Level
from lth_sweep.tracking.metrics import (
    COSTS,
    accuracies,
    diverged,
    mean_points,
    most_memory,
    seed_points,
    summary,
)
from lth_sweep.tracking.recipe import params, run_name
from lth_sweep.tracking.update import Status, Update

if TYPE_CHECKING:
    from lth_sweep.search.answer import Answer
    from lth_sweep.search.trial import Ending, Outcome, Proposal
    from lth_sweep.sweepfile.spec import SweepSpec

STATUS: dict[str, Status] = {"finished": "FINISHED", "stopped": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}


class Trials:
    """What happens to the trials of the sweep in `folder`, as updates of their runs."""

    def __init__(self, spec: "SweepSpec", folder: Path) -> None:
        self._spec, self._folder = spec, folder
        self.levels: dict[int, list[Level]] = {}
        """By trial; curves are kept of levels that lack seeds alone."""
        self._smallest: dict[int, int] = {}
        """The level that `smallest/*` is of, by trial."""

    def recorded(self, proposal: "Proposal", levels: Sequence[Level], ending: "Ending", outcome: "Outcome",
                 reason: str, steps_saved: int) -> Update:  # fmt: skip
        """All that its run is to have."""
        self.levels[proposal.number] = []
        whole = self.started(proposal)
        for level in levels:
            whole = whole.merged(self.level(proposal, level))
        return replace(whole.merged(self.ended(proposal, ending, outcome, reason, steps_saved)), whole=True)

    def started(self, proposal: "Proposal") -> Update:
        from lth_sweep.lottery.loop import trial_digest

        self.levels.setdefault(proposal.number, [])
        tags = {"lth.ending": "running", "lth.reason": "", "lth.recipe": trial_digest(proposal.recipe)}
        return self._news(proposal, params=params(proposal.recipe, proposal.picks), tags=tags)

    def waits(self, proposal: "Proposal") -> Update:
        return self._news(proposal, tags={"lth.ending": "waiting"})

    def level(self, proposal: "Proposal", level: Level) -> Update:
        known = self.levels[proposal.number]
        index = level[0].level
        told = {record.seed for record in known[index]} if index < len(known) else set()
        new = Level(record for record in level if record.seed not in told)  # told again, a level may have more seeds
        seeds = len(proposal.recipe.seed_list)
        if new:
            known[index : index + 1] = [level if len(level) < seeds else _without_curves(level)]
        tags = {"lth.diverged": where} if (where := diverged(known)) else {}
        now = int(time() * 1000)
        found = seed_points(new, accuracies(known), now) if seeds > 1 else []
        if new and len(level) == seeds:
            found += mean_points(level, accuracies(known), now)
        return self._news(proposal, points=found, tags=tags, data=None if index else proposal.recipe.data)

    def ended(self, proposal: "Proposal", ending: "Ending", outcome: "Outcome", reason: str,
              steps_saved: int) -> Update:  # fmt: skip
        known = self.levels[proposal.number]
        levels = [summary(level, accuracies(known)) for level in known]
        means = []
        if ending != "interrupted":  # some seeds never came to these levels; else they may still come
            part, now = [level for level in known if len(level) < len(proposal.recipe.seed_list)], int(time() * 1000)
            means = [point for level in part for point in mean_points(level, accuracies(known), now)]
            known[:] = map(_without_curves, known)
        found = {name: sum(level[name] for level in levels) for name in COSTS} | most_memory(known)
        found["steps_saved"] = steps_saved
        done = ending in ("finished", "stopped")  # else the outcome may still change, or does not count
        if done and outcome.level is not None and outcome.value is not None:
            self._smallest[proposal.number] = outcome.level
            smallest = levels[outcome.level] if outcome.level < len(levels) else {}
            names = ("density", "params", "flops", "bytes", "accuracy", "difference")
            found |= {f"smallest/{name}": smallest[name] for name in names if name in smallest}
            found |= {"smallest/level": outcome.level, f"smallest/{self._spec.objective.first}": outcome.value}
        tags = {"lth.ending": ending, "lth.reason": reason, "lth.matched": "yes" if "smallest/level" in found else "no"}
        log = self._folder / "logs" / f"{proposal.number:03d}.txt"
        files = {"log.txt": log.read_text(errors="replace")} if ending == "failed" and log.exists() else {}
        if files:
            tags["lth.log"] = str(log)
        words = f"{found['smallest/density']:.2%}" if "smallest/density" in found else "no match"
        return self._news(proposal, points=means, summary=found, tags=tags, files=files, status=STATUS[ending],
                          found=words if done else "")  # fmt: skip

    def verdicts(self, found: "Answer | None") -> list[Update]:
        """The word on each candidate, on its trial's run. `verdict` is of the level that `smallest/*` is of; that of
        another level has the level in its name."""
        tried = found.verification.tried if found and found.verification else ()
        updates = []
        for one in tried:
            tag = "verdict" if one.level == self._smallest.get(one.trial) else f"verdict.level-{one.level:02d}"
            updates.append(Update(one.trial, tags={tag: one.word}, status=None))
        return updates

    def _news(self, proposal: "Proposal", **news: Any) -> Update:
        return Update(proposal.number, run_name(proposal.number, proposal.picks), **news)


def _without_curves(level: Level) -> "Level":
    return Level(replace(record, curve=()) for record in level)
