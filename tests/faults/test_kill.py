"""The command killed at any moment, and a worker at every stage: run again, the sweep ends as if nothing had been."""

import random
import time
from pathlib import Path

import pytest

from tests.faults.harness import Sandbox, assert_equal

SLOTS, SEEDS = 2, 2


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sandbox, float]:
    """And the seconds that it took."""
    sandbox = Sandbox.make(tmp_path_factory.mktemp("kill") / "unbroken")
    started = time.monotonic()
    sandbox.run()
    return sandbox, time.monotonic() - started


def moments(but: tuple[int, ...] = ()) -> list[object]:
    """20 shares of the time that the sweep takes, all over it; all of them are slow but those few."""
    draw = random.Random(0)
    found = [(n + draw.random()) / 20 for n in range(20)]
    return [pytest.param(share, marks=[] if n in but else pytest.mark.slow) for n, share in enumerate(found)]


@pytest.mark.parametrize("share", moments())
def test_the_command_is_killed(unbroken: tuple[Sandbox, float], tmp_path: Path, share: float) -> None:
    sandbox, seconds = Sandbox.make(tmp_path / "killed"), unbroken[1]
    while not sandbox.run_and_kill(seconds * share):  # a machine that was busy for the unbroken sweep is faster now
        sandbox, seconds = Sandbox.make(tmp_path / f"killed-{share}-{seconds}"), 0.8 * seconds
    sandbox.run()
    assert_equal(sandbox, unbroken[0], cut_off=SLOTS * SEEDS)


@pytest.mark.parametrize("trials", [2, pytest.param(6, marks=pytest.mark.slow)])
def test_a_worker_is_killed_at_each_stage(tmp_path: Path, trials: int) -> None:
    unbroken, killed = (Sandbox.make(tmp_path / name, seeds=1, trials=trials, top=0) for name in ("unbroken", "killed"))
    unbroken.run()
    killed.run(KILL_AT_STAGES="1")
    assert_equal(killed, unbroken, cut_off=0)
    stages = set(killed.counted("published"))
    assert {path.name for path in killed.folder.glob("killed-*")} == {
        f"killed-{stage.replace('/', '-')}" for stage in stages
    }
    assert "fault" in (killed.run_folder / "records/000.jsonl").read_text()
