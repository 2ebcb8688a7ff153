"""The stages on disk: whose they are, how large, when last used, and making room; and what a killed run leaves."""

import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lth_sweep.disk import UNFINISHED
from lth_sweep.orchestration.records import damaged, read
from lth_sweep.remote.mirror import stages_of, sweeps
from lth_sweep.remote.run_folder import RunFolder
from lth_sweep.remote.stages import stages_at
from lth_sweep.search.study import SweepStudy, server_of
from lth_sweep.sweepfile.spec import SweepSpec


@dataclass(frozen=True)
class Run:
    """One training run in the store: the stages of one trajectory."""

    trajectory: str
    bytes: int
    used: float
    """When one of its stages was last written or read, in seconds since the epoch."""
    sweeps: tuple[str, ...] = field(default=())
    """The sweeps in this runs folder whose records name it."""


def runs_in(runs: Path) -> list[Run]:
    """All training runs in runs/stages, the longest unused first."""
    owners = _owners(runs)
    found = [
        Run(name, size, used, tuple(sorted(owners.get(name, ()))))
        for name, (size, used) in stages_at(stages_of(runs)).usage().items()
    ]
    return sorted(found, key=lambda run: (run.used, run.trajectory))


def superfluous(
    found: Iterable[Run], *, older: float | None = None, larger: int | None = None, gone: bool = False
) -> list[Run]:
    """The runs to remove, each for one of these reasons: unused for `older` seconds; the longest unused until the rest
    is no larger than `larger` bytes; with `gone`, those that no sweep's records name."""
    found = list(found)
    now = time.time()
    chosen = [run for run in found if (older is not None and now - run.used > older) or (gone and not run.sweeps)]
    if larger is not None:
        left = sum(run.bytes for run in found) - sum(run.bytes for run in chosen)
        for run in found:
            if left <= larger:
                break
            if run not in chosen:
                chosen.append(run)
                left -= run.bytes
    return chosen


def remove(runs: Path, found: Iterable[Run]) -> tuple[int, int]:
    """Remove these runs but those that are being trained right now; how many went, and how many bytes.

    Safe while a sweep runs: a trial that wants a stage that has just gone trains it again.
    """
    stages = stages_at(stages_of(runs))
    gone = [run for run in found if stages.discard(run.trajectory)]
    return len(gone), sum(run.bytes for run in gone)


def by_sweep(found: Iterable[Run]) -> list[dict[str, Any]]:
    """One row per set of sweeps that share runs, the largest first."""
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in found:
        groups.setdefault(run.sweeps, []).append(run)
    rows = [
        {
            "sweeps": list(sweeps),
            "training_runs": len(group),
            "bytes": sum(run.bytes for run in group),
            "last_used": max(run.used for run in group),
        }
        for sweeps, group in groups.items()
    ]
    return sorted(rows, key=lambda row: -row["bytes"])


def _owners(runs: Path) -> dict[str, set[str]]:
    owners: dict[str, set[str]] = {}
    for name in sweeps(runs):
        RunFolder(runs / name).fetch()
        for trial in read(runs / name):
            for level in trial.levels:
                for record in level:
                    owners.setdefault(record.place[0], set()).add(name)
    return owners


def repair(spec: SweepSpec, folder: Path) -> list[str]:
    """Put right what a killed run has left in runs/NAME, where nobody is running the sweep, and say what was done."""
    run, done = RunFolder(folder), []
    if run.study.exists() or server_of(spec):
        study = SweepStudy(spec, run.study, [trial.picks for trial in read(folder)])
        released = study.release()
        study.close()
        if released:
            done.append(f"Optuna had trials {', '.join(map(str, released))} RUNNING; they wait to be gone on with")
    left = [path for path in folder.iterdir() if UNFINISHED.fullmatch(path.name)]
    for path in left:
        path.unlink()
    if run.tune.exists():
        shutil.rmtree(run.tune)
        left.append(run.tune)
    if left:
        done.append(f"removed {len(left)} files or folders that were not finished")
    if unfinished := stages_at(run.stages).tidy():
        done.append(f"removed {unfinished} stages that were not finished")
    if torn := damaged(folder):
        done.append(
            f"records/{', '.join(torn)} are damaged; the next run sets them aside and runs again what they lack"
        )
    return done
