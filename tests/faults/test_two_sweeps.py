"""Two sweeps that write to one runs folder at once, from two processes, while somebody else holds the databases."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import mlflow
import pytest

from lth_sweep.orchestration.records import read
from tests.faults.harness import Sandbox

NAMES = ("one", "other")


@contextmanager
def held(files: list[Path], seconds: float) -> Iterator[list[str]]:
    """Each database is locked once, from when it is there; the names of those that were."""
    found: list[str] = []
    over = threading.Event()

    def hold(file: Path) -> None:
        while not (file.exists() and file.stat().st_size > 50_000):
            if over.wait(0.02):
                return
        with closing(sqlite3.connect(file, timeout=60, isolation_level=None)) as database:
            database.execute("BEGIN EXCLUSIVE")
            time.sleep(seconds)
            database.execute("ROLLBACK")
        found.append(file.name)

    threads = [threading.Thread(target=hold, args=[file]) for file in files]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        over.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize(
    "seconds", [pytest.param(6, id="SQLite gives up"), pytest.param(25, id="MLflow gives up", marks=pytest.mark.slow)]
)
def test_no_database_is_locked_for_its_user(tmp_path: Path, seconds: float) -> None:
    """By itself SQLite waits for five seconds, and MLflow makes that twenty."""
    sandbox = Sandbox.make(tmp_path / "two", seeds=1, trials=3, top=0)
    runs, text = sandbox.folder / "runs", (sandbox.folder / "broken.yaml").read_text()
    for name in NAMES:
        (sandbox.folder / f"{name}.yaml").write_text(text.replace("name: broken", f"name: {name}"))
    with held([runs / "mlflow.db", *(runs / name / "optuna.db" for name in NAMES)], seconds) as names:
        processes = [sandbox.start("run", f"{name}.yaml", "--serial") for name in NAMES]
        for process in processes:
            code, output, errors = sandbox.finish(process)
            assert (code, errors) == (0, ""), output + errors
            assert "locked" not in output
    assert sorted(names) == ["mlflow.db", "optuna.db", "optuna.db"]
    client = mlflow.MlflowClient(f"sqlite:///{runs}/mlflow.db")
    for name in NAMES:
        assert [trial.ending for trial in read(runs / name)] == ["finished"] * 3
        experiment = client.get_experiment_by_name(name)
        assert experiment
        found = client.search_runs([experiment.experiment_id])
        assert sorted(run.data.tags.get("lth.trial_number", "sweep") for run in found) == ["0", "1", "2", "sweep"]
        assert {run.info.status for run in found} == {"FINISHED"}
