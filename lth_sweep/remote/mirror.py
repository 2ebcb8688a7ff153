"""A runs folder that is kept in an object store: the folder on this machine is its mirror, and the store is the truth.

    CACHE/mirrors/BUCKET-PREFIX-.../origin            the URI; what has no such file is an ordinary runs folder
                                    NAME/             a sweep, worked on here
                                    .mirror/NAME/     for each of its files the version that both sides had last

One process writes a sweep, guarded by a lease as by a lock in an ordinary folder. It begins by bringing both sides in
line, and sends what matters to go on as soon as it is written; the rest at the end (see `RunFolder`). Each write is on
the condition that nobody else has written since, so that a process whose lease was lost stops, and overwrites nothing.
"""

import contextlib
import fcntl
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from lth_sweep.disk import set_aside, write_whole
from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.remote.bucket import Bucket, bucket_at, endpoint
from lth_sweep.remote.node_cache import cache_folder, short

URI = re.compile(r"s3:/+(?=[^/])")
"""Also as a Path has it, with one slash."""
OTHER = re.compile(r"\w+://")
LOCAL = re.compile(r"(.*/)?\.|(lock|running|optuna\.db[^/]*|ray)(/|$)")
"""Files of a sweep that mean nothing elsewhere: hidden ones, and the study, which is made from the records."""
LEASE = ".lease"
AT_ONCE = 16
"""Files that are sent or fetched."""


def runs_folder(place: Path | str) -> Path:
    """The runs folder at a path, or the mirror of the one at a URI. Raises ConfigError for a URI of another kind."""
    text = str(place)
    if not URI.match(text):
        if OTHER.match(text):
            raise ConfigError(f"expected a folder, or s3://BUCKET/PREFIX, but got {text!r}", "runs")
        return Path(place)
    uri = URI.sub("s3://", text).rstrip("/")
    name = re.sub(r"[^\w.-]+", "-", uri.removeprefix("s3://"))
    folder = cache_folder() / "mirrors" / f"{name}-{short(endpoint() + uri)}"
    if not (folder / "origin").exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / "origin", uri)
    return folder


def origin(runs: Path) -> str | None:
    """The URI that a runs folder is the mirror of."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return (runs / "origin").read_text()
    return None


def shown(runs: Path) -> str:
    """A runs folder as one names it in a command."""
    return origin(runs) or str(runs)


def stages_of(runs: Path) -> Path | str:
    """Where the stages of a runs folder are, for `stages_at` on any machine."""
    uri = origin(runs)
    return f"{uri}/stages" if uri else (runs / "stages").absolute()


def sweeps(runs: Path) -> list[str]:
    """The names of the sweeps in a runs folder."""
    if uri := origin(runs):
        return [name for name in bucket_at(uri).folders() if name != "stages" and not name.startswith(".")]
    return sorted(path.parent.name for path in runs.glob("*/sweep.yaml"))


def mirror_of(folder: Path, damaged: Path) -> "Mirror | None":
    """Of a sweep's folder; None where it is an ordinary one. `damaged`: where files go that both sides have changed."""
    uri = origin(folder.parent)
    if uri is None:
        return None
    return Mirror(folder, bucket_at(f"{uri}/{folder.name}"), folder.parent / ".mirror" / folder.name, damaged)


@dataclass(frozen=True)
class _Both:
    """What a file was when both sides were last known to be the same."""

    tag: str
    digest: str
    size: int


@dataclass(frozen=True)
class Mirror:
    folder: Path
    bucket: Bucket
    known: Path
    """The folder with what is known of each file."""
    damaged: Path

    @contextlib.contextmanager
    def unwatched(self) -> Iterator[None]:
        """Inside, no process of this machine fetches the sweep, to begin to write it."""
        self.known.mkdir(parents=True, exist_ok=True)
        with open(self.known / LEASE, "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def fetch(self) -> None:
        """Take over what has changed in the store. What has changed here stays, to be sent; where both have, or a
        record here has changed but by what was appended, the store's version goes on, and the other is set aside."""
        there = {entry.key: entry.tag for entry in self.bucket.entries() if not LOCAL.match(entry.key)}
        for name in self._known() - there.keys():
            both, path = self._both(name), self.folder / name
            if both and path.exists() and _digest(path.read_bytes()) == both.digest:
                path.unlink()
            (self.known / name).unlink()
        wanted = [name for name, tag in there.items() if not self._has(name, tag)]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self._fetch, wanted))

    def push(self) -> None:
        """Send what has changed here."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self.send, sorted(self._here())))

    def send(self, name: str) -> None:
        content, both = (self.folder / name).read_bytes(), self._both(name)
        if both and both.digest == _digest(content):
            return
        tag = self.bucket.replace(name, content, both.tag) if both else self.bucket.create(name, content)
        if tag is None:
            raise ConfigError(
                f"another process has written {name} of {self.bucket}: it took this sweep over while this one was cut "
                "off; nothing of this one's is lost that is in the stages, and the same command goes on from there"
            )
        self._agree(name, tag, content)

    def _has(self, name: str, tag: str) -> bool:
        """Whether a file is here, and no older than the store's, nor damaged as far as one can tell."""
        path, both = self.folder / name, self._both(name)
        if both is None or both.tag != tag or not path.exists():
            return False
        return not name.startswith("records/") or _digest(path.read_bytes()[: both.size]) == both.digest

    def _fetch(self, name: str) -> None:
        found = self.bucket.get(name)
        if found is None:
            return
        path, both = self.folder / name, self._both(name)
        here = path.read_bytes() if path.exists() else None
        changed = here is not None and (both is None or _digest(here) != both.digest)
        if not (here and changed and here.startswith(found.content)):  # what was appended and not sent is kept
            if here and changed and not found.content.startswith(here):
                set_aside(path, self.damaged)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, found.content)
        self._agree(name, found.tag, found.content)

    def _here(self) -> set[str]:
        return {name for name in _files(self.folder) if not LOCAL.match(name)}

    def _known(self) -> set[str]:
        return {name for name in _files(self.known) if name != LEASE}

    def _both(self, name: str) -> _Both | None:
        try:
            tag, digest, size = (self.known / name).read_text().split("\n")
            return _Both(tag, digest, int(size))
        except (FileNotFoundError, ValueError):
            return None

    def _agree(self, name: str, tag: str, content: bytes) -> None:
        (self.known / name).parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.known / name, f"{tag}\n{_digest(content)}\n{len(content)}")


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def _digest(content: bytes) -> str:
    return blake2b(content, digest_size=16).hexdigest()
