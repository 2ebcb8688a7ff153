"""The command killed at any moment, and a worker at every stage: run again, the sweep ends as if nothing had been."""

import random
import time
from pathlib import Path

import pytest

from tests.faults.harness import Sandbox, assert_equal

SLOTS, SEEDS = 2, 2


Unbroken = tuple[Sandbox, float]
"""And the seconds that it took."""


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> Unbroken:
    return run_unbroken(tmp_path_factory.mktemp("kill"), "--serial")


@pytest.fixture(scope="module")
def ray(tmp_path_factory: pytest.TempPathFactory) -> Unbroken:
    return run_unbroken(tmp_path_factory.mktemp("kill"))


def run_unbroken(folder: Path, *arguments: str) -> Unbroken:
    sandbox = Sandbox.make(folder / "unbroken")
    started = time.monotonic()
    sandbox.run(*arguments)
    return sandbox, time.monotonic() - started


def moments(but: tuple[int, ...] = ()) -> list[object]:
    """20 shares of the time that the sweep takes, all over it; all of them are slow but those few."""
    draw = random.Random(0)
    found = [(n + draw.random()) / 20 for n in range(20)]
    return [pytest.param(at, id=f"{n}", marks=[] if n in but else pytest.mark.slow) for n, at in enumerate(found)]


@pytest.mark.parametrize("share", moments(but=(9, 14)))
def test_the_command_is_killed(serial: Unbroken, tmp_path: Path, share: float) -> None:
    kill_and_go_on(serial, tmp_path, share, "--serial")


@pytest.mark.parametrize("share", moments())
def test_the_command_is_killed_while_ray_runs_two_trials_at_a_time(ray: Unbroken, tmp_path: Path, share: float) -> None:
    kill_and_go_on(ray, tmp_path, share)


def kill_and_go_on(unbroken: Unbroken, folder: Path, share: float, *arguments: str) -> None:
    seconds = unbroken[1]
    sandbox = Sandbox.make(folder / "0")
    while not sandbox.run_and_kill(seconds * share, *arguments):  # the machine is faster than it was
        seconds *= 0.8
        sandbox = Sandbox.make(folder / str(seconds))
    sandbox.run(*arguments)
    assert_equal(sandbox, unbroken[0], cut_off=SLOTS * SEEDS)


@pytest.mark.parametrize("trials", [2, pytest.param(6, marks=pytest.mark.slow)])
def test_a_worker_is_killed_at_each_stage(tmp_path: Path, trials: int) -> None:
    unbroken, killed = (Sandbox.make(tmp_path / name, seeds=1, trials=trials, top=0) for name in ("unbroken", "killed"))
    unbroken.run()
    killed.run(KILL_AT_STAGES="1")
    # Where the dense run publishes its rewind point it is on the way to its end, which is cut off by that.
    assert_equal(killed, unbroken, cut_off=1)
    stages = set(killed.counted("published"))
    assert {path.name for path in killed.folder.glob("killed-*")} == {
        f"killed-{stage.replace('/', '-')}" for stage in stages
    }
    assert "fault" in (killed.run_folder / "records/000.jsonl").read_text()
