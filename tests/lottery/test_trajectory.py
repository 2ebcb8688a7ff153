"""Stages: what is shared, what is trained, and that a state does not depend on how it was come by."""

import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lth_sweep.lottery.common.duration import Duration
from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.models import Mlp
from lth_sweep.lottery.network.state import State
from lth_sweep.lottery.recipe.trial import Runtime, Train, TrialConfig
from lth_sweep.lottery.runs.stages import Store
from lth_sweep.lottery.runs.states import States
from lth_sweep.lottery.runs.tree import Trajectory

TRIAL = TrialConfig(
    model=Mlp((16,)), train=Train(length=Duration(60, "steps"), evaluate=Duration(20, "steps")), seeds=1
)


def lab(folder: Path, trial: TrialConfig = TRIAL, **runtime: object) -> States:
    return States(trial, Store(folder), Runtime(**runtime))  # type: ignore[arg-type]


def state_at(work: States, path: Trajectory, step: int) -> State:
    return work.at([path], step)[0].state


def half(work: States) -> Masks:
    generator = torch.Generator().manual_seed(0)
    return Masks(
        {
            name: torch.rand(work.network.shapes[name], generator=generator) < 0.5
            for name in work.network.weights.values()
        }
    )


def assert_equal(left: State, right: State) -> None:
    assert left.model.keys() == right.model.keys()
    assert [name for name in left.model if not torch.equal(left.model[name], right.model[name])] == []


def test_a_state_is_trained_once(tmp_path: Path) -> None:
    first, second = lab(tmp_path), lab(tmp_path)
    one = state_at(first, first.tree.dense(0), 60)
    assert first.trained == {0: 60}
    two = state_at(second, second.tree.dense(0), 60)
    assert second.trained == {0: 0}
    assert_equal(one, two)


def test_a_missing_step_is_trained_from_the_nearest_stored_one(tmp_path: Path) -> None:
    work = lab(tmp_path)
    for step, trained in [(20, 20), (45, 45), (40, 65), (60, 80), (45, 80)]:
        state_at(work, work.tree.dense(0), step)
        assert work.trained == {0: trained}
    unbroken = lab(tmp_path / "other")
    assert_equal(state_at(work, work.tree.dense(0), 60), state_at(unbroken, unbroken.tree.dense(0), 60))


def test_snapshots_are_stored_in_passing(tmp_path: Path) -> None:
    work = lab(tmp_path, snapshots=(0, 10, 30, 60, 90))
    end = state_at(work, work.tree.dense(0), 60)
    assert work.store.steps(work.tree.dense(0).digest) == [10, 30, 60]
    state_at(work, work.tree.dense(0), 30)
    assert work.trained == {0: 60}
    plain = lab(tmp_path / "plain")
    assert_equal(end, state_at(plain, plain.tree.dense(0), 60))


@pytest.mark.parametrize("k", [0, 1, 19, 20, 59])
def test_an_unpruned_branch_ends_bit_equal_to_the_dense_run(k: int, tmp_path: Path) -> None:
    """Once as the loop does it, where it is the dense run; and once trained for real, under masks that keep all."""
    work = lab(tmp_path)
    dense = work.tree.dense(0)
    end = state_at(work, dense, 60)
    full = Masks.full({name: work.network.shapes[name] for name in work.network.weights.values()})
    assert work.tree.branch(dense, k, full) is dense
    for_real = Trajectory("f" * 32, 0, k, 60, dense, k, full)
    assert_equal(state_at(work, for_real, 60), end)
    assert work.trained[0] >= 60 + 60 - k


def test_a_branch_starts_from_the_masked_dense_state_and_keeps_its_masks(tmp_path: Path) -> None:
    work = lab(tmp_path)
    dense, masks = work.tree.dense(0), half(work)
    branch = work.tree.branch(dense, 20, masks)
    start = state_at(work, branch, 20)
    assert_equal(start, state_at(work, dense, 20).masked(masks))
    assert start.optimizer.keys() == state_at(work, dense, 20).optimizer.keys()
    end = state_at(work, branch, 60)
    for name in masks:
        assert not end.model[name][~masks[name]].any()
    stage = work.store.load(branch.digest, 60)
    assert stage is not None
    assert State.from_tensors(stage.tensors).masks.digest == masks.digest


