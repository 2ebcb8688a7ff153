"""The ticket of a real sweep as a registered model, on a real server."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import mlflow
import torch
from torch import nn

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.orchestration.evidence import answer
from lth_sweep.orchestration.running import run_sweep
from lth_sweep.orchestration.tickets import best_ticket, choose
from lth_sweep.tracking import MlflowListener
from lth_sweep.tracking.ui import free_port
from tests.tracking.real import run, sweep
from tests.tracking.sweeps import store


def test_what_is_loaded_is_the_compacted_network(swept):
    spec, runs, _ = swept
    ticket = choose(spec, runs).load()
    loaded = mlflow.pytorch.load_model(f"models:/lth-{spec.name}@smallest")
    x = ticket.splits.validation.x
    for some in (x, x[:1]):
        assert torch.allclose(loaded(some), ticket.module(some), atol=1e-5)
    shapes = [sorted(tuple(tensor.shape) for tensor in network.parameters()) for network in (loaded, ticket.compact)]
    assert shapes[0] == shapes[1]
    params = sum(tensor.numel() for tensor in loaded.parameters())
    assert params < sum(tensor.numel() for tensor in ticket.module.parameters())


def test_the_version_says_what_it_is_and_belongs_to_the_sweeps_run(swept):
    spec, runs, client = swept
    found = answer(spec, runs / spec.name)
    version = client.get_model_version_by_alias(f"lth-{spec.name}", "smallest")
    expected = {"trial": str(found.trial), "level": str(found.ticket.level), "compact": "yes",
                "verdict": found.verification.verdict.word}  # fmt: skip
    assert expected.items() <= version.tags.items()
    assert found.verification.verdict.sentence in version.description
    parent = client.get_run(version.run_id)
    assert parent.info.run_name == spec.name
    assert parent.info.status == "FINISHED"
    [child] = client.search_runs([parent.info.experiment_id], "tags.`lth.trial_number` = '0'")
    assert child.data.tags["verdict"] == found.verification.verdict.word
    assert (child.info.status, child.data.tags["lth.ending"]) == ("FINISHED", "finished")
    assert child.info.run_name == f"000 {found.ticket.density:.2%} rate=0.3"
    [output] = parent.outputs.model_outputs
    assert version.source == client.get_logged_model(output.model_id).artifact_location
    logged = client.get_logged_model(output.model_id)
    assert (logged.name, str(logged.status)) == ("ticket", "READY")
    info = mlflow.models.get_model_info(f"models:/{output.model_id}")
    assert info.signature.inputs.to_dict()[0]["tensor-spec"] == {"dtype": "float32", "shape": (-1, 1, 8, 8)}
    assert info.signature.outputs.to_dict()[0]["tensor-spec"] == {"dtype": "float32", "shape": (-1, 10)}
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{output.model_id}"))
    assert (folder / "data" / "model.pt2").exists()
    assert not [path for path in folder.rglob("*") if path.suffix in (".pth", ".pkl")]
    example = json.loads((folder / "serving_input_example.json").read_text())["inputs"]
    assert torch.allclose(torch.tensor(example), choose(spec, runs).load().splits.validation.x[:4])


def test_mlflow_serves_it(swept, tmp_path):
    spec, runs, client = swept
    port = free_port("127.0.0.1", 0)
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", f"models:/lth-{spec.name}@smallest",
               "--env-manager", "local", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]  # fmt: skip
    environment = {**os.environ, "MLFLOW_TRACKING_URI": client.tracking_uri, "MLFLOW_DISABLE_TELEMETRY": "true",
                   "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}  # fmt: skip  # its uvicorn
    ticket = choose(spec, runs).load()
    x = ticket.splits.validation.x[:3]
    with (tmp_path / "log.txt").open("wb") as log:
        served = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            for _ in range(600):
                assert served.poll() is None, (tmp_path / "log.txt").read_text()
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=1):
                        break
                except (urllib.error.URLError, OSError):
                    time.sleep(0.1)
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/invocations",
                json.dumps({"inputs": x.tolist()}).encode(),
                {"Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=60) as response:
                predictions = torch.tensor(json.load(response)["predictions"])
        finally:
            served.terminate()
            served.wait(20)
    with torch.no_grad():
        expected = ticket.module(x)
    assert torch.allclose(predictions, expected, atol=1e-5)
    assert predictions.argmax(1).tolist() == expected.argmax(1).tolist()


def test_run_again_it_logs_nothing_new_and_a_better_answer_is_a_new_version(tmp_path):
    client, name = mlflow.MlflowClient(store(tmp_path)), "lth-extended"

    def versions() -> dict[int, str]:
        return {
            int(version.version): version.tags["trial"] for version in client.search_model_versions(f"name = '{name}'")
        }

    def smallest() -> mlflow.entities.model_registry.ModelVersion:
        return client.get_model_version_by_alias(name, "smallest")

    runs = tmp_path / "runs"
    run(sweep(tmp_path, "extended", store(tmp_path), top=0), runs)
    assert smallest().tags["verdict"] == "not verified"
    assert versions() == {1: "0"}
    run(sweep(tmp_path, "extended", store(tmp_path)), runs)
    assert versions() == {1: "0"}
    assert smallest().tags["verdict"] in ("matches", "undecided")
    assert "fresh seeds" in smallest().description
    spec = sweep(tmp_path, "extended", store(tmp_path), trials=2)
    run(spec, runs)
    assert answer(spec, runs / "extended").trial == 1
    assert versions() == {1: "0", 2: "1"}
    assert (int(smallest().version), smallest().tags["trial"]) == (2, "1")
    run(spec, runs)
    assert len(versions()) == 2
    experiment = client.get_experiment_by_name("extended").experiment_id
    assert len(client.search_logged_models([experiment])) == 2


def test_a_first_try_that_failed_half_way_is_gone_on_with(server, tmp_path, monkeypatch):
    create, failures = mlflow.MlflowClient.create_model_version, []

    def fail_once(self, *arguments, **options):
        if not failures:
            failures.append(1)
            raise ConnectionResetError("the server was away")
        return create(self, *arguments, **options)

    monkeypatch.setattr(mlflow.MlflowClient, "create_model_version", fail_once)
    listener = MlflowListener([].append, ticket=best_ticket)
    run_sweep(sweep(tmp_path, "broken", server.uri, top=0), tmp_path / "runs", serial=True, listeners=[listener])
    assert (failures, listener.missing) == ([1], [])
    client = mlflow.MlflowClient(server.uri)
    assert client.get_model_version_by_alias("lth-broken", "smallest").version == "1"
    assert len(client.search_logged_models([client.get_experiment_by_name("broken").experiment_id])) == 1


def test_a_network_that_cannot_be_compacted_is_logged_masked(server, tmp_path, monkeypatch):
    def refuse(module: nn.Module, *arguments: object) -> nn.Module:
        raise ConfigError("cannot remove units")

    spec, runs = sweep(tmp_path, "masked", server.uri, top=0), tmp_path / "runs"
    monkeypatch.setattr("lth_sweep.lottery.ticket.ticket.compact", refuse)
    run(spec, runs)
    client = mlflow.MlflowClient(server.uri)
    assert client.get_model_version_by_alias("lth-masked", "smallest").tags["compact"] == "no"
    mlflow.set_tracking_uri(server.uri)
    loaded, ticket = mlflow.pytorch.load_model("models:/lth-masked@smallest"), choose(spec, runs).load()
    assert [tuple(one.shape) for one in loaded.parameters()] == [tuple(one.shape) for one in ticket.module.parameters()]
    assert torch.equal(loaded(ticket.splits.validation.x), ticket.module(ticket.splits.validation.x))
