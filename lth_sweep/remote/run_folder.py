"""The folder of one sweep, in a runs folder on this machine or in an object store."""

import contextlib
import fcntl
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.remote.bucket import Denied
from lth_sweep.remote.lease import lease
from lth_sweep.remote.mirror import LEASE, Mirror, mirror_of, stages_of


@dataclass(frozen=True)
class _Inside:
    """The path of a file or folder in the run's."""

    name: str

    def __get__(self, folder: "RunFolder", owner: type) -> Path:
        return folder.path / self.name


@dataclass(frozen=True)
class RunFolder:
    """runs/NAME, and every path in it. Where the runs folder is a mirror (see `mirror`) so is this one: `fetch` it
    before it is read, `keep` what others should see at once, `push` the rest; for an ordinary one they do nothing."""

    path: Path

    file = _Inside("sweep.yaml")
    """The sweep file, word for word."""
    meaning = _Inside("sweep.json")
    """What it means, with every default written out."""
    source = _Inside("sweep.origin")
    """Where it was: modules that it imports lie there."""
    identity = _Inside("sweep-id")
    """Which sweep this is, wherever the folder goes."""
    identity_copy = _Inside("sweep-id.copy")
    study = _Inside("optuna.db")
    """Optuna's, where it has no server. Made anew from the records where it is gone."""
    records = _Inside("records")
    """The truth: a file per trial, see `record`."""
    logs = _Inside("logs")
    """Tracebacks of failed attempts, a file per trial, see `log`."""
    verification = _Inside("verification.json")
    """What fresh seeds and the test split have said of the candidates."""
    levels = _Inside("levels.parquet")
    """A row per trial, seed and level."""
    trials = _Inside("trials.parquet")
    """A row per trial."""
    report = _Inside("report.html")
    tickets = _Inside("tickets")
    """A folder per exported ticket, see `ticket`."""
    rescue = _Inside("rescue.json")
    """The answer of a rescue, where the sweep was one."""
    rescue_page = _Inside("rescue.html")
    rescue_recipe = _Inside("recipe.yaml")
    """What a rescue advises, as a sweep file."""
    damaged = _Inside("damaged")
    """Files that did not agree with their sums; what they lack is run again."""
    lock = _Inside("lock")
    """Locked while a process works on the sweep, and says who it is."""
    running = _Inside("running")
    """The number of the trial that a serial run is at."""
    tune = _Inside("ray")
    """Ray Tune's, while a sweep runs."""

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        """The sweep's."""
        return self.path.name

    @property
    def runs(self) -> Path:
        """The runs folder that it is in, on this machine."""
        return self.path.parent

    @property
    def stages(self) -> Path | str:
        """The folder, or the URI, of the stages that all sweeps of the runs folder share."""
        return stages_of(self.runs)

    @property
    def exists(self) -> bool:
        """Whether there is a sweep."""
        return self.file.is_file()

    def record(self, number: int) -> Path:
        """Of a trial."""
        return self.records / f"{number:03d}.jsonl"

    def record_files(self) -> list[Path]:
        """Of all trials, the first first."""
        return sorted(self.records.glob("*.jsonl"))

    def log(self, number: int) -> Path:
        """Of a trial."""
        return self.logs / f"{number:03d}.txt"

    def ticket(self, trial: int, level: int, seed: int) -> Path:
        return self.tickets / f"trial-{trial}-level-{level}-seed-{seed}"

    def fetch(self) -> None:
        """Bring it up to what the store has. While a process of this machine writes it, it is."""
        if (mirror := self._mirror) is None:
            return
        with mirror.unwatched(), contextlib.ExitStack() as idle:
            if self.path.exists():
                file = idle.enter_context(open(self.lock, "a"))
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return
            try:
                mirror.fetch()
            except Denied as error:
                raise ConfigError(str(error), "runs") from error

    def keep(self, *paths: Path) -> None:
        """Send files of it that were just written."""
        if mirror := self._mirror:
            for path in paths:
                mirror.send(path.relative_to(self.path).as_posix())

    def push(self) -> None:
        """Send all that has changed in it."""
        if mirror := self._mirror:
            mirror.push()

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Inside, no other process is in here for the same folder, which is made where it is not there.

        A lock of the operating system, also on a shared file system: it ends with the process that holds it, however
        that dies, so that nothing is left to be cleared away. For a mirror there is a lease in the object store as
        well, and both sides are in line at the start and at the end. Raises ConfigError where another one holds it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        mirror = self._mirror
        with open(self.lock, "a+", errors="replace") as file:
            try:
                with mirror.unwatched() if mirror else contextlib.nullcontext():
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise _being_run(self.path, file.read().strip() or "another process") from None
            file.truncate(0)
            print(f"process {os.getpid()} on {socket.gethostname()}", file=file, flush=True)
            with _alone(mirror) if mirror else contextlib.nullcontext():
                yield

    @property
    def _mirror(self) -> Mirror | None:
        return mirror_of(self.path, self.damaged)


@contextlib.contextmanager
def _alone(mirror: Mirror) -> Iterator[None]:
    """Inside, no other machine writes the sweep. Raises ConfigError where one is at it."""

    def at_wait(name: str) -> None:
        print(f"{mirror.bucket} was last run by {name}: waiting to see whether that one lives", file=sys.stderr)

    with lease(mirror.bucket, LEASE, "for a sign of life", at_wait) as other:
        if other:
            raise _being_run(mirror.bucket.uri, other)
        mirror.fetch()
        mirror.push()
        try:
            yield
        finally:
            mirror.push()


def _being_run(sweep: Path | str, by: str) -> ConfigError:
    return ConfigError(
        f"the sweep in {sweep} is being run already, by {by}; "
        "wait until that one has ended, or stop it: its work is kept, and the same command then goes on from it"
    )
