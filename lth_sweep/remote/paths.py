"""Shared folders that lie elsewhere on this machine than on the one that started the sweep."""

import os
from pathlib import Path

PATHS = "LTH_SWEEP_PATHS"
"""The environment variable: "/runs=/mnt/runs" says that what is in /runs there is in /mnt/runs here."""


def on_this_machine(path: Path) -> Path:
    there, equals, mine = os.environ.get(PATHS, "").partition("=")
    return Path(mine) / path.relative_to(there) if equals and path.is_relative_to(there) else path
