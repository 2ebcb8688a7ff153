"""A real PostgreSQL server on loopback, from Debian's package, in a temporary folder."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from lth_sweep.tracking.ui import free_port

BINARIES = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)


class Postgres:
    """Can be stopped and started again at the same address. It refuses to run as root, and then runs as `nobody`."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port("127.0.0.1", 0)
        self._folder, self._data = folder, folder / "data"
        self._user = "nobody" if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        if self._user:
            os.chown(folder, pwd.getpwnam(self._user).pw_uid, -1)
        self._run("initdb", "-D", str(self._data), "-U", "sweeps", "-A", "trust", "--no-sync")

    def start(self) -> None:
        command = [self._binary("postgres"), "-D", str(self._data), "-p", str(self.port), "-c", "fsync=off",
                   "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self._folder}"]  # fmt: skip
        with (self._folder / "log.txt").open("ab") as log:
            self._process = subprocess.Popen(command, user=self._user, cwd=self._folder, stdout=log, stderr=log)
        for _ in range(600):
            assert self._process.poll() is None, (self._folder / "log.txt").read_text()
            ready = [self._binary("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
            if subprocess.run(ready, check=False).returncode == 0:
                return
            time.sleep(0.05)
        raise AssertionError((self._folder / "log.txt").read_text())

    def stop(self) -> None:
        """At once: connections are cut off, as by a crash; what was committed is there afterwards."""
        if self._process:
            self._process.send_signal(3)  # SIGQUIT, "immediate shutdown"
            self._process.wait()
            self._process = None

    def database(self, name: str) -> str:
        """The URL of a new, empty database."""
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "sweeps", name)
        return f"postgresql://sweeps@127.0.0.1:{self.port}/{name}"

    def _run(self, name: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._binary(name), *arguments], user=self._user, cwd=self._folder, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()

    def _binary(self, name: str) -> str:
        assert BINARIES
        return str(BINARIES / name)


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    server = Postgres(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)
