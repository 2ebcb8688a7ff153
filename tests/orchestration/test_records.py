import json
import math

import pandas as pd
import pytest

from lth_sweep.orchestration.records import Records, best, read, write_tables
from lth_sweep.search.trial import NOTHING, Outcome
from tests.orchestration.simulated import record
from tests.orchestration.specs import sweep

PICKS = {"rate": 0.25, "granularity": "unit"}


def level(index, **fields):
    recipe = sweep().recipe({"rate": 0.25})
    return tuple(record(recipe, index, seed, **fields) for seed in (0, 1))


def test_what_is_written_is_read(tmp_path):
    records = Records(tmp_path)
    trial = records.start(7, PICKS)
    for index in range(3):
        trial = records.put_level(trial, level(index))
    assert read(tmp_path) == [trial]
    trial = records.end(trial, "", "stopped", Outcome(9.0, -0.1, 2), "enough")
    assert read(tmp_path) == [trial]
    assert trial.steps_trained == 600
    assert trial.steps_reused == 200


def test_what_a_waiting_trial_is_worth_holds_until_a_level_has_more_seeds(tmp_path):
    records = Records(tmp_path)
    trial = records.start(0, PICKS)
    for index in range(2):
        trial = records.put_level(trial, level(index)[:1])
    trial = records.wait(trial, Outcome(9.0, -0.1, 1))
    assert read(tmp_path) == [records.start(0, PICKS)] == [trial]
    assert trial.outcome.value == 9.0
    trial = records.put_level(trial, level(0))
    assert read(tmp_path) == [trial]
    assert trial.outcome == NOTHING


@pytest.mark.parametrize("cut", [1, 5, 100])
def test_a_torn_last_line_is_dropped_and_written_over(tmp_path, cut):
    records = Records(tmp_path)
    trial = records.start(0, PICKS)
    whole = records.put_level(trial, level(0))
    records.put_level(whole, level(1))
    path = records.path(0)
    path.write_bytes(path.read_bytes()[:-cut])
    assert read(tmp_path) == [whole]
    again = records.start(0, PICKS)
    assert again == whole
    records.put_level(again, level(1))
    assert [line[0].level for line in read(tmp_path)[0].levels] == [0, 1]
    for line in path.read_text().splitlines():
        json.loads(line)


def test_a_file_that_is_damaged_from_the_start_is_begun_again(tmp_path):
    records = Records(tmp_path)
    records.start(0, PICKS)
    records.path(0).write_bytes(b"\xff\x00{")
    assert read(tmp_path) == []
    assert records.start(0, PICKS).levels == ()
    assert read(tmp_path)[0].picks == PICKS


def test_the_table_has_a_row_per_trial_seed_and_level(tmp_path):
    records = Records(tmp_path)
    first = records.put_level(records.put_level(records.start(0, PICKS), level(0)), level(1))
    records.end(first, "", "finished", Outcome(None, 0.1, None), "")
    records.put_level(records.start(1, {"rate": 0.5}), level(0, diverged=True))
    write_tables(tmp_path, read(tmp_path), sweep().objective)
    table = pd.read_parquet(tmp_path / "levels.parquet")
    assert list(table.trial) == [0, 0, 0, 0, 1, 1]
    assert list(table.seed) == [0, 1, 0, 1, 0, 1]
    assert list(table.ending) == ["finished"] * 4 + ["interrupted"] * 2
    assert list(table.rate) == [0.25] * 4 + [0.5] * 2
    assert list(table.granularity[:4]) == ["unit"] * 4
    assert table.granularity[4:].isna().all()
    assert list(table.params[:4]) == [1000, 1000, 750, 750]
    assert math.isnan(table.accuracy[4])
    assert len(pd.read_parquet(tmp_path / "trials.parquet")) == 2


def test_the_best_trial_is_the_smallest_that_matches_and_has_not_failed(tmp_path):
    records = Records(tmp_path)
    ends = [("finished", 50.0), ("failed", 10.0), ("stopped", 40.0), ("stopped", None), ("finished", 40.0)]
    for number, (ending, value) in enumerate(ends):
        records.end(records.start(number, {}), "", ending, Outcome(value, 0.0, 1), "")
    found = best(read(tmp_path))
    assert found is not None
    assert found.number == 2
    assert best([]) is None
