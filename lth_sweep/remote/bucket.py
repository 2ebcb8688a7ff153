"""Objects by key, each there whole or not at all, and written on a condition, which is what leases stand on.

Any store that speaks S3 with conditional writes will do, as AWS has them since 2024. Credentials come from where AWS's
own tools take them; the address of another store than AWS from AWS_ENDPOINT_URL.
"""

import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from lth_sweep.disk import PATIENCE, StorageAway
from lth_sweep.lottery.common.errors import ConfigError

T = TypeVar("T")
AWAY_SECONDS = 300.0
"""How long a call waits for a store that cannot be reached."""
FIRST_SECONDS = 10.0
"""How long for one that has not answered yet: its address may be wrong."""
READ_SECONDS = 30.0
"""Without a byte, until an answer is given up. What is sent counts as no answer, so that it does not hold for what is
large."""
LARGE = 10**6
WHOLE_SECONDS = 3600.0
PAUSE_SECONDS = 0.2, 10.0
"""Between attempts: at first, and at most."""
HINTS = {
    "NoSuchBucket": "there is no such bucket; make it, or name another one",
    "Error parsing Path": "it has objects with keys that no path can be made of, such as a/../b; remove them",
    "PermanentRedirect|redirect without LOCATION": "the bucket is in another region; name it in AWS_REGION",
    "instance metadata|169.254|security-credentials": "no credentials were found; set AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
}
"""What is never cured by waiting."""


@dataclass(frozen=True)
class Found:
    content: bytes
    tag: str
    """Another one after each change."""


@dataclass(frozen=True)
class Entry:
    key: str
    size: int
    tag: str
    written: float
    """In seconds since the epoch, by the store's clock."""


class Denied(StorageAway):
    """What no waiting cures, such as a bucket that is not there, or credentials that do not do."""


class Bucket:
    """The objects below s3://BUCKET/PREFIX.

    A store that cannot be reached is waited for, but not once the process is to end; then StorageAway is raised, and
    from then on at once, until it answers again. Denied is raised at once.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")
        self._store, self._large = _open(self.uri, READ_SECONDS), _open(self.uri, WHOLE_SECONDS)
        self._patience = FIRST_SECONDS

    def __str__(self) -> str:
        return self.uri

    def get(self, key: str, patient: bool = True) -> Found | None:
        import obstore

        def call() -> Found | None:
            try:
                found = obstore.get(self._store, key)
            except FileNotFoundError as error:
                self._check(error)
                return None
            return Found(bytes(found.bytes()), found.meta["e_tag"] or "")

        return self._patiently(call, patient)

    def create(self, key: str, content: bytes) -> str | None:
        """Its tag; None where there is an object already, which stays."""
        return self._put(key, content, "create")

    def replace(self, key: str, content: bytes, tag: str, patient: bool = True) -> str | None:
        """The new tag; None where the object has another tag than this one by now, or has gone."""
        return self._put(key, content, {"e_tag": tag}, patient)

    def delete(self, keys: Sequence[str]) -> None:
        import obstore

        if keys:
            self._patiently(lambda: obstore.delete(self._store, list(keys)))

    def entries(self, prefix: str = "") -> list[Entry]:
        """All below a prefix, which is a whole number of a key's parts, in order."""
        import obstore

        def call() -> list[Entry]:
            pages = obstore.list(self._store, prefix or None)
            return [
                Entry(one["path"], one["size"], one["e_tag"] or "", _seconds(one["last_modified"]))
                for page in pages
                for one in page
            ]

        return sorted(self._patiently(call), key=lambda entry: entry.key)

    def folders(self) -> list[str]:
        """The first parts of the keys that have several."""
        import obstore

        return sorted(self._patiently(lambda: obstore.list_with_delimiter(self._store)["common_prefixes"]))

    def _put(self, key: str, content: bytes, mode: Any, patient: bool = True) -> str | None:
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        store = self._large if len(content) > LARGE else self._store

        def call() -> str | None:
            try:
                return obstore.put(store, key, content, mode=mode, use_multipart=False)["e_tag"]
            except (AlreadyExistsError, PreconditionError):
                return None

        if tag := self._patiently(call, patient):
            return tag
        # It may be this very write, whose answer was lost.
        found = self.get(key) if patient else None
        return found.tag if found and found.content == content else None

    def _patiently(self, call: Callable[[], T], patient: bool = True) -> T:
        from obstore.exceptions import BaseError

        (pause, longest), started = PAUSE_SECONDS, time.monotonic()
        while True:
            try:
                result = call()
            except (BaseError, FileNotFoundError) as error:
                self._check(error)
                if not patient:
                    raise StorageAway(f"cannot reach {self}") from error
                if PATIENCE.is_over or time.monotonic() - started >= self._patience:
                    self._patience = 0.0
                    raise StorageAway(f"cannot reach {self}: {_reason(error)}") from error
            else:
                self._patience = AWAY_SECONDS
                return result
            PATIENCE.wait(pause)
            pause = min(2 * pause, longest)

    def _check(self, error: Exception) -> None:
        """Raise Denied for what is for the user to put right."""
        from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

        for pattern, hint in HINTS.items():
            if re.search(pattern, str(error)):
                raise Denied(f"{self}: {hint}") from error
        if isinstance(error, PermissionDeniedError | UnauthenticatedError):
            raise Denied(
                f"{self}: access is denied ({_reason(error)}); the credentials must be allowed to list, read, write "
                "and delete there"
            ) from error


