"""Leases in an object store, where no operating system frees them when their holder dies.

A lease is an object that its holder rewrites every few seconds. Who waits for it takes it over when it has seen no
change for several of these beats, by its own clock: clocks of machines are never compared. A holder on the same machine
whose process has gone is known to be dead at once.

A holder that was cut off for so long and lives may find its lease taken. What it guards must bear that: stages are
the same whoever trains them and the first one published stays, so that the worst case is work done twice; records are
written on the condition that nobody else has (see `mirror`).
"""

import contextlib
import json
import math
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from lth_sweep.disk import StorageAway
from lth_sweep.remote.bucket import Bucket, Found

BEAT_SECONDS = 10.0
STALE_BEATS = 4
"""Without a change, until a lease is taken over."""
POLL_SECONDS = 0.05, 1.0
"""Between looks at another's lease: at first, and at most."""
FREE = b"{}"
_SILENT: dict[str, float] = {}
"""Processes that were taken for dead, and when. What else one of them holds is not waited for as long again."""
Wait = Literal["for it", "for a sign of life", "not"]


@contextlib.contextmanager
def lease(
    bucket: Bucket, key: str, wait: Wait = "for it", at_wait: Callable[[str], None] = lambda name: None
) -> Iterator[str]:
    """Inside, this process alone holds the lease `key`; the value is then empty, and else says who holds it.

    `wait`: until it is free or its holder seems dead; or only until one knows that its holder lives; or not at all, in
    which case one that may be dead counts as alive. `at_wait` is told once whom one waits for.
    """
    ours, other = _Ours(), _Other()
    tag = bucket.create(key, ours.content)
    pause, longest = POLL_SECONDS
    waits = False
    while tag is None:
        found = bucket.get(key)
        if found is None:
            tag = bucket.create(key, ours.content)
            continue
        other.look(found)
        if other.is_dead:
            tag = bucket.replace(key, ours.content, found.tag)
            continue
        if wait == "not" or (wait == "for a sign of life" and other.has_moved):
            yield other.name
            return
        if not waits:
            at_wait(other.name)
        waits = True
        time.sleep(pause)
        pause = min(1.5 * pause, longest, other.beat / 2)
    with _Beating(bucket, key, ours, tag):
        yield ""


@cache
def _machine() -> str:
    """This boot of this machine, and which of its processes can be seen from here; empty where that is not known."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.stat('/proc/self/ns/pid').st_ino}"
    return ""


def _started(pid: int) -> str:
    """When a process was started, in the kernel's ticks; empty where it has gone, or that is not known."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return ""


@dataclass
class _Ours:
    """What this process writes into a lease that it holds."""

    name: str = field(default_factory=lambda: f"process {os.getpid()} on {socket.gethostname()}")
    beat: float = field(default_factory=lambda: BEAT_SECONDS)
    process: tuple[str, int, str] = field(default_factory=lambda: (_machine(), os.getpid(), _started(os.getpid())))
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    beats: int = 0

    @property
    def content(self) -> bytes:
        return json.dumps(vars(self)).encode()


class _Other:
    """What one has seen of a lease that is held by another."""

    def __init__(self) -> None:
        self.name, self.beat = "another process", BEAT_SECONDS
        self.has_moved = self.is_dead = False
        self._tag = ""
        self._looked = self._changed = time.monotonic()

    def look(self, found: Found) -> None:
        now = time.monotonic()
        fields = _fields(found.content)
        beat = fields.get("beat")
        self.beat = beat if isinstance(beat, int | float) and beat > 0 else BEAT_SECONDS
        if found.tag != self._tag:
            self.has_moved = bool(self._tag)
            self._tag, self._changed = found.tag, now
        elif now - self._looked > self.beat:
            self._changed = now  # while one cannot look, the holder may be unable to write, too
        self._looked = now
        self.name = str(fields.get("name", self.name))
        process, patience = fields.get("process"), STALE_BEATS * self.beat
        holder = f"{self.name} {process}" if process else found.tag
        if now - self._changed > patience:
            _SILENT[holder] = now
        silent = now - _SILENT.get(holder, -math.inf) < patience
        self.is_dead = found.content == FREE or silent or _has_gone(process)


class _Beating(threading.Thread):
    """Rewrites a lease that is held, and frees it at the end. One that was lost is left to who has it."""

    def __init__(self, bucket: Bucket, key: str, ours: _Ours, tag: str) -> None:
        super().__init__(daemon=True, name=f"lease {key}")
        self._bucket, self._key, self._ours = bucket, key, ours
        self._tag: str | None = tag
        self._over = threading.Event()

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self.join()
        self._write(FREE)

    def run(self) -> None:
        while not self._over.wait(self._ours.beat):
            self._ours.beats += 1
            self._write(self._ours.content)

    def _write(self, content: bytes) -> None:
        """Where the store is away, the next beat tries again; a lease that was not freed becomes stale."""
        if self._tag:
            with contextlib.suppress(StorageAway):
                tag = self._bucket.replace(self._key, content, self._tag, patient=False)
                self._tag = tag or self._still_ours()

    def _still_ours(self) -> str | None:
        """The lease's tag, where it is only the answer to an earlier beat that was lost."""
        found = self._bucket.get(self._key, patient=False)
        return found.tag if found and _fields(found.content).get("id") == self._ours.id else None


def _fields(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _has_gone(process: Any) -> bool:
    """Whether what a lease says of its holder is known to be a process of this machine that is no more."""
    match process:
        case [str(machine), int(pid), str(started)] if machine and machine == _machine():
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return True
            except OSError:  # another user's
                return False
            return _started(pid) not in ("", started)
    return False
