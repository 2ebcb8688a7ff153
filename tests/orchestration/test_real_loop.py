"""Real trials on digits: the same records however they are scheduled, and the dense run trained once for all."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from lth_sweep.orchestration.records import read
from lth_sweep.orchestration.sweep import run_sweep
from lth_sweep.spec.load import load_spec
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
