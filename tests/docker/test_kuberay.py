"""What KubeRay makes of rayjob.yaml: the commands of a head, a worker and a submitter, run on this machine."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml

from lth_sweep.orchestration.records import read
from lth_sweep.tracking.ui import free_port
from tests.docker.conftest import ROOT, Processes
from tests.docker.test_commands import SWEEP

JOB = yaml.safe_load((ROOT / "docker/kubernetes/rayjob.yaml").read_text())["spec"]
CLUSTER = JOB["rayClusterSpec"]


def start(group: dict, *words: str) -> list[str]:
    """`ray start` with the group's parameters, as KubeRay's operator writes it; listening on loopback alone."""
    params = {**group["rayStartParams"], **dict(word.split("=") for word in words)}
    params |= {"dashboard-host": "127.0.0.1"} if "dashboard-host" in params else {}
    return ["ray", "start", *(f"--{name}={value}" for name, value in params.items()), "--block"]


@pytest.fixture
def own_folder() -> Iterator[Path]:
    """With a short name: the paths of Ray's sockets begin with it."""
    with TemporaryDirectory(dir="/tmp", prefix="ray-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.mark.slow
def test_the_job_and_its_retry(processes: Processes, own_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("aiohttp_cors", reason="ray[default] is not installed")
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    port, dashboard, agent = (str(free_port("127.0.0.1", 0)) for _ in range(3))
    head, worker = CLUSTER["headGroupSpec"], CLUSTER["workerGroupSpecs"][0]
    node = {
        "RAY_AUTH_MODE": CLUSTER["authOptions"]["mode"],
        "RAY_USAGE_STATS_ENABLED": "0",  # as in the image
        "RAY_TMPDIR": str(own_folder),  # as each container has its own; "auto" is looked up there
    }
    where = (
        f"port={port}",
        f"dashboard-port={dashboard}",
        f"dashboard-agent-listen-port={agent}",
        "node-ip-address=127.0.0.1",
    )
    processes.start("head", [*start(head, *where)[:2], "--head", *start(head, *where)[2:]], **node)
    processes.wait_for(f"http://127.0.0.1:{agent}/api/local_raylet_healthz")  # KubeRay's own probe
    processes.wait_for(f"http://127.0.0.1:{dashboard}")
    processes.start("worker", start(worker, f"address=127.0.0.1:{port}", "num-cpus=1"), **node)
    entrypoint = JOB["entrypoint"].replace("/runs", str(tmp_path / "runs")).replace("sweeps/quickstart", "sweep")
    submit = ["ray", "job", "submit", f"--address=http://127.0.0.1:{dashboard}"]
    written = []
    for attempt in ("first", "retry"):
        processes.start(attempt, [*submit, f"--submission-id={attempt}", "--", *shlex.split(entrypoint)], **node)
        assert processes.wait(attempt) == 0, processes.said(attempt)
        assert "everywhere: finished" in processes.said(attempt)
        written.append({path.name: path.read_bytes() for path in (tmp_path / "runs/everywhere/records").iterdir()})
    assert [trial.ending for trial in read(tmp_path / "runs/everywhere")] == ["finished"] * 6
    assert written[0] == written[1]
    assert "steps trained: 0;" in processes.said("retry")
