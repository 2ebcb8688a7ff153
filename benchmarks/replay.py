"""A recorded table as the work of a sweep: trials whose levels are looked up instead of trained."""

import csv
import gzip
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from statistics import fmean

from lth_sweep.lottery.recipe.forecast import smallest as bound_of
from lth_sweep.lottery.recipe.trial import Runtime, TrialConfig, trial_digest
from lth_sweep.lottery.records import Level, LevelRecord
from lth_sweep.lottery.runs.stages import Store
from lth_sweep.sweepfile.axis import Choice
from lth_sweep.sweepfile.load import load_spec
from lth_sweep.sweepfile.points import grid
from lth_sweep.sweepfile.spec import SweepSpec

FOLDER = Path(__file__).parent
TABLE = FOLDER / "data" / "digits.csv.gz"
SIZES = ("params", "flops", "bytes")

trained: set[tuple[str, int, int]] = set()
"""What the sweep at hand has trained: (recipe, seed, level), the dense run once for all recipes of a learning rate."""

bounds: dict[tuple[str, str], float] = {}
"""By recipe and size."""


def spec() -> SweepSpec:
    return load_spec(FOLDER / "table.yaml")


def part(sweep: SweepSpec, only: Mapping[str, str]) -> SweepSpec:
    """With a single label of some axes."""
    options = {axis.path: dict(axis.domain.options) for axis in sweep.space if isinstance(axis.domain, Choice)}
    left = {path: {only[path]: all_[only[path]]} if path in only else all_ for path, all_ in options.items()}
    return replace(sweep, space=tuple(replace(axis, domain=Choice(left[axis.path])) for axis in sweep.space))


@cache
def table() -> dict[str, dict[int, list[LevelRecord]]]:
    """Recipe -> seed -> its levels."""
    sweep = spec()
    axes = [axis.path for axis in sweep.space]
    names: dict[tuple[str, ...], str] = {}
    found: dict[str, dict[int, list[LevelRecord]]] = defaultdict(lambda: defaultdict(list))
    with gzip.open(TABLE, "rt", newline="") as file:
        for row in csv.DictReader(file):
            picks = tuple(row[path] for path in axes)
            if picks not in names:
                names[picks] = key(sweep.recipe(dict(zip(axes, picks, strict=True))))
            level, seed, accuracy = int(row["level"]), int(row["seed"]), float(row["accuracy"])
            stage = f"{names[picks]}/{level}" if level else f"dense {row['train.optimizer.lr']}"
            found[names[picks]][seed].append(
                LevelRecord(names[picks], level, seed, float(row["density"]), {},
                            {name: int(row[name]) for name in SIZES}, {"accuracy": accuracy}, (), stage,
                            int(row["steps"]), 0)
            )  # fmt: skip
    return found


def key(trial: TrialConfig) -> str:
    """The same for every choice of seeds."""
    return trial_digest(replace(trial, seeds=1))


def run(trial: TrialConfig, store: Store, runtime: Runtime) -> Iterator[Level]:
    """The recorded levels; what was trained already costs nothing, as with real stages. Of the levels below the end of
    the record nothing is known: they match nothing, and cost nothing."""
    recorded = table()[key(trial)]
    for level in zip(*(recorded[seed] for seed in trial.seed_list), strict=True):
        yield tuple(_paid(record) for record in level)
    for index in range(level[0].level + 1, trial.levels + 1):
        yield tuple(replace(record, level=index, metrics={"accuracy": 0.0}, steps_trained=0) for record in level)


def _paid(record: LevelRecord) -> LevelRecord:
    stage = (record.stage, record.seed, record.level)
    if stage in trained:
        return replace(record, steps_trained=0, steps_reused=record.steps_trained)
    trained.add(stage)
    return record


def smallest(trial: TrialConfig, size: str) -> float:
    """The bound of the recorded ladder, which ends where the real one would go on: the sizes of the last level; 0 where
    the program would not know them."""
    name = key(trial)
    if (name, size) not in bounds:
        last = fmean(records[-1].sizes[size] for records in table()[name].values())
        bounds[name, size] = last if bound_of(trial, size) > 0 else 0.0
    return bounds[name, size]


def best_size(sweep: SweepSpec) -> float:
    """The smallest size of any recipe of the sweep, and any level, that matches."""
    found = math.inf
    margin, size = sweep.objective.match.amount, sweep.objective.first
    for picks in grid(sweep.space):
        seeds = table()[key(sweep.recipe(picks))]
        for level in zip(*seeds.values(), strict=True):
            dense = [records[0] for records in seeds.values()]
            gap = fmean(a.metrics["accuracy"] - b.metrics["accuracy"] for a, b in zip(level, dense, strict=True))
            if level[0].level and gap >= -margin - 1e-9:
                found = min(found, fmean(record.sizes[size] for record in level))
    return found
