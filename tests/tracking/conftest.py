"""A real MLflow server on loopback."""

import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from lth_sweep.sweepfile.spec import SweepSpec
from lth_sweep.tracking import listener, sender
from lth_sweep.tracking.store import Place, locate
from lth_sweep.tracking.ui import free_port, start, stop
from tests.tracking.real import run, sweep


class Server:
    """Can be stopped and started again at the same address."""

    def __init__(self, place: Place, log: Path) -> None:
        self.port = free_port("127.0.0.1", 0)
        self.uri = f"http://127.0.0.1:{self.port}"
        self._place, self._log = place, log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = start(self._place, "127.0.0.1", self.port, log)
        for _ in range(600):
            assert self._process.poll() is None, self._log.read_text()
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=1):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise AssertionError(self._log.read_text())

    def stop(self) -> None:
        if self._process:
            stop(self._process)
            self._process = None


@pytest.fixture(scope="session", autouse=True)
def prompt() -> Iterator[None]:
    """News is sent soon, so that tests need not wait; an interrupted sweep waits for a slow machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sender, "GATHER_SECONDS", 0.05)
        patch.setattr(listener, "SHORT_SECONDS", 60.0)
        yield


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    server = Server(locate(folder), folder / "log.txt")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def swept(server: Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[SweepSpec, Path, mlflow.MlflowClient]:
    """A real sweep, its runs folder, and the server that has its report and its ticket."""
    folder = tmp_path_factory.mktemp("swept")
    spec = sweep(folder, "served", server.uri)
    run(spec, folder / "runs", bare=False)
    mlflow.set_tracking_uri(server.uri)
    return spec, folder / "runs", mlflow.MlflowClient(server.uri)
