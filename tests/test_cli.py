"""The commands, as a user runs them: as processes, with their output and exit codes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SWEEP = """\
name: tiny
trial:
  data: digits
  model: {kind: mlp, hidden: [32, 16]}
  train: {length: 60 steps, optimizer: {kind: adam, lr: 0.005}}
  levels: 3
  seeds: 2
space:
  rate: {between: [0.3, 0.6]}
  rewind: {choice: {init: init, early: {kind: step, at: 10 steps}}}
objective: {minimize: params, match: {margin: 0.05}}
search: {sampler: random, trials: 4}
"""


def lth_sweep(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lth_sweep.cli", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, **variables},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tiny sweep has been run, on Ray."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "tiny.yaml").write_text(SWEEP)
    done = lth_sweep("run", "tiny.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (folder / "output").write_text(done.stdout)
    return folder


def test_run_says_what_it_found_and_what_it_cost(folder: Path) -> None:
    output = (folder / "output").read_text()
    status = json.loads(lth_sweep("status", "tiny", "--json", cwd=folder).stdout)
    assert sum(status["trials"].values()) == status["planned"] == 4
    assert f"steps trained: {status['steps_trained']:,}; steps reused: {status['steps_reused']:,}" in output
    assert f"{status['best']['ticket']['density']:.2%} of the weights" in output
    assert "level " in output
    assert {path.name for path in (folder / "runs").iterdir()} >= {"mlflow.db", "stages", "tiny"}


def test_the_dense_network_was_trained_once_per_seed(folder: Path) -> None:
    """4 trials want 2 dense runs of 60 steps each: 120 steps are trained, 3 * 120 are reused."""
    import pandas as pd

    table = pd.read_parquet(folder / "runs" / "tiny" / "levels.parquet")
    dense = table[table.level == 0]
    assert len(dense) == 8
    assert dense.groupby("seed").steps_trained.sum().tolist() == [60, 60]
    assert dense.groupby("seed").stage.nunique().tolist() == [1, 1]
    assert dense.steps_reused.sum() == 3 * 120


def test_running_again_trains_nothing_and_says_the_same(folder: Path) -> None:
    again = lth_sweep("run", "tiny.yaml", cwd=folder)
    assert again.returncode == 0
    assert "steps trained: 0;" in again.stdout
    last = (folder / "output").read_text().split("steps reused")[1].split("\n", 1)[1]
    assert again.stdout.split("steps reused")[1].split("\n", 1)[1] == last


def test_trials_extends_a_sweep(folder: Path) -> None:
    result = json.loads(lth_sweep("run", "tiny.yaml", "--trials", "5", "--serial", "--json", cwd=folder).stdout)
    assert sum(result["trials"].values()) == 5
    assert 0 < result["steps_trained"] <= 2 * 3 * 60


def test_best_and_its_json_say_the_same(folder: Path) -> None:
    words = lth_sweep("best", "tiny", cwd=folder).stdout
    found = json.loads(lth_sweep("best", "tiny", "--json", cwd=folder).stdout)
    assert found.keys() >= {"trial", "picks", "seeds", "metric", "margin", "difference", "dense", "ticket"}
    assert f"{found['ticket']['density']:.2%}" in words
    assert f"{found['ticket']['sizes']['params']:,.0f}" in words
    assert found["difference"] >= -0.05 - 1e-9
    assert found["ticket"]["sizes"]["params"] < found["dense"]["sizes"]["params"]


def test_plan_runs_nothing(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(SWEEP)
    plan = json.loads(lth_sweep("plan", "tiny.yaml", "--json", cwd=tmp_path).stdout)
    assert plan["trials"] == 4
    assert plan["stages"] == 2 + 4 * 2 * 3
    assert plan["steps_alone"] - plan["steps"] == 3 * 2 * 60
    assert plan["steps"] <= 2 * 60 + 4 * 2 * 3 * 60
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nowhere.yaml"], "nowhere.yaml"),
        (["best", "tyni"], "did you mean 'tiny'?"),
        (["status", "../tiny"], "unknown sweep"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_2(arguments: list[str], message: str, folder: Path) -> None:
    done = lth_sweep(*arguments, cwd=folder)
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_bad_file_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(SWEEP.replace("levels: 3", "levles: 3"))
    done = lth_sweep("run", "bad.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "bad.yaml, line 6: trial.levles: " in done.stderr
    assert "'levels'" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["bad.yaml"]


def test_no_command_and_help_are_quick_and_plain(tmp_path: Path) -> None:
    assert lth_sweep(cwd=tmp_path).returncode == 2
    help_text = lth_sweep("--help", cwd=tmp_path)
    assert help_text.returncode == 0
    assert {"run", "plan", "status", "best", "ui", "schema"} <= set(help_text.stdout.split())
    program = "import sys, lth_sweep.cli as c; c.parser(); print({'torch', 'ray', 'mlflow'} & set(sys.modules))"
    imported = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert imported.stdout == "set()\n"


def test_an_interrupted_run_says_so_and_goes_on(tmp_path: Path) -> None:
    text = SWEEP.replace("60 steps", "3000 steps").replace("name: tiny", "name: long")
    (tmp_path / "long.yaml").write_text(text)
    command = [sys.executable, "-m", "lth_sweep.cli", "run", "long.yaml", "--serial"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    records = tmp_path / "runs" / "long" / "records" / "000.jsonl"
    deadline = time.monotonic() + 120
    while not (records.exists() and records.read_text().count("\n") >= 2):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "goes on from here" in errors
    assert "Traceback" not in errors
    (tmp_path / "long.yaml").write_text(text)
    result = json.loads(lth_sweep("run", "long.yaml", "--trials", "4", "--serial", "--json", cwd=tmp_path).stdout)
    assert sum(result["trials"].values()) == 4
    status = json.loads(lth_sweep("status", "long", "--json", cwd=tmp_path).stdout)
    assert status["trials"] == result["trials"]
