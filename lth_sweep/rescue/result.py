"""What a rescue has found: what became of each remedy, by the records of its two sweeps, and the answer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from lth_sweep.lottery.recipe.forecast import CLOSE
from lth_sweep.lottery.records import Level
from lth_sweep.remote.run_folder import RunFolder
from lth_sweep.rescue import sweep_files
from lth_sweep.rescue.effects import ERROR, Effect, effect, is_match, mean
from lth_sweep.rescue.examine import Examination
from lth_sweep.rescue.findings import Finding
from lth_sweep.rescue.patient import Patient
from lth_sweep.rescue.remedies import Remedy
from lth_sweep.search.trial import TrialRecord


@dataclass(frozen=True)
class Row:
    """One remedy, or several together, and what it has changed."""

    remedy: Remedy
    first: Effect | None = None
    """On the patient's seeds."""
    fresh: Effect | None = None
    """On fresh seeds, where it was looked at again."""
    trial: int | None = None
    """Of the rescue's first sweep; None for combinations and for what was not tried."""
    steps_trained: int = 0
    steps_reused: int = 0
    reason: str = ""
    """Why there is no effect."""

    @property
    def effect(self) -> Effect | None:
        """On fresh seeds, where there is one: those are not the seeds that it was chosen on."""
        return self.fresh or self.first

    @property
    def tried(self) -> bool:
        return self.effect is not None or bool(self.reason)

    @property
    def word(self) -> str:
        if self.effect:
            return self.effect.word
        return "failed" if self.reason else "not tried"

    @property
    def matches(self) -> bool:
        return self.effect is not None and self.effect.matches

    def to_json(self) -> dict[str, Any]:
        return {
            "remedy": self.remedy.name,
            "words": self.remedy.words,
            "why": self.remedy.why,
            "change": dict(self.remedy.change),
            "verdict": self.word,
            "matches": self.matches,
            "first": self.first and self.first.to_json(),
            "fresh": self.fresh and self.fresh.to_json(),
            **{name: getattr(self, name) for name in ("trial", "steps_trained", "steps_reused", "reason")},
        }


@dataclass(frozen=True)
class Rescue:
    """The answer to: the ticket is poor, what next?"""

    patient: Patient
    folder: Path
    """runs/NAME of the rescue."""
    seen: Examination
    findings: Sequence[Finding] = ()
    rows: Sequence[Row] = ()
    """In the order tried; combinations last."""
    ending: Literal["finished", "interrupted"] = "finished"
    spent: str = ""
    """The budget that was used up: steps or hours."""
    steps_trained: int = 0
    """In this run, the examination included, as is `steps_reused` of the remedies."""
    steps_reused: int = 0

    @property
    def matches(self) -> bool:
        """Whether the patient matches: then nothing is wrong, and nothing was tried."""
        return self.seen.matches

    @property
    def best(self) -> Row | None:
        """The row to recommend: one that matches before others, and the largest gain, on fresh seeds where known. None
        where nothing is better than the patient."""
        better = [row for row in self.rows if row.effect and row.effect.to_patient.mean > 0]
        return max(better, key=_rank, default=None)

    @property
    def recipe(self) -> Path:
        """The file with the recipe that is recommended."""
        return RunFolder(self.folder).rescue_recipe

    def to_json(self) -> dict[str, Any]:
        """The keys are documented in docs/rescue.md."""
        seen, patient = self.seen, self.patient
        return {
            "name": patient.name,
            "sweep": patient.spec.name,
            **{name: getattr(patient, name) for name in ("trial", "level", "density")},
            "seeds": list(seen.dense.seeds),
            "margin": seen.margin,
            seen.metric.name: {"dense": mean(seen.dense, seen.metric), "ticket": mean(seen.ticket, seen.metric)},
            "difference": seen.difference.to_json(),
            "matches": self.matches,
            "findings": [finding.to_json() for finding in self.findings],
            "remedies": [row.to_json() for row in self.rows],
            "relu": [[one.to_json() for one in layers] for layers in seen.silences],
            "error": ERROR,
            "best": self.best.remedy.name if self.best else None,
            "recipe": str(self.recipe) if self.best else None,
            "steps_examination": seen.steps,
            **{name: getattr(self, name) for name in ("steps_trained", "steps_reused", "ending", "spent")},
        }


