"""Where a level starts: each rule's weights, its part of the schedule, its optimizer state, and its digest."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lth_sweep.lottery.common.duration import Clock, Duration
from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.loop import run
from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.models import Mlp
from lth_sweep.lottery.network.state import State
from lth_sweep.lottery.recipe.rewinding import (
    FineTune,
    LearningRate,
    Reinit,
    Rewind,
    Shuffle,
    Signs,
    ToInit,
    ToStep,
)
from lth_sweep.lottery.recipe.trial import Runtime, Train, TrialConfig
from lth_sweep.lottery.runs.stages import Store
from lth_sweep.lottery.runs.states import States
from lth_sweep.lottery.runs.tree import Trajectory
from lth_sweep.lottery.training.mask_rules import Fixed
from lth_sweep.lottery.training.optimizers import SGD
from lth_sweep.lottery.training.schedules import Step
from lth_sweep.lottery.training.trainer import Replica

K = Duration(10, "steps")
TRIAL = TrialConfig(
    model=Mlp((16,)),
    train=Train(length=Duration(40, "steps"), evaluate=Duration(20, "steps"),
                optimizer=SGD(lr=0.2), schedule=Step(milestones=(Duration(20, "steps"),))),
    seeds=1,
)  # fmt: skip


def lab(folder: Path, rewind: Rewind) -> States:
    return States(replace(TRIAL, rewind=rewind), Store(folder), Runtime())


def half(work: States, seed: int = 0) -> Masks:
    generator = torch.Generator().manual_seed(seed)
    full = work.network.full.tensors
    return Masks({name: torch.rand(mask.shape, generator=generator) < 0.5 for name, mask in full.items()})


def next_path(work: States, masks: Masks, last: Trajectory | None = None) -> Trajectory:
    dense = work.tree.dense(0)
    before = last or dense
    return work.tree.level(dense, before, before.last, masks, Fixed())


def at(work: States, path: Trajectory, step: int) -> State:
    return work.at([path], step)[0].state


def same(one: State, other: State) -> bool:
    return all(torch.equal(one.model[name], other.model[name]) for name in one.model)


@pytest.mark.parametrize(
    ("rule", "first", "end", "has_momentum"),
    [
        (ToInit(), 0, 40, False),
        (ToStep(K), 10, 40, True),
        (LearningRate(), 0, 40, False),
        (LearningRate(K), 10, 40, False),
        (FineTune(), 40, 80, False),
        (FineTune(Duration(5, "steps")), 40, 45, False),
        (Reinit(), 0, 40, False),
        (Signs(K), 10, 40, False),
        (Shuffle(K), 10, 40, False),
    ],
)
def test_from_where_to_where(rule: Rewind, first: int, end: int, has_momentum: bool, tmp_path: Path) -> None:
    work = lab(tmp_path, rule)
    masks = half(work)
    path = next_path(work, masks)
    start = work.at([path], path.first)[0].state
    assert (path.first, path.last, bool(start.optimizer)) == (first, end, has_momentum)
    assert all(not start.model[name][~masks[name]].any() for name in masks)
    before = work.trained[0]
    result = work.at([path], end)[0]
    assert work.trained[0] - before == end - first
    assert result.curve[-1].step == end


def test_pure_rewinding_starts_from_the_dense_run_at_k(tmp_path: Path) -> None:
    for rule, k in ((ToInit(), 0), (ToStep(K), 10)):
        work = lab(tmp_path, rule)
        masks = half(work)
        assert same(at(work, next_path(work, masks), k), at(work, work.tree.dense(0), k).masked(masks))


@pytest.mark.parametrize("rule", [LearningRate(), LearningRate(K), FineTune(Duration(5, "steps"))])
def test_weights_stay_also_on_the_second_level(rule: Rewind, tmp_path: Path) -> None:
    work = lab(tmp_path, rule)
    one, other = half(work), half(work, 1)
    both = Masks({name: one[name] & other[name] for name in one})
    first = next_path(work, one)
    assert same(work.at([first], first.first)[0].state, at(work, work.tree.dense(0), 40).masked(one))
    second = next_path(work, both, first)
    assert same(work.at([second], second.first)[0].state, at(work, first, first.last).masked(both))


def test_fine_tuning_is_at_the_last_learning_rate(tmp_path: Path) -> None:
    """SGD without momentum: as a run at a constant 0.02, a tenth of the peak, on the batches of steps 40 to 44."""
    work = lab(tmp_path, FineTune(Duration(5, "steps")))
    work.trainer = replace(work.trainer, recipe=replace(work.trainer.recipe, optimizer=SGD(lr=0.2, momentum=0)))
    masks = half(work)
    path = next_path(work, masks)
    plain = replace(
        work.trainer,
        recipe=replace(work.trainer.recipe, optimizer=SGD(lr=0.2 * 0.1, momentum=0), schedule=Step(milestones=())),
        clock=Clock(work.clock.per_epoch, 1000),
    )
    [expected] = plain.train([Replica(at(work, path, path.first), 0)], 40, 45)
    found = at(work, path, 45)
    for name, tensor in found.model.items():
        torch.testing.assert_close(tensor, expected.state.model[name])


def test_fresh_draws_differ_from_masks_to_masks_and_from_the_first(tmp_path: Path) -> None:
    work = lab(tmp_path, Reinit())
    one, other = half(work), half(work, 1)
    both = one["fc1.weight"] & other["fc1.weight"]
    draws = [at(work, next_path(work, masks), 0).model["fc1.weight"][both] for masks in (one, other)]
    initial = work.initial(0).model["fc1.weight"]
    assert not (draws[0] == draws[1]).any()
    assert not (draws[0] == initial[both]).any()
    assert draws[0].std().item() == pytest.approx(initial.std().item(), rel=0.15)


def test_signs_of_a_literal() -> None:
    """Their standard deviation is 2: the weights are 3, -1, 3, -1 around a mean of 1."""
    state = State({"a.weight": torch.tensor([[3.0, -1.0], [3.0, -1.0]]), "a.bias": torch.tensor([0.5, -0.5])}, {})
    masks = Masks({"a.weight": torch.tensor([[True, True], [False, True]])})
    found = Signs().change(state, masks, 0, lambda *purpose: state)
    assert found.model["a.weight"].tolist() == [[2.0, -2.0], [2.0, -2.0]]
    assert found.model["a.bias"].tolist() == [0.5, -0.5]


def test_shuffling_is_among_the_kept() -> None:
    weight = torch.arange(16.0).view(4, 4)
    mask = torch.tensor([[1, 0, 1, 0], [0, 1, 0, 1], [1, 1, 0, 0], [0, 0, 1, 1]]).bool()
    state = State({"a.weight": weight, "a.bias": torch.arange(4.0)}, {})
    masks = Masks({"a.weight": mask}, {"a.bias": torch.ones(4, dtype=torch.bool)})
    found = Shuffle().change(state, masks, 0, lambda *purpose: state).model
    assert sorted(found["a.weight"][mask].tolist()) == weight[mask].tolist()
    assert found["a.weight"][mask].tolist() != weight[mask].tolist()
    assert torch.equal(found["a.weight"][~mask], weight[~mask])
    assert torch.equal(found["a.bias"], state.model["a.bias"])
    assert torch.equal(state.model["a.weight"], torch.arange(16.0).view(4, 4))
    other = Shuffle().change(state, masks, 1, lambda *purpose: state).model
    assert not torch.equal(found["a.weight"], other["a.weight"])


def test_digests_hold_what_determines_the_start(tmp_path: Path) -> None:
    def digest(rule: Rewind, seed: int = 0, last: Rewind | None = None) -> str:
        work = lab(tmp_path, rule)
        before = next_path(lab(tmp_path, last), half(work)) if last else None
        return next_path(work, half(work, seed), before).digest

    starts = [ToInit(), ToStep(K), LearningRate(), LearningRate(K), FineTune(), Reinit(), Signs(), Signs(K), Shuffle(),
              Shuffle(K)]  # fmt: skip
    assert len({digest(rule, seed) for rule in starts for seed in (0, 1)}) == 20
    assert digest(ToInit()) == digest(ToStep(Duration(0, "steps")))
    assert digest(FineTune()) == digest(FineTune(Duration(5, "steps")))  # the one is the start of the other
    assert digest(ToStep(Duration(25, "%"))) == digest(ToStep(K))
    assert digest(Signs(Duration(25, "%"))) == digest(Signs(K))
    # Rules that take the dense run's weights do not care which level came before; those that keep weights do.
    assert digest(ToStep(K), 1, last=LearningRate()) == digest(ToStep(K), 1)
    assert digest(LearningRate(), 1, last=LearningRate()) != digest(LearningRate(), 1)


def test_without_masks_a_plain_branch_is_the_dense_run_and_a_changed_one_is_not(tmp_path: Path) -> None:
    for rule in (ToInit(), ToStep(K)):
        work = lab(tmp_path, rule)
        assert next_path(work, work.network.full) == work.tree.dense(0)
    for rule in (LearningRate(), Reinit(), FineTune()):
        work = lab(tmp_path, rule)
        assert next_path(work, work.network.full) != work.tree.dense(0)


def test_a_path_that_fine_tunes_can_be_interrupted(tmp_path: Path) -> None:
    trial = replace(TRIAL, rewind=FineTune(Duration(10, "steps")))
    work, unbroken = States(trial, Store(tmp_path / "a"), Runtime()), States(trial, Store(tmp_path / "b"), Runtime())
    masks = half(work)
    at(work, next_path(work, masks), 43)
    assert same(at(work, next_path(work, masks), 50), at(unbroken, next_path(unbroken, masks), 50))
    assert work.trained[0] == 50


@pytest.mark.parametrize("rule", [ToStep, LearningRate, Signs, Shuffle])
def test_k_must_be_before_the_end(rule: type[ToStep]) -> None:
    with pytest.raises(ConfigError, match=r"rewind\.at: must be before the end of training at 40 steps"):
        replace(TRIAL, rewind=rule(Duration(100, "%"))).clock(1197)
    with pytest.raises(ConfigError, match=r"rewind\.length: must be at least one step"):
        replace(TRIAL, rewind=FineTune(Duration(0, "steps"))).clock(1197)


def test_replicas_in_one_call_start_like_those_one_by_one(tmp_path: Path) -> None:
    for rule in (LearningRate(K), Reinit(), Signs()):
        trial = replace(TRIAL, rewind=rule, levels=1, seeds=2)
        one_by_one = list(run(trial, Store(tmp_path / "a"), Runtime()))
        batched = list(run(trial, Store(tmp_path / "b"), Runtime(batched=True)))
        for some, others in zip(one_by_one, batched, strict=True):
            assert [record.metrics["loss"] for record in some] == pytest.approx(
                [record.metrics["loss"] for record in others], rel=1e-3
            )
