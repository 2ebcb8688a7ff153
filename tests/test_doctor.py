"""The command doctor: what it finds, what it puts right, and what it leaves alone."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import mlflow
import optuna
import pytest
from optuna.trial import TrialState

from lth_sweep.cli import main
from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.orchestration import preflight
from lth_sweep.orchestration.preflight import Node
from lth_sweep.orchestration.running import run_sweep
from lth_sweep.remote.run_folder import RunFolder
from lth_sweep.sweepfile.load import load_spec
from lth_sweep.sweepfile.spec import Resources
from tests.orchestration.specs import SIMULATED

SPEC = SIMULATED.replace("NAME", "mine")


def doctor(folder: Path, capsys, *arguments: str) -> tuple[int, dict[str, tuple[bool, str]]]:
    capsys.readouterr()
    code = main(["doctor", *arguments, "--runs", str(folder / "runs"), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] == (code == 0) == all(check["ok"] for check in found["checks"])
    return code, {check["about"]: (check["ok"], check["text"]) for check in found["checks"]}


def write(folder: Path, text: str) -> str:
    (folder / "mine.yaml").write_text(text)
    return str(folder / "mine.yaml")


def test_a_machine_that_is_fit(tmp_path, capsys):
    code, found = doctor(tmp_path, capsys, write(tmp_path, SPEC))
    assert (code, list(found)) == (
        0, ["sweep file", "versions", "data", "storage", "gpus", "optuna", "mlflow", "disk"])  # fmt: skip
    assert f"mlflow {mlflow.__version__}" in found["versions"][1]
    assert found["data"][1].startswith("digits ")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml", "runs"]
    assert list((tmp_path / "runs").iterdir()) == []
    assert main(["doctor", "--runs", str(tmp_path / "runs")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        f"ok  {about}" for about in ("versions", "storage", "optuna", "mlflow")]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "about", "words"),
    [
        ("levels: 3", "levles: 3", "sweep file", "did you mean 'levels'?"),
        ("seeds: 2", "data: {kind: mnist, root: nowhere}", "sweep file", "nowhere"),
        ("verify:", "resources: {gpu: 1}\nverify:", "gpus", "a trial asks for 1, and 0 can be seen by PyTorch"),
        ("verify:", "tracking: {uri: 'http://ann@127.0.0.1:9'}\nverify:", "mlflow",
         "http://***@127.0.0.1:9 does not answer"),
        ("trials: 3", "trials: 100000000", "disk", "make room (lth-sweep cache gc)"),
    ],
)  # fmt: skip
def test_what_is_not_fit_is_said_with_what_to_do(tmp_path, capsys, old, new, about, words):
    code, found = doctor(tmp_path, capsys, write(tmp_path, SPEC.replace(old, new)))
    assert code == 1
    assert {name for name, (ok, _) in found.items() if not ok} == {about}
    assert words in found[about][1]


def test_a_runs_folder_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "runs").write_text("a file")
    code, found = doctor(tmp_path, capsys)
    assert code == 1
    assert found["storage"][0] is False
    assert "name another folder with --runs" in found["storage"][1]
    with pytest.raises(ConfigError, match="cannot write in"):
        run_sweep(load_spec(write(tmp_path, SPEC)), tmp_path / "runs", serial=True)


def test_a_file_that_no_longer_fits_its_sweep(tmp_path, capsys):
    run_sweep(
        load_spec(write(tmp_path, SPEC)), tmp_path / "runs", serial=True, work="tests.orchestration.simulated:run"
    )
    assert doctor(tmp_path, capsys, write(tmp_path, SPEC.replace("trials: 3", "trials: 5")))[1]["sweep file"] == (
        True, "mine goes on after 3 trials; changed: search.trials: 3 -> 5")  # fmt: skip
    code, found = doctor(tmp_path, capsys, write(tmp_path, SPEC.replace("levels: 3", "levels: 2")))
    assert (code, found["sweep file"][0]) == (1, False)
    assert "trial.levels: 3 -> 2" in found["sweep file"][1]


HERE = Node("here", {"python": "3.11.7", "torch": "2.13.0"}, "", 0, {"digits": "abc"})


@pytest.mark.parametrize(
    ("other", "about", "words"),
    [
        ({"versions": {"python": "3.11.7", "torch": "2.12.0"}}, "versions", "there has torch 2.12.0, and this"),
        ({"versions": {"python": "3.11.7"}}, "versions", "there has torch not there"),
        ({"storage": "runs there is another folder"}, "storage", "there: runs there is another folder; all nodes need"),
        ({"data": {"digits": "cannot be loaded: no file"}}, "data", "there has digits cannot be loaded: no file"),
        ({"gpus": 0}, "gpus", "a trial asks for 1, and 0 can be seen"),
    ],
)  # fmt: skip
def test_nodes_that_differ(other, about, words):
    there = Node("there", HERE.versions, "", 2, HERE.data, handed_out=2)
    asked = Resources(gpu=1)
    assert all(check.ok for check in preflight.compare([HERE, there], asked))
    [wrong] = [check for check in preflight.compare([HERE, replace(there, **other)], asked) if not check.ok]
    assert (wrong.about, words in wrong.text) == (about, True), wrong


def test_a_cluster_without_gpus_may_get_some_and_this_machine_does_not():
    there = Node("there", HERE.versions, "", 0, HERE.data)
    [*_, gpus] = preflight.compare([HERE, there], Resources(gpu=0.5))
    assert (gpus.ok, gpus.text) == (True, "a trial asks for 0.5, and waits for a node that has one")
    [*_, gpus] = preflight.compare([HERE], Resources(gpu=0.5))
    assert (gpus.ok, "a trial asks for 0.5, and 0 can be seen" in gpus.text) == (False, True)


def test_a_node_that_does_not_answer_is_one_complaint():
    gone = Node("gone", {}, "does not answer: dead", 0, {})
    assert [check.about for check in preflight.compare([HERE, gone], Resources()) if not check.ok] == ["storage"]


def test_too_little_room_for_one_trial_stops_a_run_before_it_starts(tmp_path, monkeypatch):
    spec = load_spec(write(tmp_path, SPEC))
    least = preflight.room(spec, 1)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=least - 1))
    with pytest.raises(ConfigError, match="MB free"):
        run_sweep(spec, tmp_path / "runs", serial=True)
    assert not (tmp_path / "runs/mine").exists()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=least))
    said: list[str] = []
    run_sweep(spec, tmp_path / "runs", serial=True, trials=2, say=said.append)
    assert "at most" in said[0]


@pytest.fixture
def killed(tmp_path) -> Path:
    """A sweep whose process was killed in the middle of a trial."""
    write(tmp_path, SPEC.replace("levels: 3", "levels: 6"))
    script = (
        "from pathlib import Path; from lth_sweep.sweepfile.load import load_spec\n"
        "from lth_sweep.orchestration.running import run_sweep; from lth_sweep.tracking import MlflowListener\n"
        "run_sweep(load_spec('mine.yaml'), Path('runs'), serial=True, work='tests.orchestration.simulated:slow',"
        " trials=500, listeners=[MlflowListener()])"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    process = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, env=environment)
    deadline = time.monotonic() + 120
    while True:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.3)
        process.send_signal(signal.SIGSTOP)
        if count(tmp_path / "runs/mlflow.db", "SELECT count(*) FROM runs") >= 3 and count(
            tmp_path / "runs/mine/optuna.db", "SELECT count(*) FROM trials WHERE state = 'RUNNING'"
        ):
            break
        process.send_signal(signal.SIGCONT)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return tmp_path


def count(database: Path, query: str) -> int:
    """In a database that may still be in the making, or locked."""
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=0.1)) as connection:
            return connection.execute(query).fetchone()[0]
    except sqlite3.OperationalError:
        return 0


def mlflow_states(folder: Path) -> dict[str | None, str]:
    client = mlflow.MlflowClient(f"sqlite:///{folder / 'runs/mlflow.db'}")
    found = client.search_runs([client.get_experiment_by_name("mine").experiment_id])
    states = {run.data.tags.get("lth.trial_number"): run.info.status for run in found}
    assert len(states) == len(found), "a run is doubled"
    return states


def optuna_states(folder: Path) -> list[TrialState]:
    storage = f"sqlite:///{folder / 'runs/mine/optuna.db'}"
    return [trial.state for trial in optuna.load_study(study_name="mine", storage=storage).trials]


def test_what_a_kill_has_left_is_put_right_unless_the_sweep_is_running(killed, capsys):
    assert mlflow_states(killed)[None] == "RUNNING"
    assert TrialState.RUNNING in optuna_states(killed)
    (killed / f"runs/mine/.sweep.yaml.{'0123' * 8}").write_text("half")
    own = killed / "runs/mine/.ipynb_checkpoints/notes.tmp"
    own.parent.mkdir()
    own.write_text("of a person")
    stage = killed / f"runs/stages/ab/ab{'0' * 30}"
    (stage / ".0123").mkdir(parents=True)
    with RunFolder(killed / "runs/mine").exclusive():
        assert doctor(killed, capsys, "mine")[1]["mine"][1].startswith("left alone: the sweep in")
    assert mlflow_states(killed)[None] == "RUNNING"
    assert TrialState.RUNNING in optuna_states(killed)

    code, found = doctor(killed, capsys, "mine")
    assert (code, found["mine"][0]) == (0, True)
    assert own.read_text() == "of a person"
    for words in ("they wait to be gone on with", "the sweep's own", "removed 1 files", "removed 1 stages"):
        assert words in found["mine"][1]
    assert "RUNNING" not in mlflow_states(killed).values()
    assert mlflow_states(killed)[None] == "KILLED"
    assert TrialState.RUNNING not in optuna_states(killed)
    assert doctor(killed, capsys, "mine")[1]["mine"] == (True, "nothing was left to put right")

    spec = load_spec(killed / "mine.yaml")
    from lth_sweep.tracking import MlflowListener

    trials = len(optuna_states(killed)) + 1
    run_sweep(spec, killed / "runs", serial=True, work="tests.orchestration.simulated:run", trials=trials,
              listeners=[MlflowListener()], say=lambda message: None)  # fmt: skip
    assert mlflow_states(killed) == dict.fromkeys((None, *map(str, range(trials))), "FINISHED")
    assert optuna_states(killed) == [TrialState.COMPLETE] * trials


def test_a_name_that_is_neither_a_file_nor_a_sweep(tmp_path, capsys):
    assert main(["doctor", "nothing", "--runs", str(tmp_path)]) == 2
    assert "unknown sweep" in capsys.readouterr().err
