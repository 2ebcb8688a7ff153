"""The MLflow UI, on this machine only."""

import os
import signal
import socket
import subprocess
import sys
from typing import IO

from lth_sweep.tracking.database import check
from lth_sweep.tracking.store import ENVIRONMENT, Place, sqlite_file


def serve_ui(place: Place, host: str = "127.0.0.1", port: int = 5000) -> int:
    """Serve the UI of a store until Ctrl-C; returns the exit status. If the port is taken, another one is used. A place
    that is a server has a UI already: its address is shown. Raises ConfigError for a SQLite file that is damaged."""
    if place.uri.startswith(("http:", "https:")):
        print(f"The MLflow UI is at {place}")
        return 0
    if (file := sqlite_file(place)) and file.exists():
        check(file)
    free = free_port(host, port)
    if free != port:
        print(f"Port {port} is taken; using {free}.")
    print(f"The MLflow UI of {place} is at http://{host}:{free} (Ctrl-C ends it).", flush=True)
    server = start(place, host, free)
    try:
        return server.wait()
    except KeyboardInterrupt:
        stop(server)
        return 0


def start(place: Place, host: str, port: int, output: IO[bytes] | None = None) -> "subprocess.Popen[bytes]":
    """The server, in a process group of its own: it has children, and Ctrl-C is for us to handle."""
    environment = {**ENVIRONMENT, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **os.environ}
    environment["MLFLOW_BACKEND_STORE_URI"] = place.uri  # no argument, which everybody on the machine can read
    return subprocess.Popen(command(place, host, port), env=environment, start_new_session=True,
                            stdout=output, stderr=output)  # fmt: skip


def stop(server: "subprocess.Popen[bytes]") -> None:
    """End the server and its children."""
    server.terminate()
    try:
        server.wait(timeout=10)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def command(place: Place, host: str, port: int) -> list[str]:
    """The server's command line. Artifacts are read from where the runs say that they are."""
    artifacts = ["--default-artifact-root", place.artifacts.as_uri()] if place.artifacts else []
    return [sys.executable, "-m", "mlflow", "server", *artifacts,
            "--host", host, "--port", str(port), "--workers", "1",
            "--uvicorn-opts", "--timeout-graceful-shutdown 1 --log-level warning"]  # fmt: skip


def free_port(host: str, wanted: int) -> int:
    """`wanted` if nothing listens there, otherwise any free port."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError(f"no free port on {host}")