def _rank(row: Row) -> tuple[bool, bool, float]:
    assert row.effect
    return row.matches, row.fresh is not None, row.effect.to_patient.mean


@dataclass(frozen=True)
class Judge:
    """Compares trials with the patient, at its density."""

    patient: Patient
    seen: Examination

    def ticket(self, trial: TrialRecord) -> Level | None:
        """The pruned level, trained to its end, whose density is nearest, by ratio; None where the ladder did not come
        down to the density."""
        wanted = self.patient.density
        pruned = [level for level in trial.levels[1:] if level.finished and all(record.density > 0 for record in level)]
        found = min(pruned, key=lambda level: abs(math.log(level.density / wanted)), default=None)
        return found if found and found.density <= wanted * CLOSE else None

    def is_match(self, trial: TrialRecord, dense: Level) -> bool:
        ticket = self.ticket(trial)
        return ticket is not None and is_match(ticket, trial.levels[0], dense, self.patient.spec.objective)

    def first(self, tried: Sequence[Remedy], trials: Sequence[TrialRecord]) -> list[Row]:
        """A row for each remedy, by its trial on the patient's seeds, where there is one."""
        known = {trial.picks["remedy"]: trial for trial in trials}
        rows = []
        for remedy in tried:
            if trial := known.get(remedy.name):
                found = self._effect(trial, self.seen.ticket, self.seen.dense, len(tried), fresh=False)
                rows.append(_row(remedy, trial, first=found))
            else:
                rows.append(Row(remedy))
        return rows

    def with_fresh(self, rows: Sequence[Row], chosen: Sequence[Remedy], trials: Sequence[TrialRecord]) -> list[Row]:
        """The rows with what fresh seeds say about them, and rows for the combinations."""
        if not trials or not trials[0].answers:
            return list(rows)
        patient, *others = trials
        dense, ticket = patient.levels[0], self.ticket(patient) or patient.levels[-1]
        most = sweep_files.TRIALS[len(chosen)] - 1
        result = {row.remedy.name: row for row in rows}
        for trial in others:
            on = [remedy for remedy in chosen if trial.picks[remedy.name] == sweep_files.ON]
            found = self._effect(trial, ticket, dense, most, fresh=True)
            if len(on) == 1:
                row = result[on[0].name]
                trained, reused = row.steps_trained + trial.steps_trained, row.steps_reused + trial.steps_reused
                if row.fresh is None:
                    result[on[0].name] = replace(row, fresh=found, steps_trained=trained, steps_reused=reused)
            elif on:
                several = _together(on)
                result.setdefault(several.name, _row(several, trial, fresh=found))
        return list(result.values())

    def _effect(self, trial: TrialRecord, patient: Level, dense: Level, remedies: int, *, fresh: bool) -> Effect | None:
        ticket = self.ticket(trial)
        if ticket is None or not trial.answers or len(ticket) < len(dense):
            return None
        objective, examples = self.patient.spec.objective, self.seen.examples
        return effect(ticket, trial.levels[0], patient, dense, objective, examples, remedies=remedies, fresh=fresh)


def _together(remedies: Sequence[Remedy]) -> Remedy:
    causes = tuple(dict.fromkeys(cause for remedy in remedies for cause in remedy.causes))
    return Remedy(" + ".join(one.name for one in remedies), " and ".join(one.words for one in remedies),
                  sweep_files.merged(remedies), causes, "each was better than the patient alone")  # fmt: skip


def _row(remedy: Remedy, trial: TrialRecord, **effects: Effect | None) -> Row:
    reason = ""
    if not any(effects.values()):
        reason = trial.reason or ("it did not come down to the density" if trial.answers else "interrupted")
    number = trial.number if "first" in effects else None
    return Row(remedy, trial=number, steps_trained=trial.steps_trained, steps_reused=trial.steps_reused,
               reason=reason, **effects)  # fmt: skip
