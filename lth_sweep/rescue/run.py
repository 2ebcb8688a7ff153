"""A rescue: look at the patient, try remedies one at a time, look once more on fresh seeds, and answer."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lth_sweep.disk import write_whole
from lth_sweep.lottery.common.identity import plain
from lth_sweep.lottery.recipe.trial import MOST_SEEDS
from lth_sweep.orchestration.executor import executor
from lth_sweep.orchestration.records import read
from lth_sweep.orchestration.running import SweepResult, run_sweep
from lth_sweep.remote import mirror
from lth_sweep.remote.run_folder import RunFolder
from lth_sweep.reporting.page import save
from lth_sweep.rescue import sweep_files
from lth_sweep.rescue.examine import examine
from lth_sweep.rescue.findings import findings
from lth_sweep.rescue.page import page
from lth_sweep.rescue.patient import DENSITY, choose
from lth_sweep.rescue.remedies import Remedy, remedies
from lth_sweep.rescue.result import Judge, Rescue, Row
from lth_sweep.search.listener import Listener
from lth_sweep.search.trial import TrialRecord
from lth_sweep.sweepfile.load import imports_from
from lth_sweep.sweepfile.spec import SweepSpec


def rescue(
    spec: SweepSpec,
    runs: Path | str,
    *,
    trial: int | None = None,
    density: float = DENSITY,
    everything: bool = False,
    steps: int | None = None,
    hours: float | None = None,
    serial: bool = False,
    ray_address: str | None = None,
    listeners: Callable[[], Sequence[Listener]] = tuple,
) -> Rescue:
    """Find out what ails a trial of the sweep in `runs`/NAME at a density, or, where it never ran, the base recipe.

    Ends with the first remedy that matches, unless `everything`; or when the budget of training steps, or of hours, is
    used up. Called again it goes on, and trains nothing twice. `listeners` are asked for once for each sweep that is
    run. The test split is never read. Raises ConfigError as `choose` and `run_sweep` do.
    """
    runs = mirror.runs_folder(runs)
    RunFolder(runs / spec.name).fetch()
    patient = choose(spec, read(runs / spec.name), trial, density)
    options = {"serial": serial, "ray_address": ray_address}
    with imports_from(spec.import_folder), executor(serial, ray_address, spec.resources) as place:
        seen = examine(patient, runs, place)
        done = Rescue(patient, runs / patient.name, seen, steps_trained=seen.steps)
        if not seen.matches:
            done = _treat(done, _Case(Judge(patient, seen), runs, everything, steps, hours, options, listeners))
    _save(done)
    return done


def _save(done: Rescue) -> None:
    """The answer, whole or not at all, as JSON and as a page, and the recipe that it recommends."""
    folder = RunFolder(done.folder)
    folder.path.mkdir(parents=True, exist_ok=True)
    files = [folder.rescue, folder.rescue_page]
    if best := done.best:
        words = f"{best.remedy.name}: {best.remedy.words}"
        write_whole(done.recipe, sweep_files.recipe(done.patient, best.remedy.change, words))
        files.append(done.recipe)
    write_whole(folder.rescue, json.dumps(plain(done.to_json()), indent=1, allow_nan=False) + "\n")
    save(page(done), folder.rescue_page)
    folder.keep(*files)


@dataclass(frozen=True)
class _Case:
    """What both sweeps of a rescue need to know."""

    judge: Judge
    runs: Path
    everything: bool
    steps: int | None
    hours: float | None
    options: dict[str, Any]
    listeners: Callable[[], Sequence[Listener]]
    started: float = field(default_factory=time.monotonic)

    def run(self, spec: SweepSpec, until: Callable[[TrialRecord], bool], trained: int) -> SweepResult | str:
        """The budget that is used up, where nothing of it is left after so many steps."""
        taken = {"steps": trained, "hours": (time.monotonic() - self.started) / 3600}
        budgets: dict[str, Any] = {"steps": self.steps, "hours": self.hours}
        left = {name: budget and budget - taken[name] for name, budget in budgets.items()}
        for name, amount in left.items():
            if amount is not None and amount <= 0:
                return name
        return run_sweep(spec, self.runs, listeners=self.listeners(), say=_nothing,
                         until=None if self.everything else until, **left, **self.options)  # fmt: skip


def _nothing(words: str) -> None:
    """Is said of files that have changed: they are the rescue's own, and only their budgets have."""


def _treat(done: Rescue, case: _Case) -> Rescue:
    judge, runs = case.judge, case.runs
    patient, seen = judge.patient, judge.seen
    found = findings(seen)
    tried = remedies(patient.written, patient.density, found, seen.stable_from)
    first = sweep_files.one_at_a_time(patient, tried, runs)
    result = case.run(first, lambda trial: trial.number > 0 and judge.is_match(trial, seen.dense), 0)
    trials = read(runs / first.name)
    rows = judge.first(tried, trials)
    done = replace(done, findings=found, rows=rows)
    if (done := _after(done, result)).spent or done.ending == "interrupted":
        return done
    chosen = _promising(case, rows)
    if not chosen:
        return done
    again = sweep_files.together(patient, chosen, _fresh_seeds(case), runs)

    def helps(trial: TrialRecord) -> bool:
        dense = next((one.levels[0] for one in read(runs / again.name) if one.number == 0 and one.levels), None)
        return trial.number > 0 and dense is not None and judge.is_match(trial, dense)

    done = _after(done, case.run(again, helps, sum(trial.steps_trained for trial in trials)))
    return replace(done, rows=judge.with_fresh(rows, chosen, read(runs / again.name)))


def _after(done: Rescue, result: SweepResult | str) -> Rescue:
    """With what a sweep has cost, and how it ended."""
    if isinstance(result, str):
        return replace(done, spent=result)
    trained, reused = done.steps_trained + result.steps_trained, done.steps_reused + result.steps_reused
    return replace(done, ending=result.ending, spent=result.spent, steps_trained=trained, steps_reused=reused)


def _promising(case: _Case, rows: Sequence[Row]) -> list[Remedy]:
    """What is looked at once more on fresh seeds: the best one that matches alone; where none does, or all is to be
    tried, the best ones that go together."""
    better = [row for row in rows if row.first and row.first.to_patient.mean > 0]
    better.sort(key=lambda row: (row.matches, row.first.to_patient.mean if row.first else 0.0), reverse=True)
    chosen = [row.remedy for row in better]
    if better and better[0].matches and not case.everything:
        return chosen[:1]
    return sweep_files.compatible(case.judge.patient, chosen)


def _fresh_seeds(case: _Case) -> range:
    """As many as the patient's, later than all of its sweep, and than all that a verification can take: these choose,
    too, and the recipe that they choose is verified on seeds that have chosen nothing."""
    patient = case.judge.patient
    spec = patient.spec
    recipes = [patient.recipe, *(spec.recipe(trial.picks) for trial in read(case.runs / spec.name))]
    first = 1 + max(seed for recipe in recipes for seed in recipe.seed_list) + MOST_SEEDS
    return range(first, first + len(patient.recipe.seed_list))
