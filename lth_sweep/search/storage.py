"""Where a study is kept: in a SQLite file of its own, or on a PostgreSQL server that several sweeps share."""

import contextlib
import functools
import sqlite3
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from lth_sweep.lottery.disk import write_whole
from lth_sweep.lottery.errors import ConfigError

BUSY_SECONDS = 120
"""How long SQLite waits for another process's transaction before it says that the database is locked."""
AWAY_SECONDS = 600
"""How long a sweep waits for a database server that is away, as while it is restarted."""
PAUSE_SECONDS = 0.5
MAKING_TABLES = 0x6C7468
"""The advisory lock that is held while tables are made: two first uses of a database would race."""


def sqlite(path: Path) -> RDBStorage:
    """In a file, which is made where it is not there. Raises sqlite3.DatabaseError where it is damaged."""
    with contextlib.closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as database:
        [[found], *_] = database.execute("PRAGMA integrity_check")
    if found != "ok":
        raise sqlite3.DatabaseError(found)
    url = URL.create("sqlite", database=str(path.absolute())).render_as_string()
    return RDBStorage(url, engine_kwargs={"connect_args": {"timeout": BUSY_SECONDS}})


def server(url: str) -> RDBStorage:
    """In the database at `url`. Raises ConfigError where it cannot be used."""
    try:
        with one_at_a_time(url) as connection:
            tables = set(sqlalchemy.inspect(connection).get_table_names())
            if "experiments" in tables:
                raise ConfigError(
                    "this database is MLflow's, and Optuna cannot share it: both keep their version in a table of the "
                    "same name; name another database of that server",
                    "search.storage",
                )
            return _Patient(url, engine_kwargs={"pool_pre_ping": True})
    except ImportError as error:
        raise ConfigError("PostgreSQL needs a driver: pip install 'lth-sweep[postgresql]'", "search.storage") from error
    except OperationalError as error:
        raise ConfigError(f"cannot open {_shown(url)}: {error.orig}", "search.storage") from error


@contextlib.contextmanager
def one_at_a_time(url: str) -> Iterator[sqlalchemy.Connection]:
    """A connection to a PostgreSQL database in which no other process is in here."""
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:  # the lock ends with it
        connection.execute(sqlalchemy.select(sqlalchemy.func.pg_advisory_lock(MAKING_TABLES)))
        connection.commit()
        yield connection


def sweep_id(folder: Path) -> str:
    """Which sweep this is, wherever its folder goes: several people's may have one name on one server. Kept twice and
    with a checksum, since without it all that is on the server would be made once more."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / "sweep-id", folder / "sweep-id.copy"]
    found = [file.read_text(errors="replace") if file.exists() else "" for file in files]
    known = next((text for text in found if text and text[24:] == _check(text)), "") or _new_id()
    for file, text in zip(files, found, strict=True):
        if text != known:
            write_whole(file, known)
    return known


def _new_id() -> str:
    random = uuid.uuid4().hex[:24]
    return random + _check(random)


def _check(sweep_id: str) -> str:
    return f"{zlib.crc32(sweep_id[:24].encode()):08x}"


def _shown(url: str) -> str:
    return sqlalchemy.make_url(url).render_as_string(hide_password=True)


def _is_away(error: BaseException | None) -> bool:
    """Whether the connection is what failed."""
    while error:
        if isinstance(error, OperationalError | InterfaceError):
            return True
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            return True
        error = error.__cause__
    return False


def _patient(method: Callable[..., Any]) -> Callable[..., Any]:
    """Each is one transaction, and is tried again as a whole."""

    @functools.wraps(method)
    def call(self: RDBStorage, *arguments: Any, **named: Any) -> Any:
        deadline, again = time.monotonic() + AWAY_SECONDS, False
        while True:
            try:
                return method(self, *arguments, **named)
            except optuna.exceptions.UpdateFinishedTrialError:
                if not again:
                    raise
                return True  # what was asked for was done, and only the answer lost
            except Exception as error:
                if not _is_away(error) or time.monotonic() > deadline:
                    raise
            again = True
            time.sleep(PAUSE_SECONDS)

    return call


class _Patient(RDBStorage):
    """Waits where the server is away."""


for _name in {*BaseStorage.__abstractmethods__, "_create_new_trial", "_set_trial_param", "_get_trials"}:
    setattr(_Patient, _name, _patient(getattr(RDBStorage, _name)))
