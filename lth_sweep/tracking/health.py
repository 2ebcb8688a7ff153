"""Whether MLflow can be reached, and what a killed sweep has left RUNNING in it."""

from pathlib import Path
from typing import TYPE_CHECKING

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.sweepfile.secrets import mask
from lth_sweep.tracking.store import Place, connect, locate

if TYPE_CHECKING:
    from lth_sweep.sweepfile.spec import SweepSpec

ANSWER_SECONDS = 10


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
    return True, f"{place}, version {_own()}"


def end_left(spec: "SweepSpec", folder: Path) -> list[str]:
    """End the runs of a sweep that nobody is running and MLflow takes for RUNNING. Returns whose they were."""
    from lth_sweep.tracking.listener import runs_of

    return ["the sweep's own" if trial is None else f"trial {trial}'s" for trial in runs_of(spec, folder).end_left()]


def place_of(runs: Path, spec: "SweepSpec | None") -> Place:
    return locate(runs, spec.tracking.uri if spec else None)


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
    theirs, own = answer.text.strip(), _own()
    if theirs.partition(".")[0] != own.partition(".")[0]:
        return False, f"{place} has version {theirs}, and this machine {own}; use the same major version"
    return True, f"{place}, version {theirs} (here {own})"


def _own() -> str:
    from importlib.metadata import version

    return version("mlflow")
