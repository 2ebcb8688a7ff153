"""Files that are there whole or not at all, and what a storage looks like that does not work any more."""

import errno
import os
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

UNFINISHED = re.compile(r"\..+\.[0-9a-f]{32}")
"""Names of files that a killed process has not come to the end of."""
SQLITE_FULL = 13
"""sqlite.org/rescode.html#full"""


class DiskFull(Exception):
    """There is no room left to write to. Nothing is damaged by it, and what stopped can go on once there is some."""


class StorageAway(Exception):
    """The storage could not be reached for minutes. Nothing is damaged by it, and what stopped can go on once it is."""


class Patience:
    """Of this process with storages that are away. It ends when somebody wants the process to end."""

    is_over = False
    """Set by a signal's handler, which can take no lock, and so no threading.Event."""

    def wait(self, seconds: float) -> None:
        """Between two tries; no longer than until it is over."""
        end = time.monotonic() + seconds
        while not self.is_over and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))


PATIENCE = Patience()


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file by a rename, so that a kill or a full disk leaves the one that was there."""
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        unfinished.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def set_aside(path: Path, folder: Path) -> None:
    """Move a damaged file into the folder for those."""
    folder.mkdir(exist_ok=True)
    path.rename(folder / f"{path.name}.{uuid.uuid4().hex[:8]}")


def is_full(error: BaseException | None) -> bool:
    """Whether a full disk, or a used-up quota, is what is behind an error."""
    return any(
        isinstance(one, DiskFull)
        or getattr(one, "sqlite_errorcode", None) == SQLITE_FULL
        or (isinstance(one, OSError) and one.errno in (errno.ENOSPC, errno.EDQUOT))
        for one in _behind(error)
    )


def storage_fault(error: BaseException | None) -> DiskFull | StorageAway | None:
    """What is wrong with the storage, where that is behind an error: it stops the whole sweep, and not a trial."""
    if is_full(error):
        return DiskFull(str(error))
    return next((one for one in _behind(error) if isinstance(one, StorageAway)), None)


def _behind(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and what led to it."""
    while error:
        yield error
        error = error.__cause__ or error.__context__
