"""Sweeps on s3:// give the records of the same sweep in a folder, whatever happens on the way."""

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from lth_sweep.cli import main
from lth_sweep.disk import StorageAway
from lth_sweep.lottery.runs.states import States
from lth_sweep.orchestration.records import Records, read
from lth_sweep.orchestration.running import run_sweep
from lth_sweep.remote import bucket, lease
from lth_sweep.remote.bucket import bucket_at
from lth_sweep.remote.mirror import runs_folder
from lth_sweep.results import Sweep
from lth_sweep.sweepfile.load import load_spec
from tests import s3

STEPS, SEEDS = 40, 2
SWEEP = f"""\
name: remote
trial:
  model: {{kind: mlp, hidden: [16]}}
  train: {{length: {STEPS} steps, optimizer: {{kind: adam, lr: 0.005}}}}
  levels: 2
  seeds: {SEEDS}
space:
  rate: {{between: [0.3, 0.6]}}
  rewind: {{choice: {{init: init, early: {{kind: step, at: 10 steps}}}}}}
objective: {{match: {{margin: 0.3}}}}
search: {{sampler: random, trials: 3}}
# These rules look at other trials, and so at the order in which trials end.
stop: {{race: null, hopeless: false, patience: null, duplicates: false}}
verify: {{top: 0}}
"""
Results = list[Any]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sweep") / "remote.yaml"
    path.write_text(SWEEP)
    return path


@pytest.fixture(scope="module")
def expected(file: Path) -> Results:
    """In a folder."""
    run_sweep(load_spec(file), file.parent / "runs", serial=True)
    return results(file.parent / "runs")


def results(runs: Path | str) -> Results:
    trials = Sweep.open(f"{runs}/remote").records
    return [
        (trial.number, dict(trial.picks), trial.ending, [record.result() for level in trial.levels for record in level])
        for trial in trials
    ]


def stored(uri: str) -> set[str]:
    """The stages that are there: trajectory/step."""
    entries = bucket_at(f"{uri}/stages").entries()
    return {f"{trajectory}/{int(step)}" for entry in entries for trajectory, _, step in [entry.key.partition("/")]
            if step.isdigit()}  # fmt: skip


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stages that this process trains, as it does."""
    found: list[str] = []

    def publish(self: States, path: Any, step: int, state: Any, publish: Callable[..., None] = States._publish) -> None:
        found.append(f"{path.digest}/{step}")
        publish(self, path, step, state)

    monkeypatch.setattr(States, "_publish", publish)
    return found


class At:
    """A listener that does something once, when so many levels are done."""

    def __init__(self, levels: int, action: Callable[[], None]) -> None:
        self.left, self.action = levels, action

    def level_done(self, proposal: Any, level: Any) -> None:
        self.left -= 1
        if self.left == 0:
            self.action()

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: None


def test_the_commands_see_on_one_machine_what_another_has_run(
    uri: str, file: Path, expected: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "never-to-be-shown")
    (tmp_path / "verified.yaml").write_text(SWEEP.replace("{top: 0}", "{top: 1, seeds: 2, controls: []}"))
    result = run_sweep(load_spec(tmp_path / "verified.yaml"), uri, serial=True)
    assert results(uri) == expected
    monkeypatch.setenv("LTH_SWEEP_CACHE", str(tmp_path / "elsewhere"))

    def command(name: str, *arguments: str, code: int = 0) -> str:
        assert main([name, *arguments, "--runs", uri]) == code
        return capsys.readouterr().out

    assert json.loads(command("status", "remote", "--json"))["trials"] == {"finished": 3}
    assert f"--runs {uri}" in command("best", "remote")
    report = Path(command("report", "remote").strip())
    assert report.is_relative_to(tmp_path / "elsewhere")
    [exported] = json.loads(command("export", "remote", "--formats", "safetensors", "--json"))["files"][-1:]
    for path in (report, Path(exported)):
        key = path.relative_to(runs_folder(uri)).as_posix()
        found = bucket_at(uri).get(key)
        assert found is not None
        assert found.content == path.read_bytes()
    [row] = [row for row in json.loads(command("cache", "ls", "--json")) if row["sweeps"]]
    assert row["sweeps"] == ["remote"]
    before = stored(uri)
    assert json.loads(command("cache", "gc", "--gone", "--json"))["removed"] > 0  # what only the verification needed
    assert stored(uri) < before
    checks = {check["about"]: check for check in json.loads(command("doctor", "remote", "--json"))["checks"]}
    assert checks["storage"]["text"] == "written and read here"
    assert checks["disk"]["text"] == f"stages are kept in {uri}; of them up to 10 GB on each machine"
    assert bucket_at(uri).folders() == ["remote", "stages"]  # no marker is left
    assert main(["status", "remot", "--runs", uri]) == 2
    assert f"unknown sweep in {uri} 'remot'; allowed: remote" in capsys.readouterr().err
    assert Sweep.open(f"{uri}/remote").best() is not None
    assert f"lth-sweep export remote --runs {uri}" in repr(Sweep.open(f"{uri}/remote"))
    texts = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    texts += [found.content for entry in bucket_at(uri).entries() if (found := bucket_at(uri).get(entry.key))]
    assert len(texts) > 50
    assert not any(b"never-to-be-shown" in text for text in texts)
    assert result.folder.is_relative_to(tmp_path / "cache")


@pytest.fixture
def cluster(uri: str, tmp_path: Path) -> Iterator[str]:
    """Two nodes that share no folder."""
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])  # for the workers
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.add_node(num_cpus=1, env_vars={"LTH_SWEEP_CACHE": str(tmp_path / "other")})
    ray.init(nodes.address, log_to_driver=False, logging_level="ERROR")
    yield nodes.address
    ray.shutdown()
    nodes.shutdown()


def test_two_nodes_share_what_they_train(uri: str, cluster: str, file: Path, expected: Results, tmp_path: Path) -> None:
    run_sweep(load_spec(file), uri, ray_address=cluster)
    assert results(uri) == expected
    dense = [record for trial in Sweep.open(f"{uri}/remote").records for record in trial.levels[0]]
    assert len(dense) == 3 * SEEDS
    assert sum(record.steps_trained for record in dense) == SEEDS * STEPS  # once for each seed
    cached = [{path.name for path in (tmp_path / name / "stages").glob("*/*")} for name in ("cache", "other")]
    assert all(cached)
    assert cached[0] | cached[1] == {stage.partition("/")[0] for stage in stored(uri)}


@pytest.mark.parametrize("kind", [StorageAway, bucket.Denied])
def test_what_a_worker_cannot_reach_ends_the_run_and_is_no_fault_of_its_trial(kind: type[StorageAway]) -> None:
    from lth_sweep.orchestration.ray_tune import LevelTrainable, _Trials

    def levels() -> Iterator[Any]:
        raise kind("cannot reach it") from OSError()
        yield

    worker, trials = LevelTrainable.__new__(LevelTrainable), _Trials.__new__(_Trials)
    worker.levels = levels()
    result = pickle.loads(pickle.dumps(worker.step()))  # noqa: S301
    trials.error = None
    assert not trials("", {"config": {"number": 0}, **result})
    assert type(trials.error) is kind
    assert str(trials.error) == "cannot reach it"


DIES = """
import os, signal, sys
from pathlib import Path
from types import SimpleNamespace
from lth_sweep.lottery.runs.states import States
from lth_sweep.orchestration.running import run_sweep
from lth_sweep.remote import lease
from lth_sweep.sweepfile.load import load_spec

