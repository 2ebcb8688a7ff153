import math
from dataclasses import fields
from pathlib import Path
from statistics import fmean, stdev

import pandas as pd
import pytest

from lth_sweep.lottery.loop import run
from lth_sweep.lottery.recipe.trial import Runtime, TrialConfig
from lth_sweep.lottery.runs.stages import Store
from lth_sweep.lottery.task import Classification
from lth_sweep.reporting.material import Material
from lth_sweep.search.frames import levels_frame, trials_frame
from lth_sweep.search.trial import Outcome
from lth_sweep.sweepfile import columns
from lth_sweep.sweepfile.decode import decode
from lth_sweep.sweepfile.spec import Objective
from tests.reporting.conftest import trial

LEVELS, TRIALS = columns.levels(Classification()), columns.trials(Classification())
TWO = [
    trial(0, (0.90, 0.92), (0.90, 0.91), (0.70, 0.90), picks={"granularity": "unit"}, outcome=Outcome(500.0, 0.0, 1)),
    trial(1, (0.90, 0.92), (0.91, 0.92), (0.90, 0.92), picks={"granularity": "weight"}, outcome=Outcome(250.0, 0.0, 2)),
]


def test_the_usual_questions_take_a_line_each():
    levels = levels_frame(TWO, Objective())
    assert levels[levels.matches].groupby("granularity").density.min().to_dict() == {"unit": 0.5, "weight": 0.25}
    over_seeds = levels.groupby(["trial", "level"]).accuracy.agg(["mean", "std"])
    assert over_seeds.loc[(0, 2)].tolist() == pytest.approx([0.8, 0.2 / math.sqrt(2)])
    assert levels.steps_reused.sum() == 2 * 2 * (0 + 10 + 20)


def test_the_lines_of_the_reference_page_answer_them_from_the_files(many: Material, runs: Path):
    """Each against the records, counted by hand."""
    page = (Path(__file__).parents[2] / "docs" / "records.md").read_text()
    lines = page.split("```python\n")[1].split("```")[0].replace("runs/NAME", f"{runs}/many").splitlines()
    known: dict = {}
    exec("\n".join(lines[:4]), known)
    smallest, over_seeds, reused = (
        eval(line, known) for line in lines if line.startswith("levels") and "=" not in line
    )
    matching = [(one.picks["granularity"], level.density) for one in many.trials
                for level in one.levels[1:] if many.spec.objective.matches(level, one.levels[0])]  # fmt: skip
    kinds = {kind for kind, _ in matching}
    assert kinds == {"unit", "weight"}
    assert smallest.to_dict() == pytest.approx({kind: min(d for k, d in matching if k == kind) for kind in kinds})
    for one in many.trials:
        for level in one.levels:
            accuracies = [record.metrics["accuracy"] for record in level]
            row = over_seeds.loc[(one.number, level.number)]
            assert row.tolist() == pytest.approx([fmean(accuracies), stdev(accuracies)])
    assert reused == sum(one.steps_reused for one in many.trials) > 0


def test_difference_is_by_pairs_and_the_dense_level_is_no_match():
    levels = levels_frame(TWO, Objective())
    assert levels[levels.trial == 0].difference.tolist() == pytest.approx([0, 0, 0, -0.01, -0.2, -0.02])
    assert levels[levels.trial == 0].matches.tolist() == [False, False, True, True, False, False]


def test_a_row_per_trial():
    table = trials_frame(TWO, Objective()).set_index("trial")
    assert table.value.tolist() == [500, 250]
    assert table.density.tolist() == [0.5, 0.25]
    assert table.difference.tolist() == pytest.approx([-0.005, 0.0])
    assert table.seconds.tolist() == [12, 12]
    none = trials_frame([trial(0, (0.9,))], Objective())
    assert none.value.isna().all()
    assert none.density.isna().all()


def test_the_columns_are_the_documented_ones(many: Material, runs: Path):
    axes = [axis.path for axis in many.spec.space]
    levels, table = levels_frame(many.trials, many.spec.objective), trials_frame(many.trials, many.spec.objective)
    for frame, wanted, file in (
        (levels, LEVELS, "levels"),
        (table, TRIALS, "trials"),
    ):
        documented = [name for column in wanted for name in (axes if column == "PATH" else [column])]
        assert list(frame.columns) == documented
        assert list(pd.read_parquet(runs / "many" / f"{file}.parquet").columns) == documented
    assert len(levels) == sum(len(level) for trial in many.trials for level in trial.levels)


def test_no_axis_hides_a_column():
    """`levels` is an axis that is also what a trial has run; the names of other axes are refused where they collide."""
    picked = trial(0, (0.9,), (0.9,), picks={"levels": 8})
    table = trials_frame([picked], Objective())
    assert (table.levels.item(), table.levels_run.item()) == (8, 2)
    assert not {field.name for field in fields(TrialConfig)} & {*LEVELS, *TRIALS}


def test_a_real_record_has_these_columns(tmp_path):
    recipe = decode(TrialConfig, {"data": "digits", "levels": 1, "train": {"length": "5 steps"}, "seeds": 1})
    levels = tuple(run(recipe, Store(tmp_path / "stages"), Runtime()))
    frame = levels_frame([trial(0, picks={}, levels=levels)], Objective())
    assert list(frame.columns) == [column for column in LEVELS if column != "PATH"]
