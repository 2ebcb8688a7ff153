"""The commands, as a user runs them: as processes, with their output and exit codes."""

import json
import os
import shutil
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
stop: {race: null, hopeless: false}
verify: {top: 2, seeds: 2}
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
    assert "over 2 fresh seeds" in output
    assert "export: lth-sweep export tiny" in output
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
    verified = found["verification"]
    assert verified["verdict"]["sentence"] in words
    assert verified["verdict"]["word"] in ("matches", "does not match", "undecided")
    assert (verified["seeds"], verified["examples"]) == ([2, 3], 300)
    assert f"{verified['test']['ticket']['mean']:.4f}" in words
    for kind in ("reinit", "shuffle"):
        assert f"{kind}: " in words
        assert f"{verified['controls'][kind]['accuracy']['mean']:.4f}" in words
    assert f"{verified['latency']['ticket']:.3f}" in words


def test_the_serial_twin_finds_out_the_same_about_the_candidates(folder: Path, tmp_path: Path) -> None:
    """And from the stages of the sweep on Ray it trains nothing."""
    from lth_sweep.orchestration.evidence import load

    stages = set((folder / "runs/stages").rglob("stage.json"))
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/stages").symlink_to(folder / "runs/stages")
    (tmp_path / "tiny.yaml").write_text(SWEEP)
    result = json.loads(lth_sweep("run", "tiny.yaml", "--serial", "--json", cwd=tmp_path).stdout)
    assert result["steps_trained"] == 0
    assert set((folder / "runs/stages").rglob("stage.json")) == stages
    assert load(tmp_path / "runs/tiny") == load(folder / "runs/tiny")


def test_the_verdict_is_on_the_sweeps_run_in_mlflow(folder: Path) -> None:
    import mlflow

    found = json.loads(lth_sweep("best", "tiny", "--json", cwd=folder).stdout)
    uri = f"sqlite:///{folder / 'runs/mlflow.db'}"
    [parent] = mlflow.MlflowClient(uri).search_runs(
        [mlflow.MlflowClient(uri).get_experiment_by_name("tiny").experiment_id], "tags.`verdict.sentence` != ''"
    )
    verified = found["verification"]
    assert parent.data.tags["verdict"] == verified["verdict"]["word"]
    assert parent.data.tags["verdict.sentence"] == verified["verdict"]["sentence"]
    assert parent.data.metrics["test/accuracy"] == pytest.approx(verified["test"]["ticket"]["mean"])
    assert parent.data.metrics["test/difference_lower"] == pytest.approx(verified["verdict"]["lower"])


def test_export_writes_the_answer(folder: Path, tmp_path: Path) -> None:
    from lth_sweep import load_ticket

    found = json.loads(lth_sweep("best", "tiny", "--json", cwd=folder).stdout)
    out = str(tmp_path / "ticket")
    done = lth_sweep("export", "tiny", "--out", out, "--formats", "safetensors,onnx", "--json", cwd=folder)
    assert done.stderr == ""
    exported = json.loads(done.stdout)
    assert (exported["trial"], exported["level"]) == (found["trial"], found["ticket"]["level"])
    assert exported["files"] == [f"{out}/{name}" for name in ("config.json", "ticket.onnx", "ticket.safetensors")]
    assert sum(parameter.numel() for parameter in load_ticket(out).parameters()) == exported["params"]
    assert exported["params"] <= exported["params_dense"] == found["dense"]["sizes"]["params"]


