"""The records of a sweep: one JSON-lines file per trial, the truth from which Optuna and MLflow can be rebuilt.

    runs/NAME/sweep.yaml            the sweep file, word for word
    runs/NAME/records/007.jsonl     {"number": 7, "picks": ...}, then {"level": [...]} per level, then {"ending": ...}
    runs/NAME/logs/007.txt          tracebacks of failed attempts
    runs/NAME/levels.parquet        one row per trial, seed and level

A line is appended and flushed when its level is done. A trial without an ending was interrupted and will go on.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lth_sweep.lottery.records import Level, LevelRecord
from lth_sweep.search.events import Ending, Outcome
from lth_sweep.spec.sweep import Pick

if TYPE_CHECKING:
    import pandas as pd

NOTHING = Outcome(value=None, violation=None, level=None)


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
    """Why it was stopped or failed."""

    @property
    def steps_trained(self) -> int:
        return sum(record.steps_trained for level in self.levels for record in level)

    @property
    def steps_reused(self) -> int:
        return sum(record.steps_reused for level in self.levels for record in level)


@dataclass(frozen=True)
class Records:
    """Reads and appends to the record files of one sweep. One process writes, any may read."""

    folder: Path
    """runs/NAME."""

    def path(self, number: int) -> Path:
        return self.folder / "records" / f"{number:03d}.jsonl"

    def start(self, number: int, picks: Mapping[str, Pick]) -> TrialRecord:
        """Begin a trial's file, or go on with the one that is there, without its torn end if it has one."""
        path = self.path(number)
        if path.exists():
            content = path.read_bytes()
            lines = _whole_lines(content)
            os.truncate(path, sum(len(line) for line, _ in lines))
            if lines:
                return _trial([fields for _, fields in lines])
        path.parent.mkdir(parents=True, exist_ok=True)
        self._append(number, {"number": number, "picks": dict(picks)})
        return TrialRecord(number, dict(picks))

    def add_level(self, trial: TrialRecord, level: Level) -> TrialRecord:
        self._append(trial.number, {"level": [record.to_json() for record in level]})
        return replace(trial, levels=(*trial.levels, level))

    def end(self, trial: TrialRecord, ending: Ending, outcome: Outcome, reason: str) -> TrialRecord:
        self._append(trial.number, {"ending": ending, "outcome": vars(outcome), "reason": reason})
        return replace(trial, ending=ending, outcome=outcome, reason=reason)

    def log(self, number: int, text: str) -> None:
        """Keep the traceback of a failed attempt."""
        path = self.folder / "logs" / f"{number:03d}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(text.rstrip() + "\n\n")

    def _append(self, number: int, fields: Mapping[str, Any]) -> None:
        with self.path(number).open("a") as file:
            file.write(json.dumps(fields, separators=(",", ":")) + "\n")


def read(folder: Path) -> list[TrialRecord]:
    """All trials of the sweep in runs/NAME, by number, also while it is running."""
    found = [_whole_lines(path.read_bytes()) for path in sorted((folder / "records").glob("*.jsonl"))]
    return sorted((_trial([fields for _, fields in lines]) for lines in found if lines), key=lambda trial: trial.number)


def best(trials: Iterable[TrialRecord]) -> TrialRecord | None:
    """The trial with the smallest matching size, the first of equals; failed ones do not count."""
    judged = [trial for trial in trials if trial.outcome.value is not None and trial.ending in ("finished", "stopped")]
    return min(judged, key=lambda trial: (trial.outcome.value, trial.number), default=None)


def levels_frame(trials: Iterable[TrialRecord]) -> "pd.DataFrame":
    """One row per trial, seed and level: picks by their path, sizes and metrics by their names."""
    import pandas as pd

    rows = [
        {
            "trial": trial.number,
            "ending": trial.ending or "interrupted",
            **trial.picks,
            "level": record.level,
            "seed": record.seed,
            "density": record.density,
            **record.sizes,
            **record.metrics,
            "steps_trained": record.steps_trained,
            "steps_reused": record.steps_reused,
            "seconds": record.seconds,
            "stage": record.stage,
        }
        for trial in trials
        for level in trial.levels
        for record in level
    ]
    return pd.DataFrame(rows)


def write_table(folder: Path) -> None:
    """Write levels.parquet, whole or not at all."""
    path = folder / "levels.parquet"
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    levels_frame(read(folder)).to_parquet(unfinished, index=False)
    unfinished.replace(path)


def _whole_lines(content: bytes) -> list[tuple[bytes, dict[str, Any]]]:
    """The lines up to the first that is torn or damaged, and what they say."""
    lines = []
    for line in content.splitlines(keepends=True):
        try:
            fields = json.loads(line)
        except ValueError:
            break
        if not line.endswith(b"\n") or not isinstance(fields, dict):
            break
        lines.append((line, fields))
    return lines


def _trial(lines: list[dict[str, Any]]) -> TrialRecord:
    trial = TrialRecord(lines[0]["number"], lines[0]["picks"])
    levels = tuple(
        tuple(LevelRecord.from_json(fields) for fields in line["level"]) for line in lines[1:] if "level" in line
    )
    end = next((line for line in lines[1:] if "ending" in line), None)
    if end is None:
        return replace(trial, levels=levels)
    return replace(trial, levels=levels, ending=end["ending"], outcome=Outcome(**end["outcome"]), reason=end["reason"])
