"""One thread that sends updates to MLflow, in order, so that no trial waits for it."""

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from functools import reduce

from lth_sweep.sweepfile.document import mask
from lth_sweep.tracking.store import is_busy, is_passing
from lth_sweep.tracking.update import Update

GATHER_SECONDS = 3.0
"""Between two rounds of sending. News of a trial in one call costs three quarters of the same in one call a level."""


class Sender:
    """A queue and its thread. What fails in passing is tried again, with longer and longer pauses, until `close`; what
    MLflow refuses is reported and left out."""

    def __init__(self, send: Callable[[Update], None], place: str, say: Callable[[str], None]) -> None:
        self._send, self._place, self._say = send, place, say
        self._queue: deque[Update] = deque()
        self._news = threading.Condition()
        self._closing = False
        self._gave_up = False
        self._sent = 0
        self.refused: list[str] = []
        self._thread = threading.Thread(target=self._run, name="mlflow", daemon=True)
        self._thread.start()

    def put(self, update: Update) -> None:
        with self._news:
            self._queue.append(update)
            self._news.notify()

    def close(self, patience: float, longest: float = math.inf) -> list[str]:
        """Wait until all is sent, or nothing could be for `patience` seconds, but no more than `longest` seconds.
        Returns what is missing, in words."""
        with self._news:
            self._closing = True
            self._news.notify()
        sent = self._sent
        last = time.monotonic() + longest
        deadline = time.monotonic() + patience
        while self._thread.is_alive() and time.monotonic() < min(deadline, last):
            self._thread.join(0.05)
            if self._sent != sent:
                sent, deadline = self._sent, time.monotonic() + patience
        with self._news:
            self._gave_up = True
            self._news.notify()
            unsent = Counter(update.whose for update in self._queue)
        return self.refused + [f"{whose}: {n} update{'s' * (n > 1)} not sent" for whose, n in unsent.items()]

    def _run(self) -> None:
        pause, reported = 0.0, False
        while True:
            with self._news:
                if not self._queue:
                    self._news.wait_for(lambda: self._closing, timeout=GATHER_SECONDS)
                    self._news.wait_for(lambda: self._queue or self._closing)
                if pause:
                    self._news.wait_for(lambda: self._gave_up, timeout=min(pause, 1.0) if self._closing else pause)
                if self._gave_up or not self._queue:
                    return
                taken = self._take()
            try:
                self._send(reduce(Update.merged, taken))
            except Exception as error:
                reason = mask(str(error).partition("\n")[0])[:300] or type(error).__name__
                if is_passing(error):
                    if not (reported or is_busy(error)):
                        self._say(f"MLflow at {self._place} does not answer; the sweep goes on, and what is logged is "
                                  f"kept and sent when it does ({reason})")  # fmt: skip
                        reported = True
                    pause = min(max(2 * pause, 0.5), 15.0)
                    continue
                self._refuse(taken[0], reason)
            else:
                if reported:
                    self._say(f"MLflow at {self._place} answers again")
                pause, reported = 0.0, False
            with self._news:
                for update in taken:
                    self._queue.remove(update)
                self._sent += 1

    def _take(self) -> list[Update]:
        """The first update, and whatever else waits for the same trial: one call is cheaper than three."""
        first = self._queue[0]
        return [first] if first.trial is None else [update for update in self._queue if update.trial == first.trial]

    def _refuse(self, update: Update, reason: str) -> None:
        message = f"{update.whose}: MLflow refused an update ({reason})"
        if message not in self.refused:
            self.refused.append(message)
            self._say(message)
