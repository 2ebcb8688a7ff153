"""One process at a time works on a sweep: runs/NAME/lock is locked while it does, and says who it is."""

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from lth_sweep.lottery.errors import ConfigError


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Inside, no other process is in here for the same `folder`, which is runs/NAME and is made where it is not there.

    A lock of the operating system, also on a shared file system: it ends with the process that holds it, however that
    dies, so that nothing is left to be cleared away. Raises ConfigError where another one holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "a+", errors="replace") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise ConfigError(
                f"the sweep in {folder} is being run already, by {file.read().strip() or 'another process'}; "
                "wait until that one has ended, or stop it: its work is kept, and the same command then goes on from it"
            ) from None
        file.truncate(0)
        print(f"process {os.getpid()} on {socket.gethostname()}", file=file, flush=True)
        yield
