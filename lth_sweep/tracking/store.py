"""Where MLflow keeps a sweep, and a quiet client to it."""

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lth_sweep.lottery.errors import ConfigError, unknown
from lth_sweep.spec.secrets import mask

URI = "LTH_SWEEP_TRACKING_URI"
"""The environment variable with the store or server for sweeps whose file names none. MLFLOW_TRACKING_URI is not it:
MLflow sets that itself."""
SCHEMES = ("sqlite", "postgresql", "mysql", "mssql", "http", "https", "databricks")

BUSY_SECONDS = 120
"""How long SQLite waits for another process's transaction before it says that the database is locked; by itself 5."""

# Only where the user has not set them. MLflow would retry each request for four minutes, in silence; retrying is done
# by the sender, which can say so.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


@dataclass(frozen=True)
class Place:
    """An MLflow store or server, and where its artifacts go."""

    uri: str
    artifacts: Path | None
    """None where a server decides."""

    def __str__(self) -> str:
        return mask(self.uri)


def locate(runs: Path, uri: str | None = None) -> Place:
    """The place that `uri` names, or else the environment; by default a SQLite file in the runs folder, with the
    artifacts beside it.

    Raises ConfigError for a URI that MLflow cannot use.
    """
    artifacts = runs.resolve() / "mlartifacts"
    uri = uri or os.environ.get(URI)
    if uri is None:
        return Place(f"sqlite:///{runs.resolve()}/mlflow.db", artifacts)
    scheme, colon, _ = uri.partition(":")
    if not colon or scheme == "file":
        raise ConfigError(f"{uri!r} is a folder, and MLflow no longer keeps runs in folders; "
                          "use sqlite:///PATH/mlflow.db or a server, http://HOST:PORT", "tracking.uri")  # fmt: skip
    scheme = scheme.partition("+")[0]
    if scheme not in SCHEMES:
        raise ConfigError(unknown("scheme", scheme, SCHEMES), "tracking.uri")
    return Place(uri, None if scheme in ("http", "https", "databricks") else artifacts)


def prepare() -> None:
    """Before mlflow is imported."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def connect(place: Place) -> Any:
    """An MlflowClient. Takes seconds (the import of mlflow, a new database); raises what MLflow raises."""
    prepare()
    from mlflow import MlflowClient

    for noisy in ("alembic", "mlflow.store.db.utils", "mlflow.store.tracking.sqlalchemy_store", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    with _one_at_a_time(place):
        uri = place.uri if "?" in place.uri or not _is_file(place) else f"{place.uri}?timeout={BUSY_SECONDS}"
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        client.search_experiments(max_results=1)  # makes the tables
    return client


@contextlib.contextmanager
def _one_at_a_time(place: Place) -> Iterator[None]:
    """Two first uses of a new database would race to make its tables."""
    if place.uri.startswith("postgresql"):
        from lth_sweep.search.storage import one_at_a_time

        with one_at_a_time(place.uri):
            yield
        return
    if not _is_file(place):
        yield
        return
    path = Path(place.uri.removeprefix("sqlite:///"))
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(path.name + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_file(place: Place) -> bool:
    return place.uri.startswith("sqlite:///")


def is_passing(error: Exception) -> bool:
    """Whether the same call may work later: the server is away or overloaded, the database locked, the disk full."""
    from mlflow.exceptions import MlflowException

    if isinstance(error, MlflowException):
        status = error.get_http_status_code()
        return status >= 500 or status in (408, 429)
    return isinstance(error, OSError) or type(error).__name__ == "OperationalError"


def is_local(error: Exception) -> bool:
    """Whether it is about a file or folder of this machine."""
    return isinstance(error, OSError) and bool(error.errno) and not isinstance(error, ConnectionError | TimeoutError)
