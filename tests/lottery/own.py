"""A module of the user's own, in a folder of its own."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lth_sweep.lottery.common.user_code import source_digest


class OwnModule:
    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def put(cls, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, source: str) -> Iterator["OwnModule"]:
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.setattr(sys, "dont_write_bytecode", True)  # it would hide an edit of the same second and length
        own = cls(folder / f"{name}.py")
        own.write(source)
        yield own
        own.forget()

    def write(self, source: str) -> None:
        """The new source holds from now on, as it would in a new process."""
        self.path.write_text(source)
        self.forget()

    def forget(self) -> None:
        sys.modules.pop(self.path.stem, None)
        source_digest.cache_clear()
