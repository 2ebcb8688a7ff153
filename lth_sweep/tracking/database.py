"""The SQLite file that MLflow keeps its runs in: made whole, and set aside where it is damaged."""

import fcntl
import os
import shutil
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from lth_sweep.lottery.common.errors import ConfigError

BUSY_SECONDS = 120
"""How long SQLite waits for another process's transaction before it says that the database is locked; by itself 5."""
LOCKS = (0x40000000, 512)
"""Where and how long the bytes are that SQLite locks in a file: sqlite.org/src/file/src/os.h#PENDING_BYTE"""


@contextmanager
def ready(file: Path, create: Callable[[str], object], say: Callable[[str], None] | None) -> Iterator[None]:
    """Inside, it is there and whole, and no other process makes or mends it: two first uses would race to make its
    tables. `create` makes tables in the database at a URI. One that is damaged is set aside, and `say` is told; without
    it, ConfigError is raised."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file.with_name(file.name + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():  # made beside it, since MLflow refuses a database that a kill has left half made
            with _beside(file, create) as new:
                os.replace(new, file)
        elif say is None:
            check(file)
        elif reason := _damage(file):
            say(_set_aside(file, create, reason))
        yield


def check(file: Path) -> None:
    """Raise ConfigError where it is damaged."""
    if reason := _damage(file):
        raise ConfigError(
            f"MLflow's database {file} is damaged ({reason}); `lth-sweep run`, or `lth-sweep sync NAME`, sets it aside "
            "and sends what is on record to a new one"
        )


def _set_aside(file: Path, create: Callable[[str], object], reason: str) -> str:
    """Keep a copy and begin anew in the same file, which other processes may have open. What was done, in words."""
    copy = file.with_name(f"{file.name}.damaged-{uuid.uuid4().hex[:8]}")
    with _beside(file, create) as new, open(file, "r+b") as damaged, open(copy, "wb") as kept:
        fcntl.lockf(damaged, fcntl.LOCK_EX, LOCKS[1], LOCKS[0])  # it ends when any handle of the file is closed
        shutil.copyfileobj(damaged, kept)
        file.with_name(f"{file.name}-journal").unlink(missing_ok=True)  # SQLite could not use it
        damaged.seek(0)
        damaged.truncate()
        damaged.write(_recounted(new.read_bytes()))
    return (
        f"MLflow's database {file} was damaged ({reason}); a copy is kept as {copy.name}, and a new one gets all that "
        "is on record of this sweep. For each other sweep that was in it, `lth-sweep sync NAME` does that"
    )


def _recounted(content: bytes) -> bytes:
    """A database with another file change counter: by that, who has the file open sees that what it remembers of it is
    out of date, and as much is written to a new one as to the old. sqlite.org/fileformat.html#file_change_counter"""
    counter = os.urandom(4)
    return content[:24] + counter + content[28:92] + counter + content[96:]


def _damage(file: Path) -> str:
    """What is wrong with it. Values that have changed cannot be seen: SQLite keeps no checksums."""
    if file.stat().st_size == 0:
        return "it is empty"
    try:
        with closing(sqlite3.connect(file, timeout=BUSY_SECONDS)) as database:
            [[found], *_] = database.execute("PRAGMA quick_check(1)")
            return "" if found == "ok" else str(found).splitlines()[-1]
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return str(error)
        raise


@contextmanager
def _beside(file: Path, create: Callable[[str], object]) -> Iterator[Path]:
    """A new database. Its name is new as well: MLflow keeps what it has opened, by name."""
    for left_over in file.parent.glob(f"{file.name}.new*"):
        left_over.unlink()
    new = file.with_name(f"{file.name}.new-{uuid.uuid4().hex[:8]}")
    try:
        create(f"sqlite:///{new}")
        yield new
    finally:
        new.unlink(missing_ok=True)
