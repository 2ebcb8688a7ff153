import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests import s3

NUMBERS = itertools.count()


def take_turns(lease: Callable[[], AbstractContextManager[object]], many: int) -> tuple[int, int]:
    """So many threads each go inside the lease once: the most that were inside at a time, and how many have been."""
    inside, most, turns = 0, 0, 0

    def turn() -> None:
        nonlocal inside, most, turns
        with lease():
            inside += 1
            most = max(most, inside)
            turns += 1
            time.sleep(0.02)
            inside -= 1

    threads = [threading.Thread(target=turn) for _ in range(many)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return most, turns


@pytest.fixture(scope="session")
def s3_port() -> Iterator[int]:
    with s3.server() as port:
        yield port


@pytest.fixture
def uri(s3_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A prefix of its own, and a cache of its own."""
    monkeypatch.setenv("LTH_SWEEP_CACHE", str(tmp_path / "cache"))
    with s3.named(s3_port):
        yield f"s3://{s3.BUCKET}/test-{next(NUMBERS)}"


@pytest.fixture
def line(s3_port: int, uri: str) -> Iterator[s3.Line]:
    """What the server is reached through, and can be cut."""
    line = s3.Line(s3_port)
    with s3.named(line.port):
        yield line
    line.close()
