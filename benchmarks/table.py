"""Records the table that benchmarks/search.py replays: all recipes of table.yaml, 3 seeds, every level.

A ladder ends where its density falls below 1.5%. An hour on one core; trials that are in the runs folder are not run
again. One row of the table is one recipe, seed and level: sizes, validation accuracy, and the steps of its training.
"""

import argparse
import csv
import gzip
import io
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

from lth_sweep.lottery.loop import run as whole_ladder
from lth_sweep.lottery.recipe.trial import Runtime, TrialConfig
from lth_sweep.lottery.records import Level
from lth_sweep.lottery.runs.stages import Store

SPEC = Path(__file__).with_name("table.yaml")
TABLE = Path(__file__).parent / "data" / "digits.csv.gz"
SMALLEST = 0.015
SIZES = ("params", "flops", "bytes")


def run(trial: TrialConfig, store: Store, runtime: Runtime) -> Iterator[Level]:
    for level in whole_ladder(trial, store, runtime):
        yield level
        if fmean(record.density for record in level) < SMALLEST:
            return


def main() -> None:
    from lth_sweep.orchestration.records import read
    from lth_sweep.orchestration.running import run_sweep
    from lth_sweep.sweepfile.load import load_spec

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="the runs folder (default: runs)")
    parser.add_argument("--only-write", action="store_true", help="write the table from what is in the runs folder")
    arguments = parser.parse_args()
    spec = load_spec(SPEC)
    if not arguments.only_write:
        run_sweep(spec, arguments.runs, work="table:run")
    trials = read(arguments.runs / spec.name)
    axes = [axis.path for axis in spec.space]
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow([*axes, "seed", "level", "density", *SIZES, "accuracy", "steps"])
    for trial in sorted(trials, key=lambda trial: [str(trial.picks[path]) for path in axes]):
        for record in [record for level in trial.levels for record in level]:
            picks = [trial.picks[path] for path in axes]
            sizes = [record.sizes[name] for name in SIZES]
            accuracy, steps = record.metrics["accuracy"], record.steps_trained + record.steps_reused
            numbers = [f"{record.density:.5g}", *sizes, f"{accuracy:.5f}", steps]
            rows.writerow([*picks, record.seed, record.level, *numbers])
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))
    print(f"{TABLE}: {len(trials)} recipes, {text.getvalue().count(chr(10)) - 1:,} rows")


if __name__ == "__main__":
    main()
