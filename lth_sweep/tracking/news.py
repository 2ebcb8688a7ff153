"""What MLflow is told of a sweep and of each of its trials."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import time
from typing import Any

from lth_sweep.lottery.recipe.trial import trial_digest
from lth_sweep.lottery.records import Level
from lth_sweep.remote.run_folder import RunFolder
from lth_sweep.search.answer import Answer
from lth_sweep.search.objective import as_number, in_words, none_matches
from lth_sweep.search.trial import Ending, Outcome, Proposal
from lth_sweep.sweepfile.axis import Axis, Between
from lth_sweep.sweepfile.spec import SweepSpec
from lth_sweep.tracking.metrics import COSTS, diverged, mean_samples, most_memory, seed_samples, summary
from lth_sweep.tracking.recipe import key, params, renamed, run_name, show
from lth_sweep.tracking.update import LoggedRun, Status, Update

STATUS: dict[str, Status] = {"finished": "FINISHED", "stopped": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}


class News:
    """What happens to the sweep in `folder` and to its trials, as updates of their runs."""

    def __init__(self, spec: SweepSpec, folder: Path) -> None:
        self._spec, self._folder, self._metric = spec, RunFolder(folder), spec.objective.metric
        self.levels: dict[int, list[Level]] = {}
        """By trial; curves are kept of levels that lack seeds alone."""
        self._smallest: dict[int, int] = {}
        """The level that `smallest/*` is of, by trial."""

    def introduction(self) -> Update:
        """What the sweep searches for, over what, and how."""
        spec = self._spec
        found = {"minimize": ", ".join(spec.objective.sizes), "match.metric": self._metric.name,
                 "match.margin": show(spec.objective.match.margin), "search.sampler": spec.search.sampler.kind,
                 "search.trials": show(spec.search.trials), "search.seed": show(spec.search.seed),
                 "stop.patience": show(spec.stop.patience)}  # fmt: skip
        found |= {f"space.{axis.path}": _range(axis) for axis in spec.space}
        return self.of_sweep(params=found, files={"sweep.yaml": spec.text} if spec.text else {},
                             tags=self._note("The sweep is running.") | {"lth.ending": "running"})  # fmt: skip

    def recorded(self, proposal: Proposal, levels: Sequence[Level], ending: Ending, outcome: Outcome, reason: str,
                 steps_saved: int) -> Update:  # fmt: skip
        """All that a trial's run is to have."""
        self.levels[proposal.number] = []
        whole = self.started(proposal)
        for level in levels:
            whole = whole.merged(self.level(proposal, level))
        return replace(whole.merged(self.ended(proposal, ending, outcome, reason, steps_saved)), whole=True)

    def started(self, proposal: Proposal) -> Update:
        self.levels.setdefault(proposal.number, [])
        tags = {"lth.ending": "running", "lth.reason": "", "lth.recipe": trial_digest(proposal.recipe)}
        return self._of_trial(proposal, params=params(proposal.recipe, proposal.picks), tags=tags)

    def waits(self, proposal: Proposal) -> Update:
        return self._of_trial(proposal, tags={"lth.ending": "waiting"})

    def level(self, proposal: Proposal, level: Level) -> Update:
        known, seeds = self.levels[proposal.number], len(proposal.recipe.seed_list)
        told = known[level.number].seeds if level.number < len(known) else ()
        new = Level(record for record in level if record.seed not in told)  # told again, a level may have more seeds
        if new:
            known[level.number : level.number + 1] = [level if len(level) < seeds else _without_curves(level)]
        tags = {"lth.diverged": where} if (where := diverged(known)) else {}
        dense, now = self._dense(proposal), int(time() * 1000)
        found = seed_samples(new, dense, self._metric.name, now) if seeds > 1 else []
        if new and len(level) == seeds:
            found += mean_samples(level, dense, self._metric.name, now)
        return self._of_trial(proposal, samples=found, tags=tags, data=None if level.number else proposal.recipe.data)

    def ended(self, proposal: Proposal, ending: Ending, outcome: Outcome, reason: str, steps_saved: int) -> Update:
        known, dense, metric = self.levels[proposal.number], self._dense(proposal), self._metric.name
        levels = [summary(level, dense, metric) for level in known]
        means = []
        if ending != "interrupted":  # some seeds never came to these levels; else they may still come
            part, now = [level for level in known if len(level) < len(proposal.recipe.seed_list)], int(time() * 1000)
            means = [sample for level in part for sample in mean_samples(level, dense, metric, now)]
            known[:] = map(_without_curves, known)
        found = {name: sum(level[name] for level in levels) for name in COSTS} | most_memory(known)
        found["steps_saved"] = steps_saved
        done = ending in ("finished", "stopped")  # else the outcome may still change, or does not count
        if done and outcome.level is not None and outcome.value is not None:
            self._smallest[proposal.number] = outcome.level
            smallest = levels[outcome.level] if outcome.level < len(levels) else {}
            names = ("density", "params", "flops", "bytes", metric, "difference")
            found |= {f"smallest/{name}": smallest[name] for name in names if name in smallest}
            found |= {"smallest/level": outcome.level, f"smallest/{self._spec.objective.first}": outcome.value}
        tags = {"lth.ending": ending, "lth.reason": reason, "lth.matched": "yes" if "smallest/level" in found else "no"}
        log, files = self._folder.log(proposal.number), {}
        if ending == "failed" and log.exists():
            files, tags["lth.log"] = {"log.txt": log.read_text(errors="replace")}, str(log)
        words = f"{found['smallest/density']:.2%}" if "smallest/density" in found else "no match"
        return self._of_trial(proposal, samples=means, summary=found, tags=tags, files=files, status=STATUS[ending],
                              found=words if done else "")  # fmt: skip

    def answered(self, found: Answer | None) -> list[Update]:
        """The word on each candidate, on its trial's run: `verdict` is of the level that `smallest/*` is of, that of
        another level has the level in its name. And on the sweep's own run the network, its trial, level and recipe, or
        that no trial matched; where it was verified the verdict, and the numbers behind it."""
        if found is None:
            none = f"none: no {none_matches(self._spec.objective)}"
            return [self.of_sweep(tags={"best": none, **self._note(f"Smallest matching network: {none}")})]
        name, ticket = run_name(found.trial, found.picks), found.ticket
        words = f"{renamed(name, name, f'{ticket.density:.2%}')}: {in_words(found.size, found.minimize)}, "
        words += f"{found.metric} {as_number(ticket.metrics[found.metric], self._metric)}"
        best = {"best": words, "best.trial": str(found.trial), "best.level": str(ticket.level)}
        recipe = params(self._spec.recipe(found.picks), found.picks)
        best |= {key(f"best.{path}"): value for path, value in recipe.items()}
        if (verified := found.verification) is None:
            return [self.of_sweep(tags=best | self._note(f"Smallest matching network: {words}"))]
        verdict, updates = verified.verdict, []
        for one in verified.tried:
            tag = "verdict" if one.level == self._smallest.get(one.trial) else f"verdict.level-{one.level:02d}"
            updates.append(Update(one.trial, tags={tag: one.word}, status=None))
        best |= {"verdict": verdict.word, "verdict.sentence": verdict.sentence, "verdict.trial": str(found.trial)}
        numbers = {found.metric: verified.ticket.mean, f"{found.metric}_dense": verified.dense.mean,
                   "difference": verdict.difference, "difference_lower": verdict.lower,
                   "difference_upper": verdict.upper}  # fmt: skip
        tested = {f"test/{name}": value for name, value in numbers.items() if not math.isnan(value)}
        note = self._note(f"{verdict.sentence}\n\nThe ticket: {words}")
        return [*updates, self.of_sweep(tags=best | note, summary=tested)]

    def of_sweep(self, **news: Any) -> Update:
        return Update(None, self._spec.name, **news)

    def _of_trial(self, proposal: Proposal, **news: Any) -> Update:
        return Update(proposal.number, run_name(proposal.number, proposal.picks), **news)

    def _dense(self, proposal: Proposal) -> Level:
        return next(iter(self.levels[proposal.number]), Level())

    def _note(self, words: str) -> dict[str, str]:
        """The description of the sweep's own run, in Markdown."""
        text = self._spec.text
        return {"mlflow.note.content": words + (f"\n\nThe sweep file:\n```yaml\n{text}\n```" if text else "")}


def totals(trials: Mapping[int, LoggedRun]) -> dict[str, float]:
    """With those that are 0, which may have been another number when the sweep was interrupted."""
    endings = Counter(run.tags.get("lth.ending", "running") for run in trials.values())
    found = {"trials": len(trials), **{f"trials_{ending}": endings[ending] for ending in {*STATUS, *endings}}}
    found["trials_matching"] = sum(run.tags.get("lth.matched") == "yes" for run in trials.values())
    costs = {name: sum(run.metrics.get(name, 0.0) for run in trials.values()) for name in (*COSTS, "steps_saved")}
    return {name: float(value) for name, value in {**found, **costs}.items()}


def _range(axis: Axis) -> str:
    domain = axis.domain
    if isinstance(domain, Between):
        text = f"{show(domain.low)} to {show(domain.high)}{' ' + domain.unit if domain.unit else ''}"
        text += ", log" * domain.log
    else:
        text = " | ".join(domain.options)
    conditions = [f"{path} = {' or '.join(labels)}" for path, labels in axis.when.items()]
    return text + (f", where {' and '.join(conditions)}" if conditions else "")


def _without_curves(level: Level) -> Level:
    return Level(replace(record, curve=()) for record in level)