def test_stability_names_the_first_stable_step(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(SWEEP)
    at = "0 steps, 40 steps"
    found = json.loads(lth_sweep("stability", "tiny.yaml", "--at", at, "--json", cwd=tmp_path).stdout)
    assert [(record["step"], record["seed"]) for record in found["records"]] == [(0, 0), (0, 1), (40, 0), (40, 1)]
    words = lth_sweep("stability", "tiny.yaml", "--at", at, cwd=tmp_path).stdout
    assert "step 0 " in words
    assert (f"from step {found['stable_from']} on" if found["stable_from"] is not None else "Not stable") in words


def test_a_sweep_is_open_to_python(folder: Path) -> None:
    import lth_sweep as package

    sweep = package.Sweep.open(folder / "runs/tiny")
    best = sweep.best()
    assert best is not None
    assert best.to_json() == json.loads(lth_sweep("best", "tiny", "--json", cwd=folder).stdout)
    assert sweep.spec.name == "tiny"
    assert list(sweep.trials().trial) == list(range(len(sweep.records)))
    assert len(sweep.levels()) == sum(len(level) for trial in sweep.records for level in trial.levels)
    [point] = sweep.front()
    assert point.sizes["params"] == min(trial.outcome.value for trial in sweep.records if trial.outcome.value)
    assert "fresh seeds" in repr(sweep)
    assert sweep._repr_html_().startswith("<pre>tiny: ")
    with pytest.raises(package.ConfigError, match=r"no sweep\.yaml"):
        package.Sweep.open(folder)


def test_importing_the_package_imports_nothing_else_and_every_name_is_there() -> None:
    program = "import sys, lth_sweep; print([m for m in ('torch', 'ray', 'pandas', 'pydantic') if m in sys.modules])"
    imported = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert imported.stdout == "[]\n"
    import lth_sweep as package

    for name in package.__all__:
        assert getattr(package, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        package.nothing  # noqa: B018


def test_plan_runs_nothing(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(SWEEP)
    plan = json.loads(lth_sweep("plan", "tiny.yaml", "--json", cwd=tmp_path).stdout)
    assert plan["trials"] == 4
    assert plan["stages"] == 2 + 4 * 2 * 3
    assert plan["steps_alone"] - plan["steps"] == 3 * 2 * 60
    assert plan["steps"] <= 2 * 60 + 4 * 2 * 3 * 60
    # Two tickets on two seeds: a dense run, three levels and two controls, from the initial weights.
    assert plan["verification_steps"] == 2 * 2 * (60 + 5 * 60)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nowhere.yaml"], "nowhere.yaml"),
        (["best", "tyni"], "did you mean 'tiny'?"),
        (["status", "../tiny"], "unknown sweep"),
        (["export", "tiny", "--trial", "99"], "there is no trial 99"),
        (["export", "tiny", "--trial", "0", "--level", "99"], "has no level 99"),
        (["export", "tiny", "--seed", "99"], "has no seed 99; it has 0, 1"),
        (["export", "tiny", "--formats", "onnxx"], "did you mean 'onnx'?"),
        (["stability", "tiny.yaml", "--at", "60 steps"], "must be before the end"),
        (["stability", "tiny.yaml", "--at", "ten"], "expected a duration"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_2(arguments: list[str], message: str, folder: Path) -> None:
    done = lth_sweep(*arguments, cwd=folder)
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_copied_sweep_is_not_taken_for_the_other_one(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "runs/tiny", tmp_path / "runs/copy")
    for command in (["best", "copy"], ["report", "copy"], ["export", "copy"]):
        done = lth_sweep(*command, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert "runs/copy/sweep.yaml is of a sweep named 'tiny'" in done.stderr


def test_a_bad_file_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(SWEEP.replace("levels: 3", "levles: 3"))
    done = lth_sweep("run", "bad.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "bad.yaml, line 6: trial.levles: " in done.stderr
    assert "'levels'" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["bad.yaml"]


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (("margin: 0.05", "margin: 0.004"), "far below the noise"),
        (("margin: 0.05", "margin: 0.001"), "less than one of the 300 validation examples"),
        (("at: 10 steps", "at: 40 steps"), "rewind to later than a tenth"),
        (("{between: [0.3, 0.6]}\n  rewind: {choice: {init: init, early: {kind: step, at: 10 steps}}}",
          "{choice: [0.3]}"), "a single point"),
    ],
)  # fmt: skip
def test_plan_warns_of_likely_mistakes(change: tuple[str, str], note: str, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(SWEEP.replace(*change))
    [warning] = [text for text in json.loads(lth_sweep("plan", "tiny.yaml", "--json", cwd=tmp_path).stdout)["warnings"]
                 if note in text]  # fmt: skip
    assert warning


@pytest.mark.parametrize("port", ["70000", "65536", "0", "-1", "http"])
def test_a_port_that_is_none_is_refused(port: str, tmp_path: Path) -> None:
    done = lth_sweep("ui", f"--port={port}", cwd=tmp_path)
    assert done.returncode == 2
    assert f"argument --port: expected a port, a whole number from 1 to 65535, but got '{port}'" in done.stderr


def test_no_command_and_help_are_quick_and_plain(tmp_path: Path) -> None:
    assert lth_sweep(cwd=tmp_path).returncode == 2
    help_text = lth_sweep("--help", cwd=tmp_path)
    assert help_text.returncode == 0
    assert {"run", "plan", "status", "best", "export", "stability", "ui", "schema"} <= set(help_text.stdout.split())
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


def test_cache_shows_and_makes_room(folder: Path) -> None:
    rows = json.loads(lth_sweep("cache", "ls", "--json", cwd=folder).stdout)
    assert any(row["sweeps"] == ["tiny"] and row["bytes"] > 0 for row in rows)
    assert lth_sweep("cache", "gc", cwd=folder).returncode == 2
    kept = json.loads(lth_sweep("cache", "gc", "--older-than", "1", "--json", cwd=folder).stdout)
    assert kept == {"removed": 0, "bytes": 0}


def test_the_answer_can_be_about_latency(tmp_path: Path) -> None:
    """Latency is measured and not among the sizes of every record."""
    text = SWEEP.replace("minimize: params, match: {margin: 0.05}", "minimize: latency, match: {margin: 0.9}")
    (tmp_path / "tiny.yaml").write_text(text.replace("verify: {top: 2, seeds: 2}", "verify: {top: 0}"))
    done = lth_sweep("run", "tiny.yaml", "--trials", "1", "--serial", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "times lower latency: " in done.stdout


OWN = """\
from dataclasses import dataclass
from lth_sweep.lottery.pruning.criteria import Magnitude
@dataclass(frozen=True)
class Own(Magnitude):
    pass
"""


def test_a_sweep_is_found_by_its_name_from_anywhere_with_the_classes_beside_its_file(tmp_path: Path) -> None:
    project, runs, module = tmp_path / "project", tmp_path / "runs", "cli_beside"
    project.mkdir()
    (project / f"{module}.py").write_text(OWN)
    space = "space:\n  criterion: {choice: [magnitude, 'cli_beside:Own']}\n"
    (project / "tiny.yaml").write_text(SWEEP.replace("space:\n", space).replace("top: 2", "top: 0"))
    script = (
        "from pathlib import Path; from lth_sweep.sweepfile.load import load_spec\n"
        "from lth_sweep.orchestration.running import run_sweep\n"
        "run_sweep(load_spec('tiny.yaml'), Path('../runs'), serial=True, work='tests.orchestration.simulated:run')"
    )
    repository = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    subprocess.run([sys.executable, "-c", script], cwd=project, check=True, env=repository)
    found = lth_sweep("best", "tiny", cwd=tmp_path)
    assert (found.returncode, found.stderr) == (0, "")
    (project / f"{module}.py").rename(runs / "tiny" / f"{module}.py")
    lost = lth_sweep("best", "tiny", cwd=tmp_path)
    assert (lost.returncode, "or lie beside the sweep file" in lost.stderr) == (2, True)
    (project / "tiny.yaml").unlink()
    project.rmdir()  # as on another machine: beside its copy, then
    assert lth_sweep("best", "tiny", cwd=tmp_path).stdout == found.stdout
