"""Where MLflow keeps a sweep, and a quiet client to it."""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lth_sweep.lottery.common.errors import ConfigError, unknown
from lth_sweep.sweepfile.document import mask
from lth_sweep.tracking import database

ANSWER_SECONDS = 10
URI = "LTH_SWEEP_TRACKING_URI"
"""The environment variable with the store or server for sweeps whose file names none. MLFLOW_TRACKING_URI is not it:
MLflow sets that itself."""
SCHEMES = ("sqlite", "postgresql", "mysql", "mssql", "http", "https", "databricks")

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


def connect(place: Place, say: Callable[[str], None] | None = None) -> Any:
    """An MlflowClient. Takes seconds (the import of mlflow, a new database); raises what MLflow raises.

    A SQLite file that is damaged is set aside, and `say` is told; without it, ConfigError is raised."""
    prepare()
    for noisy in ("alembic", "mlflow.store.db.utils", "mlflow.store.tracking.sqlalchemy_store", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    if place.uri.startswith("postgresql"):
        from lth_sweep.search.storage import one_at_a_time

        with one_at_a_time(place.uri):
            return _open(place.uri)
    file = sqlite_file(place)
    if file is None:
        return _open(place.uri)
    with database.ready(file, _open, say):
        return _open(f"{place.uri}?timeout={database.BUSY_SECONDS}")


def _open(uri: str) -> Any:
    """A client whose store has been opened, and so has its tables."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    client.search_experiments(max_results=1)
    return client


def sqlite_file(place: Place) -> Path | None:
    """Of a SQLite store, unless its URI has options of its own."""
    path = place.uri.removeprefix("sqlite:///")
    return None if path == place.uri or "?" in path else Path(path)


def reach(place: Place) -> tuple[bool, str]:
    """Whether a sweep could be logged there; and what was found, or what to do."""
    scheme = place.uri.partition(":")[0]
    if scheme in ("http", "https"):
        return _ask(place)
    if scheme == "sqlite" and not Path(place.uri.removeprefix("sqlite:///").partition("?")[0]).exists():
        return True, f"{place} will be made by the first sweep"
    try:
        connect(place)
    except ConfigError as error:
        return False, error.message
    except Exception as error:  # of any kind that a database's driver has
        reason = mask(str(error).strip().partition("\n")[0])
        return False, f"{place} cannot be used: {reason}; start it, or change tracking.uri"
    return True, f"{place}, version {version('mlflow')}"


def _ask(place: Place) -> tuple[bool, str]:
    import requests

    try:
        answer = requests.get(f"{place.uri.rstrip('/')}/version", timeout=ANSWER_SECONDS)
    except requests.RequestException as error:
        return False, f"{place} does not answer ({type(error).__name__}); start the server, or change tracking.uri"
    if answer.status_code == 403:
        return False, f"{place} refuses this host name; start the server with --allowed-hosts"
    if answer.status_code != 200:
        return False, f"{place} answers with {answer.status_code} {answer.reason}; see its log, and the credentials"
    theirs, own = answer.text.strip(), version("mlflow")
    if theirs.partition(".")[0] != own.partition(".")[0]:
        return False, f"{place} has version {theirs}, and this machine {own}; use the same major version"
    return True, f"{place}, version {theirs} (here {own})"


def is_passing(error: Exception) -> bool:
    """Whether the same call may work later: the server is away or overloaded, the database locked, the disk full."""
    from mlflow.exceptions import MlflowException

    if isinstance(error, MlflowException):
        status = error.get_http_status_code()
        return status >= 500 or status in (408, 429)
    return isinstance(error, OSError) or type(error).__name__ == "OperationalError"


def is_busy(error: Exception) -> bool:
    """Whether another process is writing to the same SQLite file, for longer than MLflow waits for it."""
    return "database is locked" in str(error)


def is_local(error: Exception) -> bool:
    """Whether it is about a file or folder of this machine."""
    return isinstance(error, OSError) and bool(error.errno) and not isinstance(error, ConnectionError | TimeoutError)