def test_branches_differ_by_step_and_masks(tmp_path: Path) -> None:
    work = lab(tmp_path)
    masks = half(work)
    other = masks.replace({"fc1.weight": ~masks["fc1.weight"]})
    digests = {work.tree.branch(work.tree.dense(0), step, some).digest for step in (0, 20) for some in (masks, other)}
    assert len(digests) == 4
    assert (
        work.tree.branch(work.tree.dense(0), 20, masks).digest == work.tree.branch(work.tree.dense(0), 20, masks).digest
    )


def test_a_longer_run_goes_on_where_the_shorter_ended(tmp_path: Path) -> None:
    """With a constant schedule; a branch's last state, stored without the optimizer's, is not gone on from."""
    longer = replace(TRIAL, train=replace(TRIAL.train, length=Duration(80, "steps")))
    short, long, fresh = lab(tmp_path), lab(tmp_path, longer), lab(tmp_path / "fresh", longer)
    masks = half(short)
    # Step 20 of the dense run is trained again where only its end is stored.
    for work, trained in [(short, 60 + (20 + 40)), (long, 20 + 60), (fresh, 80 + (20 + 60))]:
        dense = state_at(work, work.tree.dense(0), work.clock.length)
        branch = state_at(work, work.tree.branch(work.tree.dense(0), 20, masks), work.clock.length)
        assert work.trained[0] == trained
    assert_equal(state_at(long, long.tree.dense(0), 80), dense)
    assert_equal(state_at(long, long.tree.branch(long.tree.dense(0), 20, masks), 80), branch)


def _reach(folder: Path, counts: "multiprocessing.Queue[int]") -> None:
    work = lab(folder)
    work.at([work.tree.dense(seed) for seed in (0,)], 60)
    counts.put(work.trained[0])


def test_processes_that_want_the_same_run_train_it_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    counts: multiprocessing.Queue[int] = context.Queue()
    workers = [context.Process(target=_reach, args=(tmp_path, counts)) for _ in range(3)]
    for worker in workers:
        worker.start()
    trained = sorted(counts.get(timeout=60) for _ in workers)
    for worker in workers:
        worker.join()
    assert trained == [0, 0, 60]


def test_adding_a_layer_changes_no_other_layers_draw(tmp_path: Path) -> None:
    small = lab(tmp_path, replace(TRIAL, model=Mlp((16, 16)))).initial(0)
    large = lab(tmp_path, replace(TRIAL, model=Mlp((16, 16, 16)))).initial(0)
    assert torch.equal(small.model["fc1.weight"], large.model["fc1.weight"])
    assert torch.equal(small.model["fc2.weight"], large.model["fc2.weight"])
    assert not torch.equal(lab(tmp_path).initial(0).model["fc1.weight"], lab(tmp_path).initial(1).model["fc1.weight"])


@pytest.mark.parametrize("stops", [(1,), (19, 33), (20,), (50,)])
def test_the_curve_does_not_depend_on_where_a_run_was_interrupted(stops: tuple[int, ...], tmp_path: Path) -> None:
    """Points at 20 and 40, and one at the end, 50, which a longer run does not have."""
    short = replace(TRIAL, train=replace(TRIAL.train, length=Duration(50, "steps")))
    work, unbroken = lab(tmp_path / "stopped", short), lab(tmp_path / "unbroken", short)
    for step in (*stops, 50):
        curve = work.at([work.tree.dense(0)], step)[0].curve
    assert curve == unbroken.at([unbroken.tree.dense(0)], 50)[0].curve
    assert [point.step for point in curve] == [20, 40, 50]
    longer, fresh = lab(tmp_path / "stopped"), lab(tmp_path / "fresh")
    assert longer.at([longer.tree.dense(0)], 60)[0].curve == fresh.at([fresh.tree.dense(0)], 60)[0].curve
    assert longer.trained == {0: 10}
