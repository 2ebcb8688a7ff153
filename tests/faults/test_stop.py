"""SIGTERM, as Slurm and Kubernetes send it before they kill: the command ends soon, and says truly where it stands."""

import signal
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from lth_sweep.orchestration.evidence import load
from lth_sweep.orchestration.records import read
from tests.faults.harness import Sandbox, assert_equal
from tests.test_doctor import count

LONG = "length: 1000 steps"
"""A level takes seconds."""
RUNS = "SELECT count(*) FROM runs"


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--serial"], []], ids=["serial", "ray"])
@pytest.mark.parametrize("server", ["", "http://127.0.0.1:9"], ids=["", "MLflow is away"])
def test_it_stops_within_ten_seconds_and_goes_on(tmp_path: Path, arguments: list[str], server: str) -> None:
    sandboxes = [Sandbox.make(tmp_path / name, seeds=1, trials=2) for name in ("stopped", "unbroken")]
    stopped, unbroken = sandboxes
    database = stopped.folder / "runs" / "mlflow.db"
    for sandbox in sandboxes:
        file = sandbox.folder / "broken.yaml"
        file.write_text(file.read_text().replace("length: 40 steps", LONG))
    process = stopped.start("run", "broken.yaml", *arguments, **({"LTH_SWEEP_TRACKING_URI": server} if server else {}))
    while not list((stopped.run_folder / "records").glob("*")) or not (server or count(database, RUNS) >= 2):
        assert process.poll() is None
        time.sleep(0.1)
    sent = time.monotonic()
    process.send_signal(signal.SIGTERM)
    code, _, errors = stopped.finish(process)
    assert time.monotonic() - sent < 10
    assert code == 1
    assert errors.splitlines()[-1] == "interrupted; the same command goes on from here"
    assert "Traceback" not in errors
    left = [trial for trial in read(stopped.run_folder) if trial.ending is None]
    assert left or not load(stopped.run_folder), "it was stopped in a trial, or in the verification after the last"
    study = optuna.load_study(study_name="broken", storage=f"sqlite:///{stopped.run_folder / 'optuna.db'}")
    assert TrialState.RUNNING not in [trial.state for trial in study.trials]
    if not server:
        assert count(database, f"{RUNS} WHERE status = 'KILLED'") == 1 + len(left)
        assert count(database, f"{RUNS} WHERE status = 'RUNNING'") == 0
    for sandbox in sandboxes:
        sandbox.run(*arguments)
    assert_equal(stopped, unbroken, cut_off=2)
