"""What stages do in a folder and in an object store alike, and what they do in an object store."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.runs.stages import Stage, Stages, Store
from lth_sweep.remote.bucket import bucket_at
from lth_sweep.remote.node_cache import NodeCache
from lth_sweep.remote.stages import BucketStages, stages_at
from tests.remote.conftest import take_turns

STAGE = Stage({"model/w": torch.arange(6.0).view(2, 3)}, {"curve": [[1, 0.5, 0.9, 0.4]], "resumable": True})
OTHER = Stage({"model/w": torch.zeros(1)}, {})


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    return tmp_path / "stages" if request.param == "folder" else request.getfixturevalue("uri")


@pytest.fixture
def stages(place: Path | str) -> Stages:
    return stages_at(place)


HOLDER = """
import sys, time
from pathlib import Path
from lth_sweep.remote.stages import stages_at
place = sys.argv[1]
with stages_at(place if "://" in place else Path(place)).lease("abcd"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def owner(place: Path | str) -> Iterator[subprocess.Popen[str]]:
    """Holds the lease of abcd until it is killed."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(place)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_stage_comes_back_as_it_was(stages: Stages) -> None:
    stages.publish("abcd", 50, STAGE)
    stages.publish("abcd", 7, STAGE)
    back = stages.load("abcd", 50)
    assert back is not None
    assert torch.equal(back.tensors["model/w"], STAGE.tensors["model/w"])
    assert {key: back.facts[key] for key in STAGE.facts} == STAGE.facts
    assert stages.steps("abcd") == [7, 50]
    assert stages.load("abcd", 51) is None
    assert stages.steps("ffff") == []


def test_the_first_to_publish_wins(stages: Stages) -> None:
    stages.publish("abcd", 50, STAGE)
    stages.publish("abcd", 50, OTHER)
    back = stages.load("abcd", 50)
    assert back is not None
    assert back.tensors["model/w"].shape == (2, 3)
    assert stages.steps("abcd") == [50]


def test_many_writers_of_one_stage_leave_one(stages: Stages) -> None:
    threads = [threading.Thread(target=stages.publish, args=("abcd", 7, STAGE)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stages.steps("abcd") == [7]
    assert stages.load("abcd", 7) is not None
    assert stages.tidy() == 0


def test_a_lease_keeps_others_out_and_ends_with_its_owner(stages: Stages, owner: subprocess.Popen[str]) -> None:
    """The owner is another process, killed outright."""
    entered = threading.Event()

    def wait() -> None:
        with stages.lease("abcd") as held:
            assert held
            entered.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert not entered.wait(0.5)
    with stages.lease("abcd", wait=False) as held:
        assert not held
    assert not stages.discard("abcd")
    with stages.lease("eeee") as held:
        assert held  # another trajectory's lease is free
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    assert entered.wait(10)
    waiting.join()


def test_a_lease_is_had_by_one_at_a_time_and_by_all_in_the_end(stages: Stages) -> None:
    most, turns = take_turns(lambda: stages.lease("abcd"), 6)
    assert (most, turns) == (1, 6)


def test_discarding_leaves_what_is_being_trained(stages: Stages) -> None:
    for trajectory in ("abcd", "abef"):
        stages.publish(trajectory, 50, STAGE)
    with stages.lease("abcd"):
        assert [stages.discard(trajectory) for trajectory in ("abcd", "abef")] == [False, True]
    assert [stages.steps(trajectory) for trajectory in ("abcd", "abef")] == [[50], []]
    assert list(stages.usage()) == ["abcd"]
    assert stages.usage()["abcd"][0] > 24
    assert stages.load("abef", 50) is None
    assert stages.discard("abcd")
    assert stages.load("abcd", 50) is None


def cold(uri: str, tmp_path: Path) -> BucketStages:
    """As another machine sees it."""
    return BucketStages(bucket_at(uri), NodeCache(tmp_path / "elsewhere", 10**9))


@pytest.mark.parametrize("harm", ["flip", "truncate", "empty", "number"])
def test_a_damaged_object_is_set_aside_and_made_again(uri: str, tmp_path: Path, harm: str) -> None:
    stages, bucket = stages_at(uri), bucket_at(uri)
    stages.publish("abcd", 50, STAGE)
    found = bucket.get("abcd/00000050")
    assert found is not None
    content = bytearray(found.content)
    content[-1] ^= 1
    harmed = {"flip": bytes(content), "truncate": found.content[:-3], "empty": b"",
              "number": found.content.replace(b"0.9", b"0.95")}[harm]  # fmt: skip
    assert bucket.replace("abcd/00000050", harmed, found.tag)
    other = cold(uri, tmp_path)
    assert other.load("abcd", 50) is None
    assert other.steps("abcd") == []
    [aside] = bucket.entries("damaged")
    assert aside.size == len(harmed)
    assert list(other.usage()) == []
    other.publish("abcd", 50, STAGE)
    assert cold(uri, tmp_path).load("abcd", 50) is not None


def test_a_machine_fetches_a_stage_once_and_a_damaged_copy_again(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages_at(uri).publish("abcd", 50, STAGE)
    other, asked = cold(uri, tmp_path), []
    get = other.bucket.get
    monkeypatch.setattr(other.bucket, "get", lambda key: asked.append(key) or get(key))
    assert other.load("abcd", 50) is not None
    assert cold(uri, tmp_path).load("abcd", 50) is not None  # another process there
    assert asked == ["abcd/00000050"]
    [copy] = (tmp_path / "elsewhere").rglob("0*")
    copy.write_bytes(copy.read_bytes()[:-1])
    assert other.load("abcd", 50) is not None
    assert len(asked) == 2
    assert stages_at(uri).load("abcd", 50) is not None  # who has written it has it
    assert len(asked) == 2


def test_the_longest_unused_leaves_a_full_cache(tmp_path: Path) -> None:
    cache = NodeCache(tmp_path, 1000)
    for number in range(9):
        cache.put(f"a/{number}", bytes(100))
        os.utime(tmp_path / f"a/{number}", (number, number))
    assert cache.get("a/0") == bytes(100)  # and so it is not the longest unused
    cache.put("b", bytes(200))
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"0", "3", "4", "5", "6", "7", "8", "b"}
    cache.put("c", bytes(1001))
    assert cache.get("c") is None


def test_a_cache_that_cannot_be_written_is_no_harm(uri: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    stages = BucketStages(bucket_at(uri), NodeCache(tmp_path / "file" / "cache", 10**9))
    stages.publish("abcd", 50, STAGE)
    assert stages.load("abcd", 50) is not None


def test_the_limit_of_the_cache_is_a_number(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LTH_SWEEP_CACHE_GB", "0.5")
    assert stages_at(uri).cache._limit == 500_000_000  # type: ignore[attr-defined]
    monkeypatch.setenv("LTH_SWEEP_CACHE_GB", "much")
    with pytest.raises(ConfigError, match="LTH_SWEEP_CACHE_GB: expected a number of gigabytes, but got 'much'"):
        stages_at(uri)


def test_a_shared_folder_may_lie_elsewhere_on_a_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(tmp_path / "mounted" / "stages").publish("abcd", 50, STAGE)
    monkeypatch.setenv("LTH_SWEEP_PATHS", f"/runs={tmp_path / 'mounted'}")
    assert stages_at(Path("/runs/stages")).steps("abcd") == [50]
    assert stages_at(tmp_path / "mounted/stages").steps("abcd") == [50]
