"""Twins, the line between them, and from where on training is stable."""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import nn

from lth_sweep.lottery.augmentation import CropFlip
from lth_sweep.lottery.config import Runtime, Train, TrialConfig
from lth_sweep.lottery.data import Data, Examples, Splits
from lth_sweep.lottery.duration import Duration
from lth_sweep.lottery.errors import ConfigError
from lth_sweep.lottery.loop import run
from lth_sweep.lottery.masks import Masks
from lth_sweep.lottery.models import Mlp, Model, ResNet
from lth_sweep.lottery.optimizers import SGD, Adam
from lth_sweep.lottery.rewinding import FineTune, ToStep
from lth_sweep.lottery.stability import (
    ALPHAS,
    StabilityRecord,
    barrier,
    between_twins,
    errors_between,
    interpolate,
    renew_statistics,
    stability,
    stable_from,
)
from lth_sweep.lottery.state import State
from lth_sweep.lottery.store import Store
from lth_sweep.lottery.trajectory import Lab, stored_masks

TRIAL = TrialConfig(
    model=Mlp((16,)), train=Train(length=Duration(60, "steps"), evaluate=Duration(30, "steps")), rate=0.5, seeds=2,
)  # fmt: skip


def steps(*numbers: int) -> list[Duration]:
    return [Duration(number, "steps") for number in numbers]


def lab(folder: Path, trial: TrialConfig = TRIAL) -> Lab:
    return Lab(trial, Store(folder), Runtime())


def assert_equal(left: State, right: State) -> None:
    assert left.model.keys() == right.model.keys()
    assert [name for name in left.model if not torch.equal(left.model[name], right.model[name])] == []


@dataclass(frozen=True)
class TwoWeights(Model):
    """Class 0 where w u x > 1/4."""

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        return nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 2))


@dataclass(frozen=True)
class FewNumbers(Data):
    def load(self) -> Splits:
        train, validation = torch.tensor([[1.0], [4.0]]), torch.tensor([[1.0], [4.0], [-1.0]])
        zeros = torch.zeros(3, dtype=torch.int64)
        return Splits(Examples(train, zeros[:2]), Examples(validation, zeros), lambda: Examples(train, zeros[:2]), 2)


def two_weights(w: float, u: float) -> State:
    return State({"0.weight": torch.tensor([[w]]), "1.weight": torch.tensor([[u], [0.0]]),
                  "1.bias": torch.tensor([0.0, 0.25])}, {})  # fmt: skip


def test_the_barrier_between_two_weights_and_their_negatives(tmp_path: Path) -> None:
    """Between (1, 1) and (-1, -1), w u = (1 - 2 alpha)^2. At alpha = j / 29, |1 - 2 alpha| is an odd number of 29ths.

    x = 1 is wrong where that is at most 1/2, 13 29ths; x = 4 where it is at most 1/4, 7 29ths; x = -1 always.
    """
    trial = TrialConfig(data=FewNumbers(), model=TwoWeights(), train=Train(length=Duration(2, "steps"), batch=1))
    train, validation = errors_between(lab(tmp_path, trial), two_weights(1.0, 1.0), two_weights(-1.0, -1.0))
    assert train == (*[0.0] * 8, *[0.5] * 3, *[1.0] * 8, *[0.5] * 3, *[0.0] * 8)
    assert validation == pytest.approx((*[1 / 3] * 8, *[2 / 3] * 3, *[1.0] * 8, *[2 / 3] * 3, *[1 / 3] * 8))
    assert barrier(train) == 1.0
    assert barrier(validation) == pytest.approx(2 / 3)


def test_a_barrier_is_above_the_mean_of_the_ends() -> None:
    assert barrier([0.25, 0.5, 0.75]) == 0.25
    assert barrier([0.25, 0.125, 0.25]) == 0.0  # the highest point is an end
    assert math.isnan(barrier([0.25, math.nan, 0.25]))


@dataclass(frozen=True)
class Apart(Data):
    """Two classes, far apart."""

    def load(self) -> Splits:
        generator = torch.Generator().manual_seed(0)
        y = torch.arange(60) % 2
        x = torch.randn(60, 4, generator=generator) + 6 * (2 * y[:, None] - 1)
        parts = Examples(x[:40], y[:40]), Examples(x[40:], y[40:])
        return Splits(*parts, lambda: parts[1], 2)


def test_a_linear_network_has_no_barrier(tmp_path: Path) -> None:
    """What two linear classifiers get right, all between them get right."""
    trial = TrialConfig(data=Apart(), model=Mlp(()), seeds=1,
                        train=Train(length=Duration(40, "steps"), batch=4, optimizer=SGD(lr=0.1)))  # fmt: skip
    work = lab(tmp_path, trial)
    [record] = between_twins(work, [work.dense(0)], 0)
    assert record.train == record.validation == (0.0,) * 30
    assert record.barriers == {"train": 0.0, "validation": 0.0}
    one, other = work.reach([work.dense(0), work.twin(work.dense(0), 0, 1)], 40)
    assert not torch.equal(one.state.model["output.weight"], other.state.model["output.weight"])


