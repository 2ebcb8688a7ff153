"""What a rescue has found."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lth_sweep.disk import write_whole
from lth_sweep.lottery.common.identity import plain
from lth_sweep.rescue.effects import ERROR, Effect, mean
from lth_sweep.rescue.examine import Examination
from lth_sweep.rescue.findings import Finding
from lth_sweep.rescue.patient import Patient
from lth_sweep.rescue.remedies import Remedy

FILE = "rescue.json"


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
            "trial": self.trial,
            "steps_trained": self.steps_trained,
            "steps_reused": self.steps_reused,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class Rescue:
    """The answer to: the ticket is poor, what next?"""

    patient: Patient
    folder: Path
    """runs/NAME of the rescue."""
    seen: Examination
    matches: bool
    """Whether the patient matches: then nothing is wrong, and nothing was tried."""
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
    def best(self) -> Row | None:
        """The row to recommend: one that matches before others, and the largest gain, on fresh seeds where known. None
        where nothing is better than the patient."""
        better = [row for row in self.rows if row.effect and row.effect.to_patient.mean > 0]
        return max(better, key=_rank, default=None)

    @property
    def recipe(self) -> Path:
        """The file with the recipe that is recommended."""
        return self.folder / "recipe.yaml"

    def to_json(self) -> dict[str, Any]:
        """The keys are documented in docs/rescue.md."""
        seen, spec = self.seen, self.patient.spec
        return {
            "name": self.patient.name,
            "sweep": spec.name,
            "trial": self.patient.trial,
            "level": self.patient.level,
            "density": self.patient.density,
            "seeds": [record.seed for record in seen.dense],
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
            "steps_trained": self.steps_trained,
            "steps_reused": self.steps_reused,
            "ending": self.ending,
            "spent": self.spent,
        }

    def save(self) -> None:
        """Write FILE into the folder, whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self.folder / FILE, json.dumps(plain(self.to_json()), indent=1, allow_nan=False) + "\n")


def _rank(row: Row) -> tuple[bool, bool, float]:
    assert row.effect
    return row.matches, row.fresh is not None, row.effect.to_patient.mean
