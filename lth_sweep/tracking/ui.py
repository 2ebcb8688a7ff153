"""The MLflow UI, on this machine only."""

import os
import socket
import subprocess
import sys

from lth_sweep.tracking.store import ENVIRONMENT, Place


def serve_ui(place: Place, host: str = "127.0.0.1", port: int = 5000) -> int:
    """Serve the UI of a store until Ctrl-C; returns the exit status. If the port is taken, another one is used.

    A place that is a server has a UI already: its address is shown.
    """
    if place.uri.startswith(("http:", "https:")):
        print(f"The MLflow UI is at {place}")
        return 0
    free = free_port(host, port)
    if free != port:
        print(f"Port {port} is taken; using {free}.")
    print(f"The MLflow UI of {place} is at http://{host}:{free} (Ctrl-C ends it).", flush=True)
    server = subprocess.Popen(command(place, host, free), env={**ENVIRONMENT, **os.environ})
    try:
        return server.wait()
    except KeyboardInterrupt:
        server.terminate()  # the terminal has sent it the same Ctrl-C; a caller's signal went to us alone
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        return 0


def command(place: Place, host: str, port: int) -> list[str]:
    """The server's command line. Artifacts are read from where the runs say that they are."""
    artifacts = ["--default-artifact-root", place.artifacts.as_uri()] if place.artifacts else []
    return [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", place.uri, *artifacts,
            "--host", host, "--port", str(port), "--workers", "1"]  # fmt: skip


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
