"""Running a sweep, or going on with one."""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from lth_sweep.disk import StorageAway
from lth_sweep.lottery.recipe.forecast import smallest
from lth_sweep.orchestration import preflight
from lth_sweep.orchestration.driver import Driver
from lth_sweep.orchestration.evidence import is_verified
from lth_sweep.orchestration.executor import Executor, executor
from lth_sweep.orchestration.interruption import Interruption
from lth_sweep.orchestration.records import best, read
from lth_sweep.orchestration.verification import verify
from lth_sweep.orchestration.work import LOOP, Work
from lth_sweep.remote.mirror import runs_folder
from lth_sweep.remote.run_folder import RunFolder
from lth_sweep.search.listener import Listener
from lth_sweep.search.trial import TrialRecord
from lth_sweep.sweepfile.load import imports_from
from lth_sweep.sweepfile.spec import SweepSpec


@dataclass(frozen=True)
class SweepResult:
    """How a sweep stands after `run_sweep`."""

    name: str
    folder: Path
    ending: Literal["finished", "interrupted"]
    best: TrialRecord | None
    """The trial with the smallest matching network, with its levels; None if no level of any trial matches."""
    counts: dict[str, int]
    """Trials by ending, of all runs of this sweep."""
    steps_trained: int
    """In this run, as is `steps_reused`."""
    steps_reused: int
    steps_saved: int
    """By the rules in `stop`, in all runs of this sweep: what was not run would have taken about so many steps."""
    spent: Literal["", "steps", "hours"] = ""
    """The budget that was used up before all trials had ended."""


def to_stderr(message: str) -> None:
    print(message, file=sys.stderr)


def run_sweep(
    spec: SweepSpec,
    runs: Path | str,
    *,
    serial: bool = False,
    ray_address: str | None = None,
    trials: int | None = None,
    steps: int | None = None,
    hours: float | None = None,
    listeners: Sequence[Listener] = (),
    work: str = LOOP,
    say: Callable[[str], None] = to_stderr,
    at_second_signal: Callable[[], None] = lambda: None,
    until: Callable[[TrialRecord], bool] | None = None,
) -> SweepResult:
    """Run the sweep in `runs`/NAME until it has all its trials; where it was begun before, go on with it. `runs` is a
    folder or s3://BUCKET/PREFIX.

    Then the best candidates are verified, see `verification`; not once `hours` are over, of which the next run has as
    many again, but after the last of the `steps`. Trials that have ended are never run again, but those that have since
    been given more seeds or levels go on with these. `trials` overrides the number in the file.
    `serial` runs them one by one in this process, without Ray; `ray_address` joins a cluster instead of starting one
    here. `work` is what yields a trial's levels, as "module:function"; it is called like `lottery.loop.run`, and what
    another one than that yields is not in the stages, and so never verified. `say` is told what has changed in the file
    since the sweep was begun, what may go wrong, and which candidate could not be verified. Once a trial has ended of
    which `until` holds, no other is started.

    SIGINT and SIGTERM end it with the result "interrupted"; a second one is not waited for, and `at_second_signal` may
    end the process: the next run puts right what that leaves. Raises ConfigError where the sweep was begun as another
    one (see `extension`), where another process is running it, and where the machine or the cluster is not fit for
    it (see `preflight`) or has too little.
    """
    budgets = {"trials": trials, "steps": steps, "hours": hours}
    given: dict[str, Any] = {name: budget for name, budget in budgets.items() if budget is not None}
    spec = replace(spec, search=replace(spec.search, **given))
    runs = runs_folder(runs)
    folder = RunFolder(runs / spec.name)
    _check(spec, runs, serial, ray_address, work, say)
    ending: Literal["finished", "failed", "interrupted"] = "failed"
    with Interruption(at_second_signal) as interruption, folder.exclusive(), imports_from(spec.import_folder):
        bound = smallest if work == LOOP else lambda trial, size: 0.0  # another need not keep to the counts
        driver = Driver(spec, folder.path, listeners, bound, say=say, until=until)
        folder.push()
        job = Work(spec, folder.stages, work)
        try:
            if driver.has_more or not _is_verified(driver, job):
                with executor(serial, ray_address, spec.resources, interruption) as place:
                    if ray_address and not serial:
                        nodes = preflight.on_cluster(runs, imports=spec.import_folder)
                        preflight.demand(preflight.compare(nodes, spec.resources))
                    _work(driver, place.sharing(job), place, interruption, say)
            ending = "finished"
        except KeyboardInterrupt:
            ending = "interrupted"
        except StorageAway:
            if not interruption.wanted:
                raise
            ending = "interrupted"
        finally:
            driver.close(ending)
    return _result(driver, ending)


def _result(driver: Driver, ending: Literal["finished", "interrupted"]) -> SweepResult:
    trials = read(driver.folder)
    counts: Counter[str] = Counter(trial.ending or "interrupted" for trial in trials)
    return SweepResult(
        driver.spec.name,
        driver.folder,
        ending,
        best(trials),
        dict(counts),
        driver.steps_trained,
        driver.steps_reused,
        sum(trial.steps_saved for trial in trials),
        driver.spent if driver.has_untried or counts["interrupted"] else "",
    )


def _check(
    spec: SweepSpec, runs: Path, serial: bool, address: str | None, work: str, say: Callable[[str], None]
) -> None:
    """What is quick to check of this machine; `lth-sweep doctor` looks closer."""
    elsewhere = not serial and (address is not None or preflight.is_joined())
    preflight.demand(preflight.compare(preflight.here(runs), None if elsewhere else spec.resources))
    left = spec.search.trials - len(read(runs / spec.name))
    if work == LOOP and left > 0:
        preflight.demand([preflight.disk(spec, runs, 1)])
        if not (room := preflight.disk(spec, runs, left)).ok:
            say(f"the disk may become full: {room.text}")


def _work(driver: Driver, job: Work, place: Executor, interruption: Interruption, say: Callable[[str], None]) -> None:
    if driver.has_more:
        place.search(driver, job)
    if not _is_verified(driver, job):
        with interruption.at_once():
            verify(job, driver.folder, place, driver.listeners, say=say, is_over=lambda: driver.is_over_time)


def _is_verified(driver: Driver, job: Work) -> bool:
    return job.run != LOOP or is_verified(job.spec, driver.folder)
