"""Ctrl-C and SIGTERM, taken at a point where everything is consistent."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from lth_sweep.disk import PATIENCE

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Notes the first signal, for whoever drives the sweep to ask; the second one raises KeyboardInterrupt at once, or
    ends the process where `last` does. From the first one on, no storage that is away is waited for."""

    def __init__(self, last: Callable[[], None] = lambda: None) -> None:
        self.wanted = False
        self._last = last
        self._at_once = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Interruption":
        self.listen()
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        PATIENCE.is_over = False

    def listen(self) -> None:
        """Take over the signals, also from a library that has taken them meanwhile. Only a main thread can."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                before = signal.signal(number, self._note)
                self._before.setdefault(number, before)

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal has come."""
        if self.wanted:
            raise KeyboardInterrupt

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Inside, a signal raises at once: for long work that can be cut off anywhere."""
        self.check()
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        again, self.wanted = self.wanted, True
        PATIENCE.is_over = True
        if again:
            self._last()
        if again or self._at_once:
            raise KeyboardInterrupt
