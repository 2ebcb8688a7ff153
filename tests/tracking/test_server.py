"""With a real MLflow server, which goes away and comes back."""

import time

import mlflow
import pytest

from lth_sweep.tracking.store import Place, reach
from tests.tracking.conftest import Server
from tests.tracking.sweeps import NAME, NO_MATCH, history, level, proposal, run_trial, start


def wait_for(said: list[str], words: str) -> None:
    for _ in range(600):
        if any(words in message for message in said):
            return
        time.sleep(0.05)
    raise AssertionError(said)


@pytest.fixture
def runs_of(server: Server):
    def find(sweep_id: str) -> dict[str | None, mlflow.entities.Run]:
        client = mlflow.MlflowClient(server.uri)
        experiment = client.get_experiment_by_name(NAME)
        runs = client.search_runs([experiment.experiment_id], f"tags.`lth.sweep_id` = '{sweep_id}'")
        numbers = [run.data.tags.get("lth.trial_number") for run in runs]
        assert len(set(numbers)) == len(numbers), "a run is doubled"
        return dict(zip(numbers, runs, strict=True))

    return find


def test_a_server_that_is_away_for_a_while(server, tmp_path, runs_of):
    said: list[str] = []
    listener = start(tmp_path, server.uri, said)
    run_trial(listener, 0)
    listener.trial_started(proposal(1))
    while listener._sender._queue:
        time.sleep(0.02)
    server.stop()
    before = time.monotonic()
    listener.level_done(proposal(1), level(0))
    wait_for(said, "does not answer")
    listener.level_done(proposal(1), level(1))
    listener.trial_ended(proposal(1), "finished", NO_MATCH)
    run_trial(listener, 2, outcome=NO_MATCH)
    assert time.monotonic() - before < 30
    server.start()
    listener.sweep_ended("finished")
    assert listener.missing == []
    assert [message.split(";")[0] for message in said] == [
        f"MLflow at {server.uri} does not answer", f"MLflow at {server.uri} answers again"]  # fmt: skip
    runs = runs_of((tmp_path / NAME / "sweep-id").read_text())
    assert {number: run.info.status for number, run in runs.items()} == dict.fromkeys(("0", "1", "2", None), "FINISHED")
    for number in "012":
        assert history(server.uri, runs[number], "level/density") == [(0, 1), (1, 0.5)]
        assert history(server.uri, runs[number], "training/train_loss/level-01") == [(10, 0.5), (20, 0.25)]
    assert runs[None].data.metrics["trials"] == 3


def test_a_server_that_never_comes(tmp_path):
    said: list[str] = []
    listener = start(tmp_path, "http://ann@127.0.0.1:9", said, patience=1.0)
    run_trial(listener)
    listener.sweep_ended("finished")
    assert sorted(listener.missing) == ["the sweep's own run: 2 updates not sent", "trial 0: 4 updates not sent"]
    assert len(said) == 2
    assert said[0].startswith("MLflow at http://***@127.0.0.1:9 does not answer")
    assert said[1].startswith("MLflow at http://***@127.0.0.1:9 lacks parts of this sweep")
    assert "ann@" not in "".join(said)


def test_a_run_that_was_created_although_the_answer_was_lost(server, tmp_path, runs_of, monkeypatch):
    create, lost = mlflow.MlflowClient.create_run, []

    def answer_lost(self, *args, **kwargs):
        run = create(self, *args, **kwargs)
        if len(lost) < 2:
            lost.append(run)
            raise ConnectionResetError("the answer was lost")
        return run

    monkeypatch.setattr(mlflow.MlflowClient, "create_run", answer_lost)
    listener = start(tmp_path, server.uri, [])
    run_trial(listener)
    listener.sweep_ended("finished")
    runs = runs_of((tmp_path / NAME / "sweep-id").read_text())
    assert {run.info.run_id for run in runs.values()} == {run.info.run_id for run in lost}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}


def test_what_mlflow_refuses_is_reported_and_the_rest_goes_on(server, tmp_path, runs_of):
    said: list[str] = []
    listener = start(tmp_path, server.uri, said)
    listener.trial_started(proposal(0))
    while listener._sender._queue:
        time.sleep(0.02)
    sweep_id = (tmp_path / NAME / "sweep-id").read_text()
    mlflow.MlflowClient(server.uri).delete_run(runs_of(sweep_id)["0"].info.run_id)  # by somebody, in the UI
    listener.level_done(proposal(0), level(0))
    run_trial(listener, 1)
    listener.sweep_ended("finished")
    assert len(listener.missing) == 1
    assert listener.missing[0].startswith("trial 0: MLflow refused an update")
    assert {number: run.info.status for number, run in runs_of(sweep_id).items()} == {"1": "FINISHED", None: "FINISHED"}


def test_whether_a_server_can_be_reached(server):
    version = mlflow.__version__
    assert reach(Place(server.uri, None)) == (True, f"{server.uri}, version {version} (here {version})")
    found, words = reach(Place("http://ann:secret@127.0.0.1:9", None))
    assert (found, words.startswith("http://***@127.0.0.1:9 does not answer")) == (False, True)
    found, words = reach(Place(f"{server.uri}/nowhere", None))
    assert (found, "answers with 404" in words) == (False, True)
