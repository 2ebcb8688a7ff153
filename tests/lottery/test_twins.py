"""Twins, and the line between them."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lth_sweep.lottery.common.duration import Duration
from lth_sweep.lottery.data import Data, Examples, Splits
from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.models import Mlp, Model, ResNet
from lth_sweep.lottery.network.state import State
from lth_sweep.lottery.probes.twins import (
    ALPHAS,
    barrier,
    between_twins,
    errors_between,
    interpolate,
    renew_statistics,
)
from lth_sweep.lottery.recipe.rewinding import FineTune
from lth_sweep.lottery.recipe.trial import Runtime, Train, TrialConfig
from lth_sweep.lottery.runs.stages import Store
from lth_sweep.lottery.runs.states import States
from lth_sweep.lottery.training.augmentation import CropFlip
from lth_sweep.lottery.training.mask_rules import Fixed
from lth_sweep.lottery.training.optimizers import SGD, Adam

TRIAL = TrialConfig(
    model=Mlp((16,)), train=Train(length=Duration(60, "steps"), evaluate=Duration(30, "steps")), rate=0.5, seeds=2,
)  # fmt: skip


def lab(folder: Path, trial: TrialConfig = TRIAL) -> States:
    return States(trial, Store(folder), Runtime())


def assert_equal(left: State, right: State) -> None:
    assert left.model.keys() == right.model.keys()
    assert [name for name in left.model if not torch.equal(left.model[name], right.model[name])] == []


@dataclass(frozen=True)
class TwoWeights(Model):
    """Class 0 where w u x > 1/4."""

    def build(self, example: Any, outputs: int) -> nn.Module:
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
    [record] = between_twins(work, [work.tree.dense(0)], 0)
    assert record.train == record.validation == (0.0,) * 30
    assert record.barriers == {"train": 0.0, "validation": 0.0}
    one, other = work.at([work.tree.dense(0), work.tree.twin(work.tree.dense(0), 0, 1)], 40)
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
            work.at([work.tree.twin(work.tree.dense(0), 20, 1)], 33)
        ends += [work.at([work.tree.twin(work.tree.dense(0), 20, 1)], 60)[0].state]
    assert_equal(*ends)
    work = lab(tmp_path / "one", trial)
    [record] = between_twins(work, [work.tree.dense(0)], 20)
    assert record.barriers["validation"] == barrier(record.validation)
    assert work.tree.twin(work.tree.dense(0), 20, 0) == work.tree.dense(0)


def test_twins_share_everything_up_to_where_they_part(tmp_path: Path) -> None:
    work = lab(tmp_path)
    dense = work.tree.dense(0)
    twins = [work.tree.twin(dense, 20, noise) for noise in (1, 2)]
    for twin in twins:
        assert_equal(work.at([twin], 20)[0].state, work.at([dense], 20)[0].state)
    states = [work.at([path], 21)[0].state.model["fc1.weight"] for path in (dense, *twins)]
    assert not any(torch.equal(states[a], states[b]) for a, b in [(0, 1), (0, 2), (1, 2)])


def test_a_digest_names_the_run_the_step_and_the_noise(tmp_path: Path) -> None:
    work = lab(tmp_path)
    names = [work.tree.twin(work.tree.dense(seed), step, noise).digest
             for seed in (0, 1) for step in (0, 20) for noise in (0, 1, 2)]  # fmt: skip
    assert len(set(names)) == 2 * (2 * 2 + 1)  # without noise, the step does not matter
    assert work.tree.twin(work.tree.dense(0), 20, 1) == lab(tmp_path).tree.twin(lab(tmp_path).tree.dense(0), 20, 1)


def test_statistics_are_those_of_the_examples() -> None:
    """2,500 examples: three batches of nearly 1,000."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.BatchNorm1d(3, momentum=0.2), nn.Dropout(0.5), nn.Linear(3, 3), nn.BatchNorm1d(3))
    x = 3 + 2 * torch.randn(2500, 3)
    renew_statistics(module, Examples(x, x))
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
    [trained] = work.at([work.tree.dense(0)], 4)
    train, validation = errors_between(work, trained.state, trained.state)
    assert len(set(train)) == len(set(validation)) == 1


def test_a_twin_of_a_ticket_keeps_its_masks(tmp_path: Path) -> None:
    work = lab(tmp_path)
    masks = Masks({name: torch.rand(work.network.shapes[name]) < 0.5 for name in work.network.weights.values()})
    twin = work.tree.twin(work.tree.branch(work.tree.dense(1), 10, masks), 30, 1)
    assert (twin.first, twin.seed) == (30, 1)
    [trained] = work.at([twin], 60)
    assert trained.state.masks.digest == masks.digest
    assert work.trained == {0: 0, 1: 10 + 20 + 30}


def test_twins_of_a_fine_tuned_ticket_are_trained_as_long_as_it_is(tmp_path: Path) -> None:
    work = lab(tmp_path, replace(TRIAL, seeds=1, rewind=FineTune(Duration(30, "steps"))))
    mask = torch.ones(16, 64, dtype=torch.bool)
    mask[:, 32:] = False
    masks = work.network.full.replace({"fc1.weight": mask})
    dense = work.tree.dense(0)
    path = work.tree.level(dense, dense, 60, masks, Fixed())
    [record] = between_twins(work, [path], 70)
    assert (record.step, record.density, record.steps_trained) == (70, masks.density, 60 + 30 + 20)
    assert work.store.steps(work.tree.twin(path, 70, 1).digest) == [90]
