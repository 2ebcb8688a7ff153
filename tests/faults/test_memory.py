"""A recipe that takes more memory than there is, and Ray, which kills its worker before the kernel does."""

from pathlib import Path

import psutil
import pytest

from lth_sweep.orchestration.ray_tune import NO_MEMORY
from lth_sweep.orchestration.records import read
from tests.faults.harness import Sandbox

ROOM = 4e9
"""For the command and its workers; a hungry one asks for twice as much."""
SPACE = """\
space:
  criterion: {choice: {hungry: counting:Hungry, counted: counting:Counted}}
  rate: {choice: [0.3, 0.6]}
"""


@pytest.mark.slow
def test_trials_that_take_all_memory_fail_with_the_reason_and_those_beside_them_do_not(tmp_path: Path) -> None:
    memory = psutil.virtual_memory()
    if memory.available < 2.5 * ROOM:
        pytest.skip("too little memory to waste")
    sandbox = Sandbox.make(tmp_path / "hungry", seeds=1, trials=4, top=0)
    file = sandbox.folder / "broken.yaml"
    before, after = file.read_text().split("space:")[0], file.read_text().split("objective:")[1]
    text = before.replace("  criterion: counting:Counted\n", "") + SPACE + "objective:" + after
    file.write_text(text.replace("sampler: random", "sampler: grid"))
    share = (memory.total - memory.available + ROOM) / memory.total
    process = sandbox.start("run", "broken.yaml", RAY_memory_usage_threshold=f"{share:.3f}")
    code, output, errors = sandbox.finish(process)
    assert (code, errors) == (0, ""), output + errors
    assert output.count(f"failed: {NO_MEMORY}\n") == 2
    assert "killed due to" not in output
    trials = read(sandbox.run_folder)
    assert len(trials) == 4
    for trial in trials:
        log = sandbox.run_folder / f"logs/{trial.number:03d}.txt"
        if trial.picks["criterion"] == "counted":
            assert (trial.ending, len(trial.levels)) == ("finished", 3)
        else:
            assert (trial.ending, trial.reason, len(trial.levels)) == ("failed", NO_MEMORY, 1)
            assert log.read_text().count(f"{NO_MEMORY}\n") == 3
            assert log.read_text().count("killed due to the node running low on memory") == 3
