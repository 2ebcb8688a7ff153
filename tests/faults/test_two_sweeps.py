"""Two sweeps that write to one runs folder at once, from two processes, while somebody else holds the databases."""

import sqlite3
import threading
import time
from pathlib import Path

import mlflow

from lth_sweep.orchestration.records import read
from tests.faults.harness import Sandbox

HELD_SECONDS = 7
"""Longer than the five seconds that SQLite waits by itself."""


def test_no_database_is_locked_for_its_user(tmp_path: Path) -> None:
    sandbox = Sandbox.make(tmp_path / "two", seeds=1, trials=3, top=0)
    text = (sandbox.folder / "broken.yaml").read_text()
    names = ["one", "other"]
    for name in names:
        (sandbox.folder / f"{name}.yaml").write_text(text.replace("name: broken", f"name: {name}"))
    held: list[str] = []
    done = threading.Event()

    def hold() -> None:
        """Each database once, from when it is there."""
        files = [sandbox.folder / "runs" / name for name in ("mlflow.db", "one/optuna.db")]
        while files and not done.wait(0.02):
            for file in files:
                if file.exists() and file.stat().st_size > 50_000:
                    database = sqlite3.connect(file, timeout=60, isolation_level=None)
                    database.execute("BEGIN EXCLUSIVE")
                    time.sleep(HELD_SECONDS)
                    database.execute("ROLLBACK")
                    database.close()
                    files.remove(file)
                    held.append(file.name)
                    break

    holding = threading.Thread(target=hold)
    holding.start()
    processes = [sandbox.start("run", f"{name}.yaml", "--serial") for name in names]
    said = [process.communicate(timeout=300) for process in processes]
    done.set()
    holding.join()
    for (output, errors), process in zip(said, processes, strict=True):
        assert (process.returncode, errors) == (0, "")
        assert "locked" not in output
    assert sorted(held) == ["mlflow.db", "optuna.db"]
    client = mlflow.MlflowClient(f"sqlite:///{sandbox.folder}/runs/mlflow.db")
    for name in names:
        assert [trial.ending for trial in read(sandbox.folder / "runs" / name)] == ["finished"] * 3
        experiment = client.get_experiment_by_name(name)
        assert experiment
        runs = client.search_runs([experiment.experiment_id])
        assert sorted(run.data.tags.get("lth.trial_number", "sweep") for run in runs) == ["0", "1", "2", "sweep"]
        assert {run.info.status for run in runs} == {"FINISHED"}
