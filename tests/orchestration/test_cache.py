"""Whose the stages are, and which go."""

import time
from pathlib import Path

from lth_sweep.orchestration.housekeeping import Run, by_sweep, remove, runs_in, superfluous
from lth_sweep.orchestration.running import run_sweep
from lth_sweep.sweepfile.load import load_spec

SWEEP = """\
name: {name}
trial:
  model: {{kind: mlp, hidden: [8]}}
  train: {{length: 20 steps}}
  levels: 2
  seeds: 1
space: {{rate: {{choice: {rates}}}}}
search: {{sampler: grid, trials: 2}}
stop: {{patience: null}}
verify: {{top: 0}}
"""


def sweep(folder: Path, name: str, rates: str) -> None:
    (folder / f"{name}.yaml").write_text(SWEEP.format(name=name, rates=rates))
    run_sweep(load_spec(folder / f"{name}.yaml"), folder / "runs", serial=True)


def test_runs_belong_to_the_sweeps_that_name_them(tmp_path: Path) -> None:
    """Both share the dense run; two trials of two levels each."""
    sweep(tmp_path, "one", "[0.3, 0.5]")
    sweep(tmp_path, "two", "[0.4]")
    runs = tmp_path / "runs"
    found = runs_in(runs)
    assert sorted(run.sweeps for run in found) == [("one",)] * 4 + [("one", "two")] + [("two",)] * 2
    stored = sum(file.stat().st_size for file in (runs / "stages").glob("*/*/0*/*"))
    assert sum(row["bytes"] for row in by_sweep(found)) == stored
    for file in (runs / "two").rglob("*"):
        if file.is_file():
            file.unlink()
    unwanted = superfluous(runs_in(runs), gone=True)
    assert len(unwanted) == 2
    assert remove(runs, unwanted) == (2, sum(run.bytes for run in unwanted))
    assert len(runs_in(runs)) == 5
    again = run_sweep(load_spec(tmp_path / "one.yaml"), runs, serial=True)
    assert again.steps_trained == 0


def test_by_age_and_by_size() -> None:
    now = time.time()
    found = [Run(name, 10, now - age) for name, age in [("a", 100), ("b", 50), ("c", 1)]]
    assert [run.trajectory for run in superfluous(found, older=60)] == ["a"]
    assert [run.trajectory for run in superfluous(found, larger=15)] == ["a", "b"]
    assert [run.trajectory for run in superfluous(found, larger=30)] == []
    assert [run.trajectory for run in superfluous(found, older=60, larger=20)] == ["a"]
    assert superfluous(found) == []
