"""The records of a sweep: one JSON-lines file per trial, the truth from which Optuna and MLflow can be rebuilt.

    {"version": 1, "lth_sweep": "0.1.0", "number": 7, "picks": ...}     who wrote it, and the trial
    {"level": [...]}                 per level; again, where seeds were added to it
    {"fault": why}                   per failed attempt
    {"ending": ..., ...}
    {"reopened": true}               where it then went on with more seeds or levels

In each line "at" is when it was written, in seconds since the epoch, and "sum" the CRC-32 of all before it. A line is
appended and flushed, and sent where the folder is a mirror, when its level is done. A trial without an ending was
interrupted and will go on. Of a damaged file the lines before the damage count. Files without a version are read as of
version 1, which they are but for that.
"""

import json
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from lth_sweep.disk import set_aside, write_whole
from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.records import Level, LevelRecord
from lth_sweep.remote.run_folder import RunFolder
from lth_sweep.search.frames import levels_frame, trials_frame
from lth_sweep.search.trial import NOTHING, Ending, Outcome, Span, TrialRecord
from lth_sweep.sweepfile.axis import Pick
from lth_sweep.sweepfile.spec import Objective
from lth_sweep.versions import version

VERSION = 1
"""Of the files; another one where what this package reads in them would be something else."""
SUM = ',"sum":"'


