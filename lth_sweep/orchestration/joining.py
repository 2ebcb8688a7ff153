"""Before a node joins a cluster: the head says what versions it has, and the others compare theirs.

python -m lth_sweep.orchestration.joining publish HOST:PORT     on the head, once it is up
python -m lth_sweep.orchestration.joining check HOST:PORT       elsewhere; waits for the head
"""

import json
import sys
import time
from typing import Any

from ray.exceptions import AuthenticationError

from lth_sweep.versions import versions

KEY = b"versions"
NAMESPACE = b"lth_sweep"
WAIT_SECONDS = 120


def different(head: dict[str, str], here: dict[str, str]) -> list[str]:
    """What differs, in words."""
    return [f"{name} is {here.get(name, 'absent')} here, but {wanted} on the head"
            for name, wanted in head.items() if here.get(name) != wanted]  # fmt: skip


def main(action: str, address: str) -> int:
    if action == "publish":
        _store(address).internal_kv_put(KEY, json.dumps(versions()).encode(), True, NAMESPACE)
        return 0
    try:
        found = _of_the_head(address)
    except AuthenticationError as error:
        print(f"this node cannot join: {error}", file=sys.stderr)
        return 1
    if found is None:
        print(f"no head at {address} has said its versions in {WAIT_SECONDS} s", file=sys.stderr)
        return 1
    problems = different(json.loads(found), versions())
    for problem in problems:
        print(f"this node cannot join: {problem}; use the same image everywhere", file=sys.stderr)
    return 1 if problems else 0


def _store(address: str) -> Any:
    """Ray's, which a node can read before it has joined."""
    import ray._raylet

    return ray._raylet.GcsClient(address=address)


def _of_the_head(address: str) -> bytes | None:
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        try:
            if found := _store(address).internal_kv_get(KEY, NAMESPACE):
                return bytes(found)
        except AuthenticationError:
            raise
        except Exception:  # of any kind: it is not up yet; one that never is has its message above
            pass
        time.sleep(1)
    return None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
