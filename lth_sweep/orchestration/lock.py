"""One process at a time works on a sweep: runs/NAME/lock is locked while it does, and says who it is."""

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from lth_sweep.remote import mirror


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Inside, no other process is in here for the same `folder`, which is runs/NAME and is made where it is not there.

    A lock of the operating system, also on a shared file system: it ends with the process that holds it, however that
    dies, so that nothing is left to be cleared away. For a mirror there is a lease in the object store as well, and
    both sides are in line at the start and at the end. Raises ConfigError where another one holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "a+", errors="replace") as file:
        try:
            with mirror.unwatched(folder):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise mirror.being_run(folder, file.read().strip() or "another process") from None
        file.truncate(0)
        print(f"process {os.getpid()} on {socket.gethostname()}", file=file, flush=True)
        with mirror.writing(folder):
            yield
