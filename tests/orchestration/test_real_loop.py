"""Real trials on digits: the same records however they are scheduled, and the dense run trained once for all."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from lth_sweep.orchestration.records import read
from lth_sweep.orchestration.running import run_sweep
from lth_sweep.sweepfile.load import load_spec
from tests.orchestration.specs import trial

SWEEP = (
    trial("same", hidden="[24, 16]", steps=80, levels=3, seeds=2)
    + """\
space:
  rate: {between: [0.3, 0.6]}
  rewind: {choice: {init: init, early: {kind: step, at: 15 steps}}}
  granularity: {choice: [weight, unit]}
search: {sampler: random, trials: 5}
# These rules look at the best trial so far, and so at the order in which trials end.
stop: {race: null, hopeless: false}
verify: {top: 0}
"""
)


@pytest.fixture(params=[1, 2], ids=["one at a time", "two at a time"])
def slots(request: pytest.FixtureRequest) -> Iterator[int]:
    ray.init(address="local", num_cpus=request.param, include_dashboard=False, log_to_driver=False)
    yield request.param
    ray.shutdown()


def results(runs: Path) -> list[object]:
    return [
        (
            trial.number,
            dict(trial.picks),
            trial.ending,
            [[record.result() for record in level] for level in trial.levels],
        )
        for trial in read(runs / "same")
    ]


def test_records_are_the_same_however_trials_are_scheduled(slots: int, tmp_path: Path) -> None:
    (tmp_path / "same.yaml").write_text(SWEEP)
    spec = load_spec(tmp_path / "same.yaml")
    run_sweep(spec, tmp_path / "serial", serial=True)
    run_sweep(spec, tmp_path / "ray")
    assert results(tmp_path / "ray") == results(tmp_path / "serial")
    for runs in (tmp_path / "ray", tmp_path / "serial"):
        dense = [record for trial in read(runs / "same") for record in trial.levels[0]]
        assert len(dense) == 5 * 2
        assert sum(record.steps_trained for record in dense) == 2 * 80
        assert sum(record.steps_reused for record in dense) == 4 * 2 * 80


def test_more_seeds_train_those_alone(tmp_path: Path) -> None:
    """The records are then those of a sweep that had them all from the beginning, and so are the steps."""
    file = tmp_path / "same.yaml"
    text = SWEEP.replace("trials: 5", "trials: 3").replace("hopeless: false", "hopeless: false, patience: null")
    trained = {}
    for runs, seeds in (("grown", 2), ("grown", 4), ("whole", 4)):
        file.write_text(text.replace("seeds: 2", f"seeds: {seeds}"))
        done = run_sweep(load_spec(file), tmp_path / runs, serial=True, say=lambda message: None)
        trained[runs, seeds] = done.steps_trained
    grown, whole = (
        {
            (trial.number, record.level, record.seed): (record.metrics, record.sizes, record.stage)
            for trial in read(tmp_path / runs / "same")
            for level in trial.levels
            for record in level
        }
        for runs in ("grown", "whole")
    )
    assert len(whole) == 3 * 4 * 4
    assert grown == whole
    early = sum(trial.picks["rewind"] == "early" for trial in read(tmp_path / "grown/same"))
    assert early == 1
    a_seed = 80 + 3 * 3 * 80 - early * 3 * 15  # the dense network, and three levels of three trials
    assert trained == {("grown", 2): 2 * a_seed, ("grown", 4): 2 * a_seed, ("whole", 4): 4 * a_seed}
