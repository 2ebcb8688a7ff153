"""The command, and the section of a sweep file that asks for a rescue, as processes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lth_sweep.sweepfile.load import load_spec

SWEEP = """\
name: poor
trial:
  model: {kind: mlp, hidden: [40, 20]}
  train: {length: 40 steps, optimizer: {kind: adam, lr: 0.01}, evaluate: 40 steps}
  rewind: reinit
  rate: 0.6
  levels: 2
  seeds: 2
space: {layer_rates.output: {choice: [0.5, 0.4]}}
objective: {match: {margin: 0.02}}
search: {sampler: grid, trials: 2}
stop: {patience: null, race: null, hopeless: false}
verify: {top: 0}
rescue: {density: 0.17, steps: 2000}
"""


def lth_sweep(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lth_sweep.cli", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a sweep that finds nothing was run, and then rescued by itself."""
    folder = tmp_path_factory.mktemp("command")
    (folder / "poor.yaml").write_text(SWEEP)
    done = lth_sweep("run", "poor.yaml", "--serial", cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "output").write_text(done.stdout)
    return folder


def rescue_folder(folder: Path) -> Path:
    [found] = [path for path in (folder / "runs").glob("poor-rescue-*") if "together" not in path.name]
    return found


def test_a_sweep_that_found_nothing_is_rescued_at_its_end(folder: Path) -> None:
    output = (folder / "output").read_text()
    found = json.loads((rescue_folder(folder) / "rescue.json").read_text())
    assert "No trial matches at 17.00% of the weights: looking for what helps." in output
    assert "Found, the strongest first:" in output
    assert found["findings"]
    assert all(finding["cause"] in output for finding in found["findings"])
    assert found["trial"] in (0, 1)
    assert sum(remedy["verdict"] != "not tried" for remedy in found["remedies"]) >= 1
    assert str(found["recipe"]) in output
    assert load_spec(folder / found["recipe"]).name == "poor-rescued"


def test_the_command_says_the_same_and_trains_nothing_again(folder: Path) -> None:
    before = json.loads((rescue_folder(folder) / "rescue.json").read_text())
    trial = str(before["trial"])
    done = lth_sweep("rescue", "poor", "--trial", trial, "--density", "0.17", "--steps", "2000", "--serial", "--json",
                     cwd=folder)  # fmt: skip
    assert done.returncode == 0, done.stderr
    after = json.loads(done.stdout)
    assert after["steps_trained"] == 0
    costs = {"steps_trained", "steps_reused", "steps_examination"}
    assert {key: value for key, value in after.items() if key not in costs} == {
        key: value for key, value in before.items() if key not in costs
    }


def test_every_key_of_the_json_is_documented(folder: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/rescue.md").read_text().split("## rescue.json")[1]
    found = json.loads((rescue_folder(folder) / "rescue.json").read_text())
    inner = [*found["findings"][0], *found["remedies"][0], *found["remedies"][0]["first"], *found["relu"][0][0]]
    for key in [*found, *inner]:
        if key != "layer":
            assert key in page, key


def test_mlflow_has_the_answer_on_the_run_of_the_rescue(folder: Path) -> None:
    import mlflow

    name = rescue_folder(folder).name
    found = json.loads((rescue_folder(folder) / "rescue.json").read_text())
    client = mlflow.MlflowClient(f"sqlite:///{folder / 'runs/mlflow.db'}")
    experiment = client.get_experiment_by_name(name).experiment_id
    runs = client.search_runs([experiment])
    [parent] = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert parent.data.tags["rescue.finding"] == found["findings"][0]["cause"]
    assert parent.data.tags["rescue.best"] == found["best"]
    assert parent.data.tags["rescue.of"] == f"poor, trial {found['trial']}, level {found['level']}"
    assert parent.info.status == "FINISHED"
    files = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert {"rescue.json", "rescue.html", "recipe.yaml", "sweep.yaml"} <= files
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len(children) == 1 + sum(remedy["trial"] is not None for remedy in found["remedies"])


def test_the_page_asks_for_nothing_from_outside_and_has_it_all(folder: Path) -> None:
    html = (rescue_folder(folder) / "rescue.html").read_text()
    body = html.split("<body>")[1].split("<script>")[0]
    found = json.loads((rescue_folder(folder) / "rescue.json").read_text())
    assert "default-src 'none'" in html
    for words in ("What was found", "What was tried", "How ReLU prunes", "The recipe"):
        assert f"<h2>{words}</h2>" in body
    for remedy in found["remedies"]:
        assert remedy["remedy"] in body
    assert "What each remedy made of the ticket" in body
    assert "Units that ReLU silences, and units that pruning removes" in body


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "unknown sweep in runs 'nowhere'; allowed: "),
        (["nowhere.yaml"], "nowhere.yaml: there is no such file"),
        (["poor", "--density", "1.5"], "--density: must be between 0 and 1 exclusive, but got 1.5"),
        (["poor", "--trial", "9"], "--trial: there is no trial 9 on record; there are: 0, 1"),
    ],
    ids=str,
)
def test_mistakes(arguments: list[str], message: str, folder: Path) -> None:
    done = lth_sweep("rescue", *arguments, "--serial", cwd=folder)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