def test_the_line_is_exact_at_its_ends_and_between_equal_networks(tmp_path: Path) -> None:
    work = lab(tmp_path)
    one, other = (work.initial(seed) for seed in (0, 1))
    assert (ALPHAS[0], ALPHAS[-1], len(ALPHAS)) == (0.0, 1.0, 30)
    assert_equal(interpolate(one, other, 0.0), one)
    assert_equal(interpolate(one, other, 1.0), other)
    for alpha in ALPHAS:
        assert_equal(interpolate(one, one, alpha), one)
    train, validation = errors_between(work, one, one)
    assert len(set(train)) == len(set(validation)) == 1
    assert barrier(train) == barrier(validation) == 0.0


def test_twins_of_equal_noise_are_equal_bit_by_bit(tmp_path: Path) -> None:
    trial = replace(TRIAL, train=replace(TRIAL.train, augment=CropFlip(pad=1), optimizer=Adam()))
    ends = []
    for folder in ("one", "other"):
        work = lab(tmp_path / folder, trial)
        if folder == "other":  # in two parts
            work.reach([work.twin(work.dense(0), 20, 1)], 33)
        ends += [work.reach([work.twin(work.dense(0), 20, 1)], 60)[0].state]
    assert_equal(*ends)
    work = lab(tmp_path / "one", trial)
    [record] = between_twins(work, [work.dense(0)], 20)
    assert record.barriers["validation"] == barrier(record.validation)
    assert work.twin(work.dense(0), 20, 0) == work.dense(0)


def test_twins_share_everything_up_to_where_they_part(tmp_path: Path) -> None:
    work = lab(tmp_path)
    dense = work.dense(0)
    twins = [work.twin(dense, 20, noise) for noise in (1, 2)]
    for twin in twins:
        assert_equal(work.reach([twin], 20)[0].state, work.reach([dense], 20)[0].state)
    states = [work.reach([path], 21)[0].state.model["fc1.weight"] for path in (dense, *twins)]
    assert not any(torch.equal(states[a], states[b]) for a, b in [(0, 1), (0, 2), (1, 2)])


def test_a_digest_names_the_run_the_step_and_the_noise(tmp_path: Path) -> None:
    work = lab(tmp_path)
    names = [work.twin(work.dense(seed), step, noise).digest
             for seed in (0, 1) for step in (0, 20) for noise in (0, 1, 2)]  # fmt: skip
    assert len(set(names)) == 2 * (2 * 2 + 1)  # without noise, the step does not matter
    assert work.twin(work.dense(0), 20, 1) == lab(tmp_path).twin(lab(tmp_path).dense(0), 20, 1)


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
    masks = stored_masks(stage)
    twin = work.twin(work.branch(work.dense(0), 20, masks), 20, 1)
    [trained] = work.reach([twin], 60)
    assert work.trained == {0: 0}
    assert [name for name, mask in masks.prunable.items() if trained.state.model[name][~mask].any()] == []
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


def test_statistics_are_those_of_the_examples() -> None:
    """2,500 examples: three batches of nearly 1,000."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.BatchNorm1d(3, momentum=0.2), nn.Dropout(0.5), nn.Linear(3, 3), nn.BatchNorm1d(3))
    x = 3 + 2 * torch.randn(2500, 3)
    renew_statistics(module, x)
    assert not module.training
    norm, last = module[0], module[3]
    assert isinstance(norm, nn.BatchNorm1d)
    parts = x.tensor_split(3)
    torch.testing.assert_close(norm.running_mean, torch.stack([part.mean(0) for part in parts]).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack([part.var(0) for part in parts]).mean(0))
    assert (norm.momentum, last.momentum, norm.training) == (0.2, 0.1, False)
    with torch.no_grad():
        hidden = [module[2]((part - part.mean(0)) / (part.var(0, correction=0) + norm.eps).sqrt()) for part in parts]
    torch.testing.assert_close(last.running_var, torch.stack([part.var(0) for part in hidden]).mean(0))


def test_with_batchnorm_equal_twins_have_no_barrier(tmp_path: Path) -> None:
    trial = TrialConfig(model=ResNet(depth=8, width=0.25), train=Train(length=Duration(4, "steps")), seeds=1)
    work = lab(tmp_path, trial)
    [trained] = work.reach([work.dense(0)], 4)
    train, validation = errors_between(work, trained.state, trained.state)
    assert len(set(train)) == len(set(validation)) == 1


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


def test_a_twin_of_a_ticket_keeps_its_masks(tmp_path: Path) -> None:
    work = lab(tmp_path)
    masks = Masks({name: torch.rand(work.network.shapes[name]) < 0.5 for name in work.network.weights})
    twin = work.twin(work.branch(work.dense(1), 10, masks), 30, 1)
    assert (twin.masks, twin.first, twin.seed) == (masks, 30, 1)
    work.reach([twin], 60)
    assert work.trained == {0: 0, 1: 10 + 20 + 30}


def test_twins_of_a_fine_tuned_ticket_are_trained_as_long_as_it_is(tmp_path: Path) -> None:
    work = lab(tmp_path, replace(TRIAL, seeds=1, rewind=FineTune(Duration(30, "steps"))))
    mask = torch.ones(16, 64, dtype=torch.bool)
    mask[:, 32:] = False
    masks = work.full.replace({"fc1.weight": mask})
    dense = work.dense(0)
    path = work.rewound(dense, dense, 60, masks).path
    [record] = between_twins(work, [path], 70)
    assert (record.step, record.density, record.steps_trained) == (70, masks.density, 60 + 30 + 20)
    assert work.store.steps(work.twin(path, 70, 1).digest) == [90]
