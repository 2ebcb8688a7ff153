"""What a machine has had of an object store, in a folder that its processes share: at most so large, the longest unused
goes first."""

import contextlib
import hashlib
import os
from pathlib import Path

from lth_sweep.disk import write_whole
from lth_sweep.lottery.common.errors import ConfigError

FOLDER = "LTH_SWEEP_CACHE"
"""The environment variable with the folder for all that is kept of object stores on this machine."""
LIMIT = "LTH_SWEEP_CACHE_GB"
"""That with the size up to which stages are kept there."""
USUAL_GB = 10.0
TRIM_TO = 0.9


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get(FOLDER) or f"{base}/lth-sweep").expanduser().absolute()


def short(text: str) -> str:
    """Stands for a text in a file's name."""
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def limit() -> int:
    """In bytes. Raises ConfigError."""
    text = os.environ.get(LIMIT) or str(USUAL_GB)
    try:
        return int(float(text) * 1e9)
    except (ValueError, OverflowError):
        raise ConfigError(f"expected a number of gigabytes, but got {text!r}", LIMIT) from None


class NodeCache:
    """Contents by key. One that cannot be written is no harm: it is fetched again."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self._limit = folder, size
        self._unchecked = size
        """Bytes written since the folder was last looked at; at first that is due."""

    def get(self, key: str) -> bytes | None:
        try:
            content = (self.folder / key).read_bytes()
            os.utime(self.folder / key)  # last used now
        except OSError:
            return None
        return content

    def put(self, key: str, content: bytes) -> None:
        path = self.folder / key
        if len(content) > self._limit:
            return
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, content)
        self._unchecked += len(content)
        if self._unchecked > self._limit * (1 - TRIM_TO):
            self._trim()

    def drop(self, key: str) -> None:
        (self.folder / key).unlink(missing_ok=True)

    def _trim(self) -> None:
        found = []
        for path in self.folder.rglob("*"):
            with contextlib.suppress(FileNotFoundError):  # another process trims, too
                state = path.stat()
                if path.is_file():
                    found.append((state.st_mtime, state.st_size, path))
        size = sum(one[1] for one in found)
        if size > self._limit:
            for _, bytes_, path in sorted(found):
                path.unlink(missing_ok=True)
                size -= bytes_
                if size <= self._limit * TRIM_TO:
                    break
        self._unchecked = 0
