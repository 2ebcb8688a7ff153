"""From which step on training is stable."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from lth_sweep.lottery.common.duration import Duration
from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.experiments.stability import stability, stable_from
from lth_sweep.lottery.loop import run
from lth_sweep.lottery.network.models import Mlp
from lth_sweep.lottery.network.state import State
from lth_sweep.lottery.probes.twins import (
    StabilityRecord,
)
from lth_sweep.lottery.recipe.rewinding import ToStep
from lth_sweep.lottery.recipe.trial import Runtime, Train, TrialConfig
from lth_sweep.lottery.runs.stages import Store
from lth_sweep.lottery.runs.states import States
from lth_sweep.lottery.training.optimizers import SGD

TRIAL = TrialConfig(
    model=Mlp((16,)), train=Train(length=Duration(60, "steps"), evaluate=Duration(30, "steps")), rate=0.5, seeds=2,
)  # fmt: skip


def steps(*numbers: int) -> list[Duration]:
    return [Duration(number, "steps") for number in numbers]


def lab(folder: Path, trial: TrialConfig = TRIAL) -> States:
    return States(trial, Store(folder), Runtime())


def test_only_what_is_new_is_trained(tmp_path: Path) -> None:
    def cost(*at: int) -> list[tuple[int, int, int]]:
        found = stability(TRIAL, Store(tmp_path), Runtime(), steps(*at))
        return [(record.step, record.seed, record.steps_trained) for record in found]

    # The dense run and a twin; then twins of the same run, stored at 20 and 40 in passing.
    assert cost(40, 0, 20, 20) == [(0, 0, 120), (0, 1, 120), (20, 0, 40), (20, 1, 40), (40, 0, 20), (40, 1, 20)]
    assert cost(0, 20, 40) == [(step, seed, 0) for step in (0, 20, 40) for seed in (0, 1)]
    # Step 30 was not stored: it is trained from 20, once.
    assert cost(30) == [(30, 0, 10 + 30), (30, 1, 10 + 30)]


def test_the_run_that_a_trial_trains_is_one_of_the_twins(tmp_path: Path) -> None:
    list(run(replace(TRIAL, levels=0), Store(tmp_path), Runtime(snapshots=(20,))))
    found = stability(TRIAL, Store(tmp_path), Runtime(), steps(20))
    assert [record.steps_trained for record in found] == [40, 40]


def test_replicas_in_one_batched_call_give_the_same_errors(tmp_path: Path) -> None:
    one_by_one = stability(TRIAL, Store(tmp_path / "one"), Runtime(), steps(20))
    batched = stability(TRIAL, Store(tmp_path / "batched"), Runtime(batched=True), steps(20))
    for left, right in zip(one_by_one, batched, strict=True):
        assert left.validation == pytest.approx(right.validation, abs=2 / 300)
        assert left.steps_trained == right.steps_trained


def test_a_tickets_twins(tmp_path: Path) -> None:
    """The ladder rewinds to k, whatever the trial does: 60 dense steps, and 40 for each of two levels and the twin."""
    store, trial = Store(tmp_path), replace(TRIAL, seeds=1)
    [record] = stability(trial, store, Runtime(), steps(20), level=2)
    ladder = list(run(replace(trial, rewind=ToStep(Duration(20, "steps")), levels=2), store, Runtime()))
    assert [level[0].steps_trained for level in ladder] == [0, 0, 0]
    assert record.steps_trained == 60 + 40 + 40 + 40
    assert record.density == ladder[2][0].density < 0.4

    work = lab(tmp_path, trial)
    stage = store.load(ladder[2][0].stage.split("/")[0], 60)
    assert stage
    masks = State.from_tensors(stage.tensors).masks
    twin = work.tree.twin(work.tree.branch(work.tree.dense(0), 20, masks), 20, 1)
    [trained] = work.at([twin], 60)
    assert work.trained == {0: 0}
    assert [name for name, mask in masks.weights.items() if trained.state.model[name][~mask].any()] == []
    assert trained.state.optimizer == {}
    assert stability(trial, store, Runtime(), steps(20), level=2) == [replace(record, steps_trained=0)]


def test_a_level_that_prunes_nothing_is_the_dense_network(tmp_path: Path) -> None:
    trial = replace(TRIAL, seeds=1, rate=1e-6)
    ticket = stability(trial, Store(tmp_path), Runtime(), steps(20), level=1)
    dense = stability(trial, Store(tmp_path), Runtime(), steps(20))
    assert ticket == [replace(record, steps_trained=100) for record in dense]


def of(step: int, highest: float, seed: int = 0) -> StabilityRecord:
    return StabilityRecord(step, seed, 1.0, (0.0, 2 * highest, 0.0), (0.0, highest, 0.0), 0)


@pytest.mark.parametrize(
    ("records", "stable"),
    [
        ([of(0, 0.01), of(10, 0.01)], 0),
        ([of(10, 0.01), of(0, 0.5)], 10),
        ([of(0, 0.01), of(10, 0.03), of(20, 0.01)], 20),
        ([of(0, 0.01), of(10, 0.02)], None),
        ([of(0, 0.03), of(0, 0.005, seed=1)], 0),
        ([of(0, 0.03), of(0, 0.02, seed=1)], None),
        ([of(0, 0.01), of(10, math.nan), of(20, 0.0)], 20),
        ([of(0, 0.01), of(0, math.nan, seed=1)], None),
        ([], None),
    ],
)
def test_stable_from(records: list[StabilityRecord], stable: int | None) -> None:
    assert stable_from(records) == stable


def test_stable_from_takes_another_limit_and_split() -> None:
    assert stable_from([of(0, 0.015)], limit=0.01) is None
    assert stable_from([of(0, 0.015)], split="train") is None


def test_training_that_diverges_is_not_stable(tmp_path: Path) -> None:
    trial = replace(TRIAL, seeds=1, train=replace(TRIAL.train, optimizer=SGD(lr=1e20)))
    found = stability(trial, Store(tmp_path), Runtime(), steps(0))
    assert math.isnan(found[0].barriers["validation"])
    assert stable_from(found) is None
    with pytest.raises(ConfigError, match=r"level 2 .*: the ladder ends at level 0, where training diverged"):
        stability(trial, Store(tmp_path), Runtime(), steps(0), level=2)


def test_mistakes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="before the end of training at 60 steps, but 100% is step 60"):
        stability(TRIAL, Store(tmp_path), Runtime(), [Duration(100, "%")])
    with pytest.raises(ConfigError, match="level: must be 0 or more, but got -1"):
        stability(TRIAL, Store(tmp_path), Runtime(), steps(0), level=-1)


def test_a_record_survives_json(tmp_path: Path) -> None:
    [record] = stability(replace(TRIAL, seeds=1), Store(tmp_path), Runtime(), steps(20))
    fields = json.loads(json.dumps(record.to_json()))
    assert fields["barriers"] == record.barriers
    assert StabilityRecord.from_json(fields) == record
