import json
import math
import zlib
from importlib.metadata import version

import pandas as pd
import pytest

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.records import Level
from lth_sweep.orchestration.records import Records, best, read, write_tables
from lth_sweep.search.trial import NOTHING, Outcome
from tests.orchestration.simulated import record
from tests.orchestration.specs import sweep

PICKS = {"rate": 0.25, "granularity": "unit"}


def level(index, **fields):
    recipe = sweep().recipe({"rate": 0.25})
    return Level(record(recipe, index, seed, **fields) for seed in (0, 1))


def write_again(path, change):
    """With each line changed, and its sum right."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    with path.open("w") as file:
        for line in lines:
            del line["sum"]
            change(line)
            text = json.dumps(line)[:-1]
            file.write(f'{text},"sum":"{zlib.crc32(text.encode()):08x}"}}\n')


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
        trial = records.put_level(trial, level(index).of([0]))
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
    path = records.folder.record(0)
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
    records.folder.record(0).write_bytes(b"\xff\x00{")
    assert read(tmp_path) == []
    assert records.start(0, PICKS).levels == ()
    assert read(tmp_path)[0].picks == PICKS


def of_another_version(line):
    if "picks" in line:
        line["version"], line["lth_sweep"] = 2, "7.1"


def with_more(line):
    for fields in line.get("level", ()):
        fields["shoe_size"] = 43


def with_less(line):
    for fields in line.get("level", ()):
        del fields["density"]


@pytest.mark.parametrize(
    ("change", "writer", "reason"),
    [
        (of_another_version, "7.1", "its version is 2, and what is read here is version 1"),
        (with_more, version("lth-sweep"), "a level has fields that are not known here: shoe_size"),
        (with_less, version("lth-sweep"), "a level lacks the fields density"),
    ],
)
def test_what_another_version_has_written_is_refused_and_left_alone(tmp_path, change, writer, reason):
    records = Records(tmp_path)
    records.put_level(records.start(0, PICKS), level(0))
    path = records.folder.record(0)
    write_again(path, change)
    before = path.read_bytes()
    for reads in (lambda: read(tmp_path), lambda: records.start(0, PICKS)):
        with pytest.raises(ConfigError) as refused:
            reads()
        assert str(refused.value).startswith(f"{path} was written by lth_sweep {writer}, and this is lth_sweep ")
        assert f": {reason}; use that version, or a later one, to read it or to go on" in str(refused.value)
    assert path.read_bytes() == before


def test_a_file_from_before_files_had_versions_is_read(tmp_path):
    records = Records(tmp_path)
    trial = records.put_level(records.start(0, PICKS), level(0))
    path = records.folder.record(0)
    assert json.loads(path.read_text().splitlines()[0]).items() >= {"version": 1, "number": 0}.items()
    write_again(path, lambda line: [line.pop(name, None) for name in ("version", "lth_sweep")])
    assert read(tmp_path) == [records.start(0, PICKS)] == [trial]


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