lease._machine, lease.BEAT_SECONDS = (lambda: "elsewhere"), 0.3
left, publish = 7, States._publish

def dies(*arguments):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    publish(*arguments)

States._publish = dies
run_sweep(load_spec(sys.argv[1]), sys.argv[2], serial=True)
"""


def test_another_machine_goes_on_where_a_killed_driver_ended(
    uri: str, file: Path, expected: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: list[str]
) -> None:
    """It is killed while it holds the sweep's lease, and those of what it trains."""
    done = subprocess.run([sys.executable, "-c", DIES, str(file), uri], check=False)
    assert done.returncode == -signal.SIGKILL
    before = stored(uri)
    monkeypatch.setenv("LTH_SWEEP_CACHE", str(tmp_path / "elsewhere"))
    assert len(before) == 6
    run_sweep(load_spec(file), uri, serial=True)
    assert results(uri) == expected
    assert not before & set(trained)
    assert len(trained) == len(set(trained))
    assert before | set(trained) == stored(uri)


def test_a_store_that_is_away_for_seconds_is_waited_for(
    uri: str, line: s3.Line, file: Path, expected: Results, trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut() -> None:
        line.cut()
        threading.Timer(1.5, line.join).start()

    run_sweep(load_spec(file), uri, serial=True, listeners=[At(4, cut)])  # type: ignore[list-item]
    assert results(uri) == expected
    assert len(trained) == len(set(trained))


@pytest.mark.parametrize("while_what", ["training", "recording"])
def test_a_store_that_stays_away_ends_the_run_and_the_next_goes_on(
    uri: str, line: s3.Line, file: Path, expected: Results, trained: list[str], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], while_what: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(bucket, "AWAY_SECONDS", 0.5)
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.3)  # its own leases, which it could not free
    listeners = [At(4, line.cut)] if while_what == "training" else []

    def put_level(self: Records, trial: Any, level: Any, put: Callable[..., Any] = Records.put_level) -> Any:
        if while_what == "recording" and (trial.number, level[0].level) == (1, 1):
            line.cut()
        return put(self, trial, level)

    with monkeypatch.context() as patched:
        patched.setattr(Records, "put_level", put_level)
        with pytest.raises(StorageAway, match=f"cannot reach {uri}"):
            run_sweep(load_spec(file), uri, serial=True, listeners=listeners)  # type: ignore[arg-type]
    known = [trial.faults for trial in read(runs_folder(uri) / "remote")]
    assert known == [0, 0]  # it is no fault of the trial
    assert main(["status", "remote", "--runs", uri]) == 1
    assert "Nothing is damaged. Once it can be reached, the same command goes on" in capsys.readouterr().err
    assert main(["run", str(file), "--serial", "--runs", uri]) == 2
    assert f"storage: cannot reach {uri}" in capsys.readouterr().err
    line.join()
    run_sweep(load_spec(file), uri, serial=True)
    assert results(uri) == expected
    again = [stage for stage in set(trained) if trained.count(stage) > 1]
    assert len(again) <= SEEDS * (while_what == "training")  # what was trained and could not be stored


def test_a_store_that_cannot_be_used_is_refused_before_anything_runs(
    uri: str, file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(runs: str = uri) -> str:
        assert main(["run", str(file), "--serial", "--runs", runs]) == 2
        return capsys.readouterr().err

    assert "s3://nobody/x: there is no such bucket; make it, or name another one" in refused("s3://nobody/x")
    monkeypatch.setattr(bucket.Bucket, "create", lambda self, key, content: "tag")
    assert f"{uri} does not know conditional writes (If-None-Match)" in refused()
    monkeypatch.undo()
    monkeypatch.setattr(bucket, "FIRST_SECONDS", 0.1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert "(AWS_ENDPOINT_URL is http://127.0.0.1:1)" in refused()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://store.example")
    assert "AWS_ENDPOINT_URL is http://store.example, where everything can be read on the way" in refused()
