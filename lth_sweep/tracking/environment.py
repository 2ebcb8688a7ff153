"""What a run was made with, as tags."""

import contextlib
import getpass
import platform
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from lth_sweep.spec.secrets import mask

PACKAGES = {"torch": "torch", "ray": "ray", "optuna": "optuna", "mlflow": "mlflow", "lth_sweep": "lth-sweep"}


def tags() -> dict[str, str]:
    """Versions, user, the command, and the git commit of the working folder where it has one."""
    found = {f"version.{name}": _version(package) for name, package in PACKAGES.items()}
    found["version.python"] = platform.python_version()
    found |= {"mlflow.source.name": "lth-sweep", "mlflow.source.type": "LOCAL", "lth.command": _command()}
    with contextlib.suppress(KeyError, OSError):  # a container's user need not have a name
        found["mlflow.user"] = getpass.getuser()
    commit = _git_commit()
    return found | ({"mlflow.source.git.commit": commit} if commit else {})


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _command() -> str:
    """What this process was started with; a cluster's address may hold a password."""
    program = Path(sys.argv[0])
    return mask(shlex.join([program.parent.name if program.stem == "__main__" else program.name, *sys.argv[1:]]))


def _git_commit() -> str | None:
    try:
        answer = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
