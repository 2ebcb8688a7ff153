"""MLflow's SQLite file, damaged: it is said, a copy is kept, and a new one gets what is on record."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest

from lth_sweep.cli import main
from tests.orchestration.specs import SIMULATED
from tests.tracking.sweeps import NAME, NO_MATCH, level, logged, proposal, start, store
from tests.tracking.test_sync import assert_equal, no_model, run

__all__ = ["no_model"]


def header(file: Path) -> None:
    with file.open("r+b") as damaged:
        damaged.write(b"no database, but text")


def page(file: Path) -> None:
    """The root of the schema's tables."""
    with file.open("r+b") as damaged:
        damaged.seek(100)
        damaged.write(bytes(300))


def truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size * 2 // 3)


def empty(file: Path) -> None:
    os.truncate(file, 0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs folder with two sweeps."""
    runs = tmp_path_factory.mktemp("whole") / "runs"
    for name in ("one", "other"):
        assert run(runs, SIMULATED.replace("NAME", name)).missing == []
    return runs


@pytest.mark.parametrize(
    "harm", [header, *(pytest.param(harm, marks=pytest.mark.slow) for harm in (page, truncate, empty))]
)
def test_a_damaged_database_is_set_aside_and_made_anew(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], harm: Callable[[Path], None]
) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(whole, runs)
    file = runs / "mlflow.db"
    uri = f"sqlite:///{file}"
    assert_equal(uri, runs, "one")  # which leaves the file open in this process
    harm(file)
    content = file.read_bytes()

    assert main(["doctor", "--runs", str(runs), "--json"]) == 1
    [check] = [check for check in json.loads(capsys.readouterr().out)["checks"] if check["about"] == "mlflow"]
    assert (check["ok"], f"{file} is damaged" in check["text"]) == (False, True)
    assert main(["ui", "--runs", str(runs)]) == 2
    assert f"{file} is damaged" in capsys.readouterr().err
    assert file.read_bytes() == content

    assert main(["sync", "one", "--runs", str(runs)]) == 0
    printed = capsys.readouterr()
    [copy] = runs.glob("mlflow.db.damaged-*")
    assert printed.err.startswith(f"MLflow's database {file} was damaged (")
    assert f"a copy is kept as {copy.name}" in printed.err
    assert "made 4 runs" in printed.out
    assert copy.read_bytes() == content
    assert main(["sync", "other", "--runs", str(runs)]) == 0
    assert capsys.readouterr().err == ""
    for name in ("one", "other"):
        assert_equal(uri, runs, name)
    assert sorted(path.name for path in runs.glob("mlflow.db*")) == ["mlflow.db", copy.name, "mlflow.db.lock"]


def test_a_log_that_is_no_text_any_more(tmp_path: Path) -> None:
    listener, trial = start(tmp_path), proposal()
    (tmp_path / NAME / "logs").mkdir()
    (tmp_path / NAME / "logs" / "000.txt").write_bytes(b"Trace\xffback\n")
    listener.trial_started(trial)
    listener.level_done(trial, level(0))
    listener.trial_ended(trial, "failed", NO_MATCH, "broken layer")
    listener.sweep_ended("finished")
    assert listener.missing == []
    run = logged(store(tmp_path))["0"]
    assert (run.info.status, run.data.tags["lth.reason"]) == ("FAILED", "broken layer")
    assert mlflow.artifacts.load_text(f"{run.info.artifact_uri}/log.txt") == "Trace\ufffdback\n"
