"""No network may hang."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SECONDS = 60


class Hangs(BaseException):
    """Nobody takes it for an error of a network's."""


@contextmanager
def limited() -> Iterator[None]:
    """Raises `Hangs` where what is in it takes longer than `SECONDS`, where the system can tell."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def late(number: int, frame: FrameType | None) -> None:
        raise Hangs(f"more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
