import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import s3

NUMBERS = itertools.count()


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
