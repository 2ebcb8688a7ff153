import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from lth_sweep.lottery.store import Stage, Store

STAGE = Stage({"model/w": torch.arange(6.0).view(2, 3)}, {"curve": [[1, 0.5, 0.9, 0.4]], "resumable": True})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "stages")


def test_a_stage_comes_back_as_it_was(store: Store) -> None:
    store.publish("abcd", 50, STAGE)
    back = store.load("abcd", 50)
    assert back is not None
    assert torch.equal(back.tensors["model/w"], STAGE.tensors["model/w"])
    assert {key: back.facts[key] for key in STAGE.facts} == STAGE.facts
    assert store.steps("abcd") == [50]
    assert store.load("abcd", 51) is None
    assert store.steps("ffff") == []


def test_the_first_to_publish_wins(store: Store) -> None:
    store.publish("abcd", 50, STAGE)
    store.publish("abcd", 50, Stage({"model/w": torch.zeros(1)}, {}))
    back = store.load("abcd", 50)
    assert back is not None
    assert back.tensors["model/w"].shape == (2, 3)
    assert sorted(path.name for path in (store.root / "ab" / "abcd").iterdir()) == ["00000050"]


@pytest.mark.parametrize("name", ["tensors.safetensors", "stage.json"])
@pytest.mark.parametrize("harm", ["flip", "truncate", "empty", "remove"])
def test_a_damaged_stage_is_set_aside(store: Store, name: str, harm: str) -> None:
    store.publish("abcd", 50, STAGE)
    file = store.root / "ab" / "abcd" / "00000050" / name
    content = bytearray(file.read_bytes())
    if harm == "remove":
        file.unlink()
    else:
        content[len(content) // 2] ^= 1
        file.write_bytes({"flip": bytes(content), "truncate": bytes(content[:-3]), "empty": b""}[harm])
    assert store.load("abcd", 50) is None
    assert store.steps("abcd") == []
    assert len(list((store.root / "damaged").iterdir())) == 1
    store.publish("abcd", 50, STAGE)
    assert store.load("abcd", 50) is not None


def test_a_number_that_was_changed_by_hand_is_found(store: Store) -> None:
    store.publish("abcd", 50, STAGE)
    file = store.root / "ab" / "abcd" / "00000050" / "stage.json"
    facts = json.loads(file.read_text())
    facts["curve"][0][2] = 0.95
    file.write_text(json.dumps(facts))
    assert store.load("abcd", 50) is None


HOLDER = """
import sys, time
from pathlib import Path
from lth_sweep.lottery.store import Store
with Store(Path(sys.argv[1])).lease("abcd"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lease_keeps_others_out_and_ends_with_its_owner(store: Store) -> None:
    """The owner is another process, killed outright."""
    owner = subprocess.Popen([sys.executable, "-c", HOLDER, str(store.root)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    assert owner.stdout.readline() == "held\n"
    entered = threading.Event()

    def wait() -> None:
        with store.lease("abcd"):
            entered.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert not entered.wait(0.5)
    with store.lease("eeee"):
        pass  # another trajectory's lease is free
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    assert entered.wait(10)
    waiting.join()


def test_a_writer_that_dies_leaves_nothing_that_counts(store: Store) -> None:
    unfinished = store.root / "ab" / "abcd" / ".0123"
    unfinished.mkdir(parents=True)
    (unfinished / "tensors.safetensors").write_bytes(b"half")
    assert store.steps("abcd") == []
    assert store.load("abcd", 123) is None


def test_many_writers_of_one_stage_leave_one(store: Store) -> None:
    threads = [threading.Thread(target=store.publish, args=("abcd", 7, STAGE)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.name for path in (store.root / "ab" / "abcd").iterdir()] == ["00000007"]
    assert store.load("abcd", 7) is not None


def test_discarding_leaves_what_is_being_trained(store: Store) -> None:
    for trajectory in ("abcd", "abef"):
        store.publish(trajectory, 50, STAGE)
    owner = subprocess.Popen([sys.executable, "-c", HOLDER, str(store.root)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    assert owner.stdout.readline() == "held\n"
    assert [store.discard(trajectory) for trajectory in ("abcd", "abef")] == [False, True]
    owner.kill()
    owner.wait()
    assert store.trajectories() == ["abcd", "abef"]
    assert [store.steps(trajectory) for trajectory in store.trajectories()] == [[50], []]
    assert list(store.usage()) == ["abcd"]
    assert store.usage()["abcd"][0] > 24
    assert store.discard("abcd")
    assert store.load("abcd", 50) is None
