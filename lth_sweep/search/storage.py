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

from lth_sweep.disk import PATIENCE, StorageAway, write_whole
from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.remote.run_folder import RunFolder

BUSY_SECONDS = 120
"""How long SQLite waits for another process's transaction before it says that the database is locked."""
AWAY_SECONDS = 600.0
"""How long a sweep waits for a database server that is away, as while it is restarted."""
PAUSE_SECONDS = 0.5
CONNECT_SECONDS = 5
"""Until one that does not answer counts as away."""
CUT_OFF_MILLISECONDS = 30_000
"""The same for one that has answered before, where what is sent to it is not received."""
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
            return _Patient(url, engine_kwargs={"pool_pre_ping": True, "connect_args": _limits(url)})
    except ImportError as error:
        raise ConfigError("PostgreSQL needs a driver: pip install 'lth-sweep[postgresql]'", "search.storage") from error
    except OperationalError as error:
        raise ConfigError(f"cannot open {_shown(url)}: {error.orig}", "search.storage") from error


@contextlib.contextmanager
def one_at_a_time(url: str) -> Iterator[sqlalchemy.Connection]:
    """A connection to a PostgreSQL database in which no other process is in here."""
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, connect_args=_limits(url))
    with engine.connect() as connection:  # the lock ends with it
        connection.execute(sqlalchemy.select(sqlalchemy.func.pg_advisory_lock(MAKING_TABLES)))
        connection.commit()
        yield connection


def sweep_id(folder: Path) -> str:
    """Which sweep this is, wherever its folder goes: several people's may have one name on one server. Kept twice and
    with a checksum, since without it all that is on the server would be made once more."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [RunFolder(folder).identity, RunFolder(folder).identity_copy]
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


def give_up(storage: BaseStorage) -> None:
    """Wait for this one no more."""
    if isinstance(storage, _Patient):
        storage.patience = 0.0


def _limits(url: str) -> dict[str, int]:
    """For the drivers that stand on PostgreSQL's own library, and where the URL does not say otherwise."""
    known = sqlalchemy.make_url(url)
    limits = {"connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": CUT_OFF_MILLISECONDS}
    if not known.get_driver_name().startswith("psycopg"):
        return {}
    return {name: limit for name, limit in limits.items() if name not in known.query}


def _shown(url: str | URL) -> str:
    """Without its options, which can hold secrets, too."""
    return sqlalchemy.make_url(url).set(query={}).render_as_string(hide_password=True)


def _lost(error: BaseException | None) -> DBAPIError | None:
    """What is behind an error, where the connection is what failed."""
    while error:
        if isinstance(error, OperationalError | InterfaceError):
            return error
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            return error
        error = error.__cause__
    return None


def _patient(method: Callable[..., Any]) -> Callable[..., Any]:
    """Each is one transaction, and is tried again as a whole."""

    @functools.wraps(method)
    def call(self: "_Patient", *arguments: Any, **named: Any) -> Any:
        started, again = time.monotonic(), False
        while True:
            try:
                return method(self, *arguments, **named)
            except optuna.exceptions.UpdateFinishedTrialError:
                if not again:
                    raise
                return True  # what was asked for was done, and only the answer lost
            except StorageAway:  # of a method that this one has called
                raise
            except Exception as error:
                if (lost := _lost(error)) is None:
                    raise
                if PATIENCE.is_over or time.monotonic() - started >= self.patience:
                    give_up(self)
                    raise StorageAway(f"cannot reach {_shown(self.engine.url)}: {lost.orig}") from error
            again = True
            PATIENCE.wait(PAUSE_SECONDS)

    return call


class _Patient(RDBStorage):
    """Waits where the server is away; then raises StorageAway, and from then on at once. Once the process is to end, it
    does not wait."""

    def __init__(self, url: str, **options: Any) -> None:
        self.patience = AWAY_SECONDS
        super().__init__(url, **options)


for _name in {*BaseStorage.__abstractmethods__, "_create_new_trial", "_set_trial_param", "_get_trials"}:
    setattr(_Patient, _name, _patient(getattr(RDBStorage, _name)))
