"""Leases whose holder is on another machine, as far as anybody can tell."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from lth_sweep.remote import lease as leases
from lth_sweep.remote.bucket import bucket_at
from lth_sweep.remote.lease import lease
from tests import s3
from tests.remote.conftest import take_turns

BEAT = 0.4
HOLDER = f"""
import sys, time
from lth_sweep.remote import lease
from lth_sweep.remote.bucket import bucket_at
lease.BEAT_SECONDS = {BEAT}
lease._machine = lambda: "elsewhere"
with lease.lease(bucket_at(sys.argv[1]), "lease"), lease.lease(bucket_at(sys.argv[1]), "second"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def owner(s3_port: int, uri: str) -> Iterator[subprocess.Popen[str]]:
    """Holds the lease from another machine, until its input ends or it is killed."""
    with s3.named(s3_port):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, uri], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_killed_holder_is_followed_when_it_has_been_silent_for_long_enough(
    uri: str, owner: subprocess.Popen[str]
) -> None:
    owner.kill()
    owner.wait()
    with lease(bucket_at(uri), "lease", "not") as other:
        assert other.startswith(f"process {owner.pid} on ")  # which one look does not tell from a living one
    started = time.monotonic()
    with lease(bucket_at(uri), "lease") as other:
        assert other == ""
        waited = time.monotonic() - started
    assert waited >= leases.STALE_BEATS * BEAT
    with lease(bucket_at(uri), "second", "not") as other:  # what else it has held is free at once
        assert other == ""


def test_a_holder_that_lives_keeps_its_lease_however_long_it_takes(uri: str, owner: subprocess.Popen[str]) -> None:
    entered = threading.Event()

    def wait() -> None:
        with lease(bucket_at(uri), "lease"):
            entered.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert not entered.wait(3 * leases.STALE_BEATS * BEAT)
    with lease(bucket_at(uri), "lease", "for a sign of life") as other:
        assert other.startswith(f"process {owner.pid} on ")
    owner.communicate("")
    assert owner.returncode == 0
    assert entered.wait(5)
    waiting.join()


def test_of_many_that_follow_a_killed_holder_one_is_inside_at_a_time(
    uri: str, owner: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "BEAT_SECONDS", BEAT)
    owner.kill()
    owner.wait()
    most, turns = take_turns(lambda: lease(bucket_at(uri), "lease"), 5)
    assert (most, turns) == (1, 5)


def test_a_holder_that_was_taken_for_dead_leaves_the_lease_to_who_has_it(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that was suspended: it goes on, and its end does not free what another holds."""
    bucket = bucket_at(uri)
    with lease(bucket, "lease"):
        found = bucket.get("lease")
        assert found is not None
        assert bucket.replace("lease", b'{"name": "another", "beat": 0.1}', found.tag)
    after = bucket.get("lease")
    assert after is not None
    assert after.content == b'{"name": "another", "beat": 0.1}'
    with lease(bucket, "lease"):  # which has never been heard of again
        pass


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b'{"process": 7, "beat": "x"}', b'{"process": ["", 0, ""]}'])
def test_a_lease_that_nobody_can_read_ends_when_nobody_has_written_it_for_long_enough(
    uri: str, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.05)
    assert bucket_at(uri).create("lease", content)
    with lease(bucket_at(uri), "lease", "not") as other:
        assert other == "another process"
    with lease(bucket_at(uri), "lease") as other:
        assert other == ""


def test_while_the_line_is_cut_nobody_is_taken_for_dead(uri: str, line: s3.Line, owner: subprocess.Popen[str]) -> None:
    """Who waits cannot see whether the holder's beats arrive."""
    bucket, seen = bucket_at(uri), []

    def wait() -> None:
        with lease(bucket, "lease") as other:
            seen.append(other)

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(2 * BEAT)
    line.cut()
    time.sleep(1.5 * leases.STALE_BEATS * BEAT)
    line.join()
    time.sleep(leases.STALE_BEATS * BEAT / 2)
    assert seen == []
    owner.communicate("")
    waiting.join(10)
    assert seen == [""]


def test_a_holder_keeps_its_lease_through_a_cut(uri: str, line: s3.Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "BEAT_SECONDS", BEAT)
    bucket = bucket_at(uri)
    with lease(bucket, "lease"):
        line.cut()
        time.sleep(2 * BEAT)
        line.join()
        time.sleep(2 * BEAT)
        before = bucket.get("lease")
        time.sleep(2 * BEAT)
        assert before != bucket.get("lease")
    found = bucket.get("lease")
    assert found is not None
    assert found.content == leases.FREE