@dataclass(frozen=True)
class Records:
    """Reads and appends to the record files of one sweep. One process writes, any may read."""

    path: Path
    """runs/NAME."""

    @property
    def folder(self) -> RunFolder:
        return RunFolder(self.path)

    def start(self, number: int, picks: Mapping[str, Pick]) -> TrialRecord:
        """Begin a trial's file, or go on with the one that is there, without its torn or damaged end. A trial that had
        ended has then not."""
        path = self.folder.record(number)
        if path.exists():
            content = path.read_bytes()
            lines = _whole_lines(content)
            trial = _trial(path, lines) if lines else None
            whole = b"".join(line for line, _ in lines)
            if b"\n" in content[len(whole) :]:
                set_aside(path, self.folder.damaged)
            if whole != content:
                write_whole(path, whole)
            if trial and trial.ending is None:
                return trial
            if trial:
                self._append(number, {"reopened": True})
                return TrialRecord(trial.number, trial.picks, trial.levels, spans=trial.spans)
        path.parent.mkdir(parents=True, exist_ok=True)
        about = {"version": VERSION, "lth_sweep": version("lth-sweep")}
        self._append(number, {**about, "number": number, "picks": dict(picks)})
        return TrialRecord(number, dict(picks))

    def put_level(self, trial: TrialRecord, level: Level) -> TrialRecord:
        """The trial's next level, or one that it has, with more seeds."""
        self._append(trial.number, {"level": [record.to_json() for record in level]})
        levels = (*trial.levels[: level.number], level, *trial.levels[level.number + 1 :])
        return replace(trial, levels=levels, faults=0, reason="", outcome=NOTHING)

    def fault(self, trial: TrialRecord, reason: str) -> TrialRecord:
        """One more attempt has failed."""
        self._append(trial.number, {"fault": reason})
        return replace(trial, faults=trial.faults + 1, reason=reason)

    def wait(self, trial: TrialRecord, outcome: Outcome) -> TrialRecord:
        """It has not ended: what it is worth is known by its first seed, until a level has more."""
        self._append(trial.number, {"ending": None, "outcome": vars(outcome)})
        return replace(trial, outcome=outcome)

    def end(
        self, trial: TrialRecord, recipe: str, ending: Ending, outcome: Outcome, reason: str, saved: int = 0
    ) -> TrialRecord:
        """`recipe` stands for that which it has ended with, see `trial_digest`."""
        fields = {"ending": ending, "outcome": vars(outcome), "reason": reason, "steps_saved": saved, "recipe": recipe}
        self._append(trial.number, fields)
        return replace(trial, ending=ending, outcome=outcome, reason=reason, steps_saved=saved, recipe=recipe)

    def log(self, number: int, text: str) -> None:
        """Keep the traceback of a failed attempt."""
        path = self.folder.log(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(text.rstrip() + "\n\n")
        self.folder.keep(path)

    def _append(self, number: int, fields: Mapping[str, Any]) -> None:
        text = json.dumps({**fields, "at": round(time.time(), 3)}, separators=(",", ":"))[:-1]
        path = self.folder.record(number)
        with path.open("a") as file:
            file.write(f'{text}{SUM}{zlib.crc32(text.encode()):08x}"}}\n')
        self.folder.keep(path)


def read_one(folder: Path, number: int) -> TrialRecord:
    path = RunFolder(folder).record(number)
    return _trial(path, _whole_lines(path.read_bytes()))


def read(folder: Path) -> list[TrialRecord]:
    """All trials of the sweep in runs/NAME, by number, also while it is running. Raises ConfigError where another
    version of this package has written what this one cannot read."""
    found = ((path, _whole_lines(path.read_bytes())) for path in RunFolder(folder).record_files())
    return sorted((_trial(path, lines) for path, lines in found if lines), key=lambda trial: trial.number)


def ranked(trials: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Trials with a level that matches, by that level's size, the first of equals first; failed ones do not count, and
    those that still wait with their other seeds come after all that do not."""
    judged = [trial for trial in trials if trial.outcome.value is not None and trial.ending != "failed"]
    return sorted(judged, key=lambda trial: (not trial.answers, trial.outcome.value, trial.number))


def best(trials: Iterable[TrialRecord]) -> TrialRecord | None:
    """The trial with the smallest matching size."""
    return next(iter(ranked(trials)), None)


def write_tables(folder: Path, trials: Sequence[TrialRecord], objective: Objective) -> None:
    """Write levels.parquet and trials.parquet, each whole or not at all."""
    run = RunFolder(folder)
    write_whole(run.levels, levels_frame(trials, objective).to_parquet(index=False))
    write_whole(run.trials, trials_frame(trials, objective).to_parquet(index=False))


def damaged(folder: Path) -> list[str]:
    """The names of the trials' files that do not agree with their sums. A last line that is cut short is no damage: it
    is being written, or was when the process died."""
    found = []
    for path in RunFolder(folder).record_files():
        content = path.read_bytes()
        if b"\n" in content[sum(len(line) for line, _ in _whole_lines(content)) :]:
            found.append(path.name)
    return found


Lines = list[tuple[bytes, dict[str, Any]]]


def _whole_lines(content: bytes) -> Lines:
    """The lines up to the first that is torn or damaged, and what they say."""
    lines = []
    for line in content.splitlines(keepends=True):
        text, _, end = line.rpartition(SUM.encode())
        if end != f'{zlib.crc32(text):08x}"}}\n'.encode():
            break
        lines.append((line, json.loads(text + b"}")))
    return lines


def _trial(path: Path, whole: Lines) -> TrialRecord:
    lines = [fields for _, fields in whole]
    try:
        if (found := lines[0].get("version", VERSION)) != VERSION:
            raise ConfigError(f"its version is {found}, and what is read here is version {VERSION}")
        return _told(lines)
    except ConfigError as error:
        writer = lines[0].get("lth_sweep", "of another version")
        raise ConfigError(
            f"{path} was written by lth_sweep {writer}, and this is lth_sweep {version('lth-sweep')}: {error}; use "
            "that version, or a later one, to read it or to go on with the sweep"
        ) from error


def _told(lines: list[dict[str, Any]]) -> TrialRecord:
    """What the lines of a file say."""
    trial = TrialRecord(lines[0]["number"], lines[0]["picks"])
    written = [line for line in lines[1:] if "level" in line]
    found = [Level(LevelRecord.from_json(fields) for fields in line["level"]) for line in written]
    levels = tuple({level.number: level for level in found}.values())  # of a level that has grown, the last
    trial = replace(trial, levels=levels, spans=_spans(found, [line.get("at") for line in written]))
    end: dict[str, Any] = next((line for line in reversed(lines) if line.keys() & {"ending", "reopened", "level"}), {})
    if end.get("ending") is None:
        faults = [line["fault"] for line in takewhile(lambda line: "fault" in line, reversed(lines))]
        outcome = Outcome(**end["outcome"]) if "outcome" in end else trial.outcome
        return replace(trial, faults=len(faults), reason=faults[0] if faults else "", outcome=outcome)
    return replace(
        trial,
        ending=end["ending"],
        outcome=Outcome(**end["outcome"]),
        reason=end["reason"],
        steps_saved=end["steps_saved"],
        recipe=end["recipe"],
    )


def _spans(levels: Sequence[Level], written: Sequence[float | None]) -> tuple[Span, ...]:
    """When each was worked on; of those without a time, as older files have them, nothing is known."""
    spans, known = [], set[tuple[int, int]]()
    for level, at in zip(levels, written, strict=True):
        new = [record for record in level if (record.level, record.seed) not in known]
        known |= {(record.level, record.seed) for record in new}
        if at is not None:
            spans.append(Span(level.number, at - sum(record.seconds for record in new), at))
    return tuple(spans)