def bucket_at(uri: str) -> Bucket:
    return _bucket(uri, endpoint())


@cache
def _bucket(uri: str, address: str) -> Bucket:
    """One for each, since connections are kept open."""
    return Bucket(uri)


def endpoint() -> str:
    """The address of another store than AWS; empty where none is named."""
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    return next((address for name in names if (address := os.environ.get(name))), "")


def _open(uri: str, read_seconds: float) -> Any:
    try:
        from obstore.store import S3Store
    except ImportError as error:
        raise ConfigError(f"{uri} needs a package more: pip install 'lth-sweep[s3]'", "storage") from error
    address = endpoint()
    given: dict[str, Any] = {"endpoint": address} if address else {}
    if provider := _credentials():
        given["credential_provider"] = provider
    return S3Store.from_url(
        uri,
        client_options={
            "timeout": timedelta(seconds=WHOLE_SECONDS),
            "read_timeout": timedelta(seconds=read_seconds),
            "allow_http": _may_be_plain(address),
        },
        retry_config={"max_retries": 0},
        **given,
    )


def _may_be_plain(address: str) -> bool:
    """Whether what is sent there need not be encrypted. Keys are not sent, but everything else is."""
    if urlsplit(address).scheme != "http":
        return False
    if _is_loopback(urlsplit(address).hostname or "") or os.environ.get("AWS_ALLOW_HTTP", "").lower() == "true":
        return True
    raise ConfigError(
        f"AWS_ENDPOINT_URL is {address}, where everything can be read on the way; use https://, or set "
        "AWS_ALLOW_HTTP=true where the network is your own",
        "storage",
    )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _credentials() -> Any:
    """For profiles, which the client does not know; None where it finds what it needs by itself."""
    files = {"AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials", "AWS_CONFIG_FILE": "~/.aws/config"}
    named = any(Path(os.environ.get(name, usual)).expanduser().exists() for name, usual in files.items())
    if "AWS_ACCESS_KEY_ID" in os.environ or not (named or "AWS_PROFILE" in os.environ):
        return None
    try:
        from botocore.exceptions import BotoCoreError
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError as error:
        raise ConfigError("AWS profiles need a package more: pip install boto3", "storage") from error
    try:
        return Boto3CredentialProvider()
    except (BotoCoreError, ValueError) as error:
        raise ConfigError(f"no credentials for AWS: {error}", "storage") from error


def _reason(error: Exception) -> str:
    """What the store says, or else the client, without what it adds for its own developers."""
    if said := re.search(r"<Code>(.*?)</Code>.*?<Message>(.*?)</Message>", str(error), re.DOTALL):
        return ": ".join(said.groups())
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0].rpartition(" - ")[2] if lines else type(error).__name__


def _seconds(moment: datetime) -> float:
    return moment.timestamp()
