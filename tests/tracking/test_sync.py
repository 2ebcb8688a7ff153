"""MLflow ends equal to the records, metric by metric, whatever was away meanwhile."""

import json
import shutil
from collections import defaultdict
from functools import reduce
from pathlib import Path
from statistics import fmean, stdev

import mlflow
import pytest

from lth_sweep.cli import main
from lth_sweep.lottery.experiments import verification
from lth_sweep.orchestration.evidence import Evidence, candidates, save
from lth_sweep.orchestration.records import read
from lth_sweep.orchestration.running import run_sweep
from lth_sweep.sweepfile.load import load_spec
from lth_sweep.tracking import MlflowListener
from tests.orchestration.specs import SIMULATED as SPEC

COSTS = ("steps_trained", "steps_reused", "seconds")


@pytest.fixture(autouse=True)
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulated trials leave no network that could become one."""
    monkeypatch.setattr("lth_sweep.commands.sync.best_ticket", lambda spec, folder: None)


def run(runs: Path, text: str, *others, patience: float = 30.0) -> MlflowListener:
    """A sweep of simulated trials."""
    runs.mkdir(exist_ok=True)
    (runs / "spec.yaml").write_text(text)
    listener = MlflowListener(lambda message: None, patience)
    run_sweep(load_spec(runs / "spec.yaml"), runs, serial=True, work="tests.orchestration.simulated:run",
              listeners=[listener, *others], say=lambda message: None)  # fmt: skip
    return listener


def logged(uri: str, name: str) -> dict[int | None, mlflow.entities.Run]:
    client = mlflow.MlflowClient(uri)
    found = client.search_runs([client.get_experiment_by_name(name).experiment_id])
    numbers = [run.data.tags.get("lth.trial_number") for run in found]
    assert len(set(numbers)) == len(numbers), "a run is doubled"
    return {None if number is None else int(number): run for number, run in zip(numbers, found, strict=True)}


def histories(uri: str, run: mlflow.entities.Run) -> dict[str, list[tuple[int, float]]]:
    client = mlflow.MlflowClient(uri)
    return {
        name: [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
    }


def expected(trial) -> dict[str, list[tuple[int, float]]]:
    """What MLflow should have of a trial with all its seeds, from its records."""
    found = defaultdict(list)
    dense = {record.seed: record.metrics["accuracy"] for record in trial.levels[0]}
    for i, level in enumerate(trial.levels):
        rows = [
            {**record.metrics, **record.sizes, "density": record.density,
             "difference": record.metrics["accuracy"] - dense[record.seed]} for record in level
        ]  # fmt: skip
        for name in rows[0]:
            found[f"level/{name}"].append((i, fmean(row[name] for row in rows)))
        found["level/accuracy_sd"].append((i, stdev(row["accuracy"] for row in rows)))
        for name in COSTS:
            found[f"level/{name}"].append((i, sum(getattr(record, name) for record in level)))
        for record, row in zip(level, rows, strict=True):
            for name in ("accuracy", "difference", "loss"):
                found[f"level/seeds/{name}-seed-{record.seed}"].append((i, row[name]))
            curve = [(point.step, point.metrics["accuracy"]) for point in record.curve]
            found[f"training/accuracy/seeds/level-{i:02d}-seed-{record.seed}"] = curve
        for name in ("accuracy", "loss", "train_loss"):
            mean = fmean(
                {"train_loss": record.curve[0].train_loss, **record.curve[0].metrics}[name] for record in level
            )
            found[f"training/{name}/level-{i:02d}"] = [(level[0].curve[0].step, mean)]
    return found


def assert_equal(uri: str, runs: Path, name: str, trials: int = 3) -> None:
    found = logged(uri, name)
    records = read(runs / name)
    assert found.keys() == {None, *range(trials)} == {None, *(trial.number for trial in records)}
    assert {run.info.status for run in found.values()} == {"FINISHED"}
    assert found[None].data.metrics["trials"] == trials
    for trial in records:
        whole = histories(uri, found[trial.number])
        ends = {key: whole.pop(key)[-1][1] for key in list(whole) if not key.startswith(("level/", "training/"))}
        right = expected(trial)
        assert whole.keys() == right.keys()
        for key, points in right.items():
            assert [step for step, _ in whole[key]] == [step for step, _ in points], key
            assert [value for _, value in whole[key]] == pytest.approx([value for _, value in points], nan_ok=True), key
        assert ends["steps_trained"] == trial.steps_trained
        assert ends.get("smallest/params") == trial.outcome.value
        assert found[trial.number].data.tags["lth.ending"] == trial.ending


def sync(runs: Path, name: str, capsys) -> dict:
    capsys.readouterr()
    assert main(["sync", name, "--runs", str(runs), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


class Away:
    """Stops the server at one level, and starts it at another."""

    def __init__(self, server, stop: int, start: int) -> None:
        self.server, self.at, self.levels = server, {stop: server.stop, start: server.start}, 0

    def level_done(self, proposal, level):
        self.at.get(self.levels, lambda: None)()
        self.levels += 1

    def __getattr__(self, name):
        return lambda *args, **kwargs: None


def test_a_server_that_is_away_in_the_middle_of_a_sweep_lacks_nothing_after_it(server, tmp_path, capsys):
    text = SPEC.replace("NAME", "away-for-a-while") + f"tracking: {{uri: '{server.uri}'}}\n"
    assert run(tmp_path, text, Away(server, 3, 9)).missing == []
    assert_equal(server.uri, tmp_path, "away-for-a-while")
    done = sync(tmp_path, "away-for-a-while", capsys)
    assert (done["values"], done["made"], done["replaced"]) == (0, 0, 0)


def test_a_server_that_was_away_for_a_whole_sweep_gets_it_by_sync_and_once(server, tmp_path, capsys):
    text = SPEC.replace("NAME", "away-all-along") + f"tracking: {{uri: '{server.uri}'}}\n"
    server.stop()
    try:
        assert len(run(tmp_path, text, patience=0.2).missing) == 4
    finally:
        server.start()
    done = sync(tmp_path, "away-all-along", capsys)
    assert (done["trials"], done["made"], done["replaced"], done["missing"]) == (3, 4, 0, [])
    assert_equal(server.uri, tmp_path, "away-all-along")
    before = {
        number: (run.info, histories(server.uri, run)) for number, run in logged(server.uri, "away-all-along").items()
    }
    again = sync(tmp_path, "away-all-along", capsys)
    assert (again["values"], again["made"], again["replaced"]) == (0, 0, 0)
    for number, run_again in logged(server.uri, "away-all-along").items():
        info, points = before[number]
        assert (dict(run_again.info), histories(server.uri, run_again)) == (dict(info), points)


def test_more_seeds_replace_what_mlflow_says_of_fewer_and_more_levels_add_to_it(tmp_path, capsys):
    text = SPEC.replace("NAME", "grows")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    run(tmp_path, text)
    first = logged(uri, "grows")
    run(tmp_path, text.replace("seeds: 2", "seeds: 3").replace("trials: 3", "trials: 4"))
    assert_equal(uri, tmp_path, "grows", trials=4)
    second = logged(uri, "grows")
    assert second[None].info.run_id == first[None].info.run_id
    assert {number: run.data.params["seeds"] for number, run in second.items() if number is not None} == dict.fromkeys(
        range(4), "3"
    )
    assert sync(tmp_path, "grows", capsys)["values"] == 0


def test_what_contradicts_the_records_is_replaced_by_sync(tmp_path, capsys):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    run(tmp_path, SPEC.replace("NAME", "mine"))
    client, runs = mlflow.MlflowClient(uri), logged(uri, "mine")
    client.log_metric(runs[0].info.run_id, "level/accuracy", 1.0, step=9)
    client.log_metric(runs[1].info.run_id, "mine", 1.0)
    client.set_terminated(runs[2].info.run_id, "FAILED")
    done = sync(tmp_path, "mine", capsys)
    assert (done["made"], done["replaced"]) == (2, 2)
    assert_equal(uri, tmp_path, "mine")
    assert logged(uri, "mine")[2].info.run_id == runs[2].info.run_id


@pytest.fixture(scope="module")
def verified(tmp_path_factory) -> Path:
    """A sweep whose smallest network, level 4 of a trial, was refuted, and level 3 of the same trial found to match."""
    runs = tmp_path_factory.mktemp("verified")
    changes = {"NAME": "refuted", "levels: 3": "levels: 4", "{between: [0.2, 0.6]}": "{choice: [0.45, 0.2]}",
               "random, trials: 3": "grid, trials: 2", "top: 0": "top: 2, seeds: 3"}  # fmt: skip
    text = reduce(lambda text, change: text.replace(*change), changes.items(), SPEC)
    run(runs, text)
    tried = candidates(load_spec(runs / "spec.yaml"), read(runs / "refuted"))
    evidence = {}
    for one, lost in zip(tried, (40, 0), strict=True):
        pairs = [verification.Pair.of_shares(seed, 400, 0.95, 0.95 - lost / 400, 5, 5 + lost) for seed in one.seeds]
        evidence[one.key] = Evidence(verification.Tested(tuple(pairs), {}))
    save(runs / "refuted", evidence)
    assert run(runs, text).missing == []
    return runs


def test_mlflow_gives_the_same_answer_as_the_command(verified: Path, capsys):
    assert main(["best", "refuted", "--runs", str(verified), "--json"]) == 0
    best = json.loads(capsys.readouterr().out)
    found = logged(f"sqlite:///{verified}/mlflow.db", "refuted")
    assert (best["ticket"]["level"], best["verification"]["verdict"]["word"]) == (3, "matches")
    parent, trial = found[None].data, found[best["trial"]].data
    assert [parent.tags[name] for name in ("best.trial", "verdict.trial", "best.level", "best.rate", "verdict")] == [
        str(best["trial"]), str(best["trial"]), "3", "0.45", "matches"]  # fmt: skip
    words = f"{best['trial']:03d} {best['ticket']['density']:.2%} rate=0.45: 166 params, accuracy 0.9505"
    assert parent.tags["best"] == words
    sentence = best["verification"]["verdict"]["sentence"]
    assert parent.tags["mlflow.note.content"].startswith(f"{sentence}\n\nThe ticket: {words}\n")
    assert (trial.metrics["smallest/level"], trial.tags["verdict"]) == (4, "does not match")
    assert trial.tags["verdict.level-03"] == "matches"


def test_an_empty_mlflow_gets_by_sync_all_that_a_run_would_have_sent(verified: Path, tmp_path, capsys):
    shutil.copytree(verified / "refuted", tmp_path / "refuted")
    assert sync(tmp_path, "refuted", capsys)["made"] == 3
    first, again = (data(runs, "refuted") for runs in (verified, tmp_path))
    assert {name for name in again[None]["metrics"] if name.startswith("test/")} == {
        f"test/{name}" for name in ("accuracy", "accuracy_dense", "difference", "difference_lower", "difference_upper")
    }
    assert again == first


def data(runs: Path, name: str) -> dict[int | None, dict[str, dict]]:
    """All that each run has, but for which run its parent is."""
    return {
        number: {
            "metrics": run.data.metrics,
            "params": run.data.params,
            "tags": {tag: value for tag, value in run.data.tags.items() if tag != "mlflow.parentRunId"},
        }
        for number, run in logged(f"sqlite:///{runs}/mlflow.db", name).items()
    }


def test_an_answer_takes_the_place_of_the_one_before(verified: Path, tmp_path, capsys):
    shutil.copytree(verified, tmp_path, dirs_exist_ok=True)
    (tmp_path / "refuted/verification.json").unlink()
    sync(tmp_path, "refuted", capsys)
    tags = data(tmp_path, "refuted")[None]["tags"]
    assert tags["best.level"] == "4"
    assert tags["mlflow.note.content"].startswith(f"Smallest matching network: {tags['best']}\n")
    assert not [name for name in tags if name.startswith("verdict")]


def test_a_server_that_does_not_answer_is_said(tmp_path, capsys, monkeypatch):
    run(tmp_path, SPEC.replace("NAME", "mine") + "tracking: {uri: 'http://127.0.0.1:9'}\n", patience=0.2)
    monkeypatch.setattr(
        MlflowListener.__init__, "__defaults__", (print, 0.2, *MlflowListener.__init__.__defaults__[2:])
    )
    capsys.readouterr()
    assert main(["sync", "mine", "--runs", str(tmp_path)]) == 1
    assert "lacks parts of this sweep" in capsys.readouterr().out
