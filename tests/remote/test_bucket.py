"""What stores answer that is no success, how long one is waited for, and where credentials come from."""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lth_sweep.disk import StorageAway
from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.orchestration.interruption import Interruption
from lth_sweep.remote import bucket as buckets
from lth_sweep.remote.bucket import Bucket, Denied
from tests import s3


class Scripted(ThreadingHTTPServer):
    """A store that gives the next of these statuses, and then 200, to each request."""

    statuses: list[int]
    asked: list[str]
    """The Authorization header of each request."""


class Handler(BaseHTTPRequestHandler):
    server: Scripted

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append(self.headers["Authorization"])
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        words = {403: ("AccessDenied", "Ask the owner"), 301: ("PermanentRedirect", "Elsewhere")}.get(
            status, ("SlowDown", "Later")
        )
        body = "<Error>\n<Code>{}</Code>\n<Message>{}</Message></Error>".format(*words) if status != 200 else ""
        self.send_response(status)
        self.send_header("ETag", '"tag"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *arguments: object) -> None: ...


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scripted]:
    server = Scripted(("127.0.0.1", 0), Handler)
    server.statuses, server.asked = [], []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with s3.named(server.server_address[1]):
        yield server
    server.shutdown()
    server.server_close()


def test_a_busy_store_is_asked_again(scripted: Scripted) -> None:
    scripted.statuses = [503, 500]
    assert Bucket("s3://any").create("key", b"content") == '"tag"'
    assert len(scripted.asked) == 3


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (403, r"s3://any: access is denied \(AccessDenied: Ask the owner\); the credentials must be allowed to list"),
        (301, "s3://any: the bucket is in another region; name it in AWS_REGION"),
    ],
)
def test_what_no_waiting_cures_is_said_at_once(scripted: Scripted, status: int, words: str) -> None:
    scripted.statuses = [status]
    with pytest.raises(Denied, match=words):
        Bucket("s3://any").create("key", b"content")
    assert len(scripted.asked) == 1


def test_a_write_whose_answer_was_lost_is_known_as_ones_own(uri: str, line: s3.Line) -> None:
    bucket = Bucket(uri)
    line.swallow = 1
    tag = bucket.create("key", b"mine")
    assert tag is not None
    line.swallow = 1
    assert bucket.replace("key", b"mine again", tag) not in (None, tag)
    assert line.swallow == 0
    assert bucket.create("key", b"another's") is None
    assert bucket.replace("key", b"another's", tag) is None


def test_what_is_large_goes_in_one_piece(uri: str) -> None:
    bucket, content = Bucket(uri), bytes(range(256)) * 8000
    assert len(content) > buckets.LARGE
    tag = bucket.create("key", content)
    assert bucket.create("key", content[1:]) is None
    found = bucket.get("key")
    assert found is not None
    assert (found.content, found.tag) == (content, tag)
    assert [(entry.key, entry.size, entry.tag) for entry in bucket.entries()] == [("key", len(content), tag)]


def test_one_that_has_answered_is_waited_for_longer_and_then_no_more(
    uri: str, line: s3.Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "FIRST_SECONDS", 0.1)
    monkeypatch.setattr(buckets, "AWAY_SECONDS", 1.0)
    line.cut()
    bucket = Bucket(uri)
    waited = [_seconds_until_away(bucket)]
    line.join()
    assert bucket.get("key") is None
    line.cut()
    waited += [_seconds_until_away(bucket), _seconds_until_away(bucket)]
    assert waited[0] >= 0.1
    assert waited[1] >= 1.0
    assert max(waited[0], waited[2]) < 1.0
    line.join()
    assert bucket.get("key") is None


def test_a_signal_ends_the_waiting(uri: str, line: s3.Line) -> None:
    """At once, where it would have waited for five minutes."""
    bucket = Bucket(uri)
    assert bucket.get("key") is None
    line.cut()
    with Interruption() as interruption:
        threading.Timer(1, os.kill, (os.getpid(), signal.SIGTERM)).start()
        waited = [_seconds_until_away(bucket), _seconds_until_away(bucket)]
        assert interruption.wanted
    assert 1 <= waited[0] < buckets.AWAY_SECONDS / 10
    assert waited[1] < 1
    line.join()
    assert bucket.get("key") is None


def test_a_store_that_takes_a_request_and_never_answers_is_away(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "FIRST_SECONDS", 0.1)
    monkeypatch.setattr(buckets, "READ_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent, s3.named(silent.getsockname()[1]):
        bucket = Bucket(uri)
        assert 0.3 <= _seconds_until_away(bucket) < 10
        with pytest.raises(StorageAway):
            bucket.create("key", b"content")


def _seconds_until_away(bucket: Bucket) -> float:
    started = time.monotonic()
    with pytest.raises(StorageAway, match=f"cannot reach {bucket}: "):
        bucket.get("key")
    return time.monotonic() - started


def test_a_profile_gives_the_credentials(scripted: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "credentials"
    file.write_text("[default]\naws_access_key_id = OF-THE-FILE\naws_secret_access_key = secret\n")
    Bucket("s3://any").create("key", b"")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    Bucket("s3://any").create("key", b"")
    assert ["Credential=key/" in scripted.asked[0], "Credential=OF-THE-FILE/" in scripted.asked[1]] == [True, True]
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(ConfigError, match=r"no credentials for AWS: .*nobody"):
        Bucket("s3://any")
    monkeypatch.setitem(sys.modules, "obstore.auth.boto3", None)
    with pytest.raises(ConfigError, match="AWS profiles need a package more: pip install boto3"):
        Bucket("s3://any")


def test_without_the_client_it_says_what_to_install(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(ConfigError, match=r"needs a package more: pip install 'lth-sweep\[s3\]'"):
        Bucket(uri)


def test_what_is_not_encrypted_stays_on_this_machine(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for address in ("http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1", "https://store.example"):
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        Bucket(uri)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://minio:9000")
    with pytest.raises(ConfigError, match="AWS_ENDPOINT_URL is http://minio:9000, where everything can be read"):
        Bucket(uri)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    Bucket(uri)
