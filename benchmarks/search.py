"""How many training steps a search takes: samplers and stopping rules on the recorded table, in seconds.

The real driver, study, samplers and rules run; only the training is looked up (benchmarks/replay.py), and paid for in
steps as with real stages: what was trained once in a sweep costs nothing again. A search has arrived when a trial that
has ended matches, over all its seeds, at a size within 10% of the smallest in the whole table. One that tries as many
trials as the table has recipes and has not arrived counts as all of its steps.
"""

import argparse
import contextlib
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import replay

from lth_sweep.orchestration.driver import Driver
from lth_sweep.orchestration.executor import InProcess
from lth_sweep.orchestration.records import best, read
from lth_sweep.orchestration.work import Work
from lth_sweep.search.study import SweepStudy
from lth_sweep.search.trial import Ending, Outcome, Proposal
from lth_sweep.sweepfile.objective import Match, Objective
from lth_sweep.sweepfile.points import grid
from lth_sweep.sweepfile.samplers import Frugal, Gp, Grid, Nsga2, Qmc, RandomDraw, Sampler, Tpe
from lth_sweep.sweepfile.spec import Search, Stop, SweepSpec

WITHIN = 1.1
NO_RULES = Stop(patience=None, race=None, hopeless=False, duplicates=False)
PATIENCE = Stop(race=None, hopeless=False, duplicates=False)
CONTESTANTS: dict[str, tuple[Sampler, Stop]] = {
    "default": (Frugal(), Stop()),
    "random, same rules": (RandomDraw(), Stop()),
    "random, full ladders": (RandomDraw(), NO_RULES),
    "tpe": (Tpe(), Stop()),
    "tpe, full ladders": (Tpe(), NO_RULES),
    "tpe, patience alone": (Tpe(), PATIENCE),
    "tpe, patience 1": (Tpe(), Stop(patience=1)),
    "tpe, patience 3": (Tpe(), Stop(patience=3)),
    "tpe, no race": (Tpe(), Stop(race=None)),
    "tpe, race 0": (Tpe(), Stop(race=0.0)),
    "tpe, race 0.02": (Tpe(), Stop(race=0.02)),
    "tpe, never hopeless": (Tpe(), Stop(hopeless=False)),
    "tpe, startup 5": (Tpe(startup=5), Stop()),
    "tpe, startup 20": (Tpe(startup=20), Stop()),
    "tpe, 100 candidates": (Tpe(candidates=100), Stop()),
    "gp": (Gp(), Stop()),
    "nsga2": (Nsga2(population=10), Stop()),
    "qmc": (Qmc(), Stop()),
    "grid": (Grid(), Stop()),
}


@dataclass(frozen=True)
class Run:
    """One simulated sweep."""

    steps: int
    """Until it arrived, or in all."""
    trials: int
    arrived: bool
    answer: float | None
    """The smallest matching size, over all seeds, at the end."""


class Arrived(Exception):
    """Ends a simulated sweep."""


class Arrival:
    """A listener that waits for a small enough network."""

    def __init__(self, enough: float) -> None:
        self.enough, self.trials = enough, 0

    def trial_ended(
        self, proposal: Proposal, ending: Ending, outcome: Outcome, reason: str = "", steps_saved: int = 0
    ) -> None:
        self.trials += 1
        if outcome.value is not None and outcome.value <= self.enough:
            raise Arrived

    def __getattr__(self, name: str) -> object:
        return lambda *arguments: None


def simulate(
    sampler: Sampler, stop: Stop, seed: int, trials: int, enough: float = 0.0, sweep: SweepSpec | None = None
) -> Run:
    """`enough`: the size that ends it; 0 goes through all trials. `sweep`: by default the whole table's."""
    spec = replace(sweep or replay.spec(), search=Search(sampler, trials, seed), stop=stop)
    replay.trained.clear()
    arrival = Arrival(enough)
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        driver = Driver(spec, Path(folder), [arrival], replay.smallest, SweepStudy(spec, None))
        with contextlib.suppress(Arrived):
            InProcess().search(driver, Work(spec, Path(folder), "replay:run"))
        found = best(read(driver.folder))
        value = found.outcome.value if found else None
        return Run(driver.steps_trained, arrival.trials, value is not None and value <= enough, value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("contestants", nargs="*", help=f"of: {', '.join(CONTESTANTS)} (default: the first three)")
    parser.add_argument("--seeds", type=int, default=50, help="searches of each (default 50)")
    parser.add_argument("--size", choices=replay.SIZES, default="params", help="what is to be small")
    parser.add_argument("--margin", type=float, default=0.01, help="default 0.01")
    parser.add_argument("--only", action="append", default=[], metavar="AXIS=LABEL", help="a part of the table")
    parser.add_argument("--first", type=int, default=0, help="the first search seed (default 0)")
    parser.add_argument("--quick", action="store_true", help="2 seeds: only to see that it runs")
    arguments = parser.parse_args()
    names = arguments.contestants or list(CONTESTANTS)[:3]
    if unknown := [name for name in names if name not in CONTESTANTS]:
        sys.exit(f"unknown: {', '.join(unknown)}")
    only = dict(pair.split("=", 1) for pair in arguments.only)
    objective = Objective(arguments.size, Match(margin=arguments.margin))
    sweep = replay.part(replace(replay.spec(), objective=objective), only)
    smallest, recipes = replay.best_size(sweep), len(grid(sweep.space))
    seeds = range(arguments.first, arguments.first + (2 if arguments.quick else arguments.seeds))
    print(f"{recipes} recipes, at best {smallest:,.0f} {arguments.size}; n = {len(seeds)} searches each")
    found: dict[str, list[Run]] = {}
    for name in names:
        started = time.perf_counter()
        found[name] = [simulate(*CONTESTANTS[name], seed, recipes, WITHIN * smallest, sweep) for seed in seeds]
        took = (time.perf_counter() - started) / sum(run.trials for run in found[name])
        steps = [run.steps for run in found[name]]
        low, high = interval([steps])
        trials = statistics.median(run.trials for run in found[name])
        missed = sum(not run.arrived for run in found[name])
        print(f"{name:22} {statistics.median(steps):9,.0f} steps (95%: {low:,.0f} to {high:,.0f})  {trials:5.0f} trials"
              f"  {missed} did not arrive  ({took * 1000:.0f} ms a trial)", flush=True)  # fmt: skip
    goals = {"random, same rules": 0.5, "random, full ladders": 0.2}
    for other, goal in goals.items():
        if other in found and "default" in found:
            pair = [[run.steps for run in found[name]] for name in ("default", other)]
            low, high = interval(pair)
            ratio = statistics.median(pair[0]) / statistics.median(pair[1])
            print(f"default / {other}: {ratio:.2f} (95%: {low:.2f} to {high:.2f})  goal at most {goal}")


def interval(samples: Sequence[Sequence[int]], draws: int = 2000) -> tuple[float, float]:
    """Of the median of one sample, or of the ratio of two medians: 95%, by drawing them again (bootstrap)."""
    draw = random.Random(0)
    found = []
    for _ in range(draws):
        medians = [statistics.median(draw.choices(sample, k=len(sample))) for sample in samples]
        found.append(medians[0] / medians[1] if len(medians) == 2 else medians[0])
    found.sort()
    return found[int(0.025 * draws)], found[int(0.975 * draws)]


if __name__ == "__main__":
    main()
