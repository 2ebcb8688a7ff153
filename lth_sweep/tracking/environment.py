"""What a run was made with, as tags."""

import contextlib
import getpass
import shlex
import subprocess
import sys
from pathlib import Path

from lth_sweep.sweepfile.secrets import mask
from lth_sweep.versions import versions


def tags() -> dict[str, str]:
    """Versions, user, the command, and the git commit of the working folder where it has one."""
    found = {f"version.{name}": version for name, version in versions().items()}
    found |= {"mlflow.source.name": "lth-sweep", "mlflow.source.type": "LOCAL", "lth.command": _command()}
    with contextlib.suppress(KeyError, OSError):  # a container's user need not have a name
        found["mlflow.user"] = getpass.getuser()
    commit = _git_commit()
    return found | ({"mlflow.source.git.commit": commit} if commit else {})


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
