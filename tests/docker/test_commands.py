"""The commands of compose.yaml and of the Slurm script, run as they are written, as processes of this machine."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
import ray

from lth_sweep.orchestration.joining import different
from lth_sweep.orchestration.records import read
from lth_sweep.tracking.ui import free_port
from lth_sweep.versions import versions
from tests.docker.conftest import ROOT, Processes, compose
from tests.postgres import BINARIES, postgres

COMPOSE = compose()["services"]
SWEEP = """\
name: everywhere
trial:
  model: {kind: mlp, hidden: [16]}
  train: {length: 40 steps}
  levels: 2
  seeds: 2
space: {rate: {between: [0.3, 0.6]}}
search: {sampler: random, trials: 6}
stop: {race: null, hopeless: false}
verify: {top: 1, seeds: 1, controls: []}
"""


def test_versions_that_differ_are_named() -> None:
    head = {**versions(), "ray": "2.59.0"}
    assert different(versions(), versions()) == []
    assert different(head, versions()) == [f"ray is {ray.__version__} here, but 2.59.0 on the head"]


@pytest.fixture
def processes(processes: Processes) -> Processes:
    (processes.folder / "sweep.yaml").write_text(SWEEP)
    return processes


def command(service: str, address: str, *more: str) -> list[str]:
    words = [*COMPOSE[service].get("entrypoint", []), *(more or COMPOSE[service]["command"])]
    return [word.replace("head:6379", address) for word in words]


@pytest.mark.slow
@pytest.mark.skipif(BINARIES is None, reason="PostgreSQL is not installed")
def test_the_commands_of_compose(processes: Processes, tmp_path: Path) -> None:
    port = str(free_port("127.0.0.1", 0))
    address = f"127.0.0.1:{port}"
    with postgres() as database:
        urls = {name: database.database(name) for name in ("mlflow", "optuna")}
        tracking = str(free_port("127.0.0.1", 0))
        hosts = compose(MLFLOW_PORT=tracking)["services"]["mlflow"]["environment"]["ALLOWED_HOSTS"]
        processes.start("mlflow", command("mlflow", address), POSTGRES_URL=urls["mlflow"], PORT=tracking,
                        ARTIFACTS=str(tmp_path / "artifacts"), ALLOWED_HOSTS=hosts)  # fmt: skip
        processes.start("head", command("head", address), RAY_PORT=port, NODE_CPUS="0")
        for worker in ("one", "two"):
            processes.start(worker, command("worker", address), NODE_CPUS="1", NODE_GPUS="0")
        processes.wait_for(f"http://127.0.0.1:{tracking}/health")
        submit = [word.replace("/runs", str(tmp_path / "runs")) for word in command("submit", address, "sweep.yaml")]
        processes.start("submit", submit, LTH_SWEEP_TRACKING_URI=f"http://127.0.0.1:{tracking}",
                        LTH_SWEEP_STORAGE=urls["optuna"])  # fmt: skip
        assert processes.wait("submit") == 0, processes.said("submit")
        assert "everywhere: finished" in processes.said("submit")
        assert len(read(tmp_path / "runs/everywhere")) == 6
        assert list((tmp_path / "artifacts").rglob("sweep.yaml")), "the artifacts are served"
        assert not (tmp_path / "runs/mlflow.db").exists()
        assert not (tmp_path / "runs/everywhere/optuna.db").exists()
        processes.start("stranger", command("worker", address), RAY_AUTH_TOKEN="0" * 64)
        assert processes.wait("stranger") == 1
        assert "this node cannot join: " in processes.said("stranger")
        assert "InvalidAuthToken" in processes.said("stranger")
        processes.end()


FAKES = {
    "srun": '#!/bin/bash\nwhile [[ $1 == --* ]]; do shift; done\nNODE_CPUS=1 exec "$@"\n',
    "scontrol": '#!/bin/bash\nif [ "$1" = show ]; then echo 127.0.0.1; echo 127.0.0.1; else echo "$@" >>requeued; fi\n',
}


@pytest.mark.slow
def test_the_slurm_script_is_stopped_before_its_limit_and_goes_on_when_it_is_queued_again(
    processes: Processes, tmp_path: Path
) -> None:
    """Slurm's own commands are stood in for: srun runs its command here, scontrol names two nodes."""
    (tmp_path / "bin").mkdir()
    for name, text in FAKES.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    slurm = {
        "PATH": f"{tmp_path / 'bin'}:{processes.environment['PATH']}",
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_JOB_NODELIST": "two",
        "SLURM_SUBMIT_DIR": str(ROOT),
    }
    script = [str(ROOT / "docker/slurm/sweep.sh"), "sweep.yaml"]
    first = processes.start("first", script, **slurm)
    records = tmp_path / "runs/everywhere/records"
    while first.poll() is None and not list(records.glob("*")):
        time.sleep(0.1)
    first.send_signal(signal.SIGUSR1)
    assert first.wait(120) == 1, processes.said("first")
    assert "interrupted" in processes.said("first")
    assert (tmp_path / "requeued").read_text() == f"requeue {os.getpid()}\n"
    assert not list((tmp_path / "runs").glob(".ray-token-*"))

    processes.start("second", script, **slurm)
    assert processes.wait("second") == 0, processes.said("second")
    assert [trial.ending for trial in read(tmp_path / "runs/everywhere")] == ["finished"] * 6
    assert (tmp_path / "requeued").read_text().count("requeue") == 1
    lines = [json.loads(line) for path in records.glob("*") for line in path.read_text().splitlines()]
    assert sum("level" in line for line in lines) == 6 * 3  # no level was recorded twice
