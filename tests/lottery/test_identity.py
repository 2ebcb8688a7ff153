"""What each field of a recipe changes: the dense run's stages, the pruned levels' alone, or neither."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lth_sweep.lottery.common.duration import Clock, Duration
from lth_sweep.lottery.common.identity import canonical, derive, digest
from lth_sweep.lottery.network.initial.initialization import XavierNormal
from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.models import Mlp
from lth_sweep.lottery.recipe.rewinding import Start, ToStep
from lth_sweep.lottery.recipe.trial import Runtime, Train, TrialConfig
from lth_sweep.lottery.runs.stages import Store
from lth_sweep.lottery.runs.states import States
from lth_sweep.lottery.training.averaging import Exponential
from lth_sweep.lottery.training.optimizers import SGD, Adam
from lth_sweep.lottery.training.schedules import Constant, Cosine, Schedule, Step

BASE = TrialConfig(model=Mlp((8,)), seeds=1)
STEPS = Duration(100, "steps")


def dense_digest(trial: TrialConfig, tmp_path: Path, seed: int = 0) -> str:
    return States(trial, Store(tmp_path), Runtime()).tree.dense(seed).digest


@pytest.mark.parametrize(
    "change",
    [
        {"model": Mlp((9,))},
        {"init": XavierNormal()},
        {"train": Train(batch=61)},
        {"train": Train(optimizer=SGD())},
        {"train": Train(optimizer=Adam(lr=0.0013))},
        {"train": Train(optimizer=Adam(eps=1e-7))},
        {"train": Train(schedule=Constant(warmup=Duration(10, "steps")))},
        {"train": Train(schedule=Cosine())},
        {"train": Train(precision="bf16")},
        {"train": Train(evaluate=Duration(300, "steps"))},
        {"train": Train(accumulate=2)},
        {"train": Train(lr_factors={"*.bias": 2.0})},
        {"train": Train(decay="weights")},
        {"train": Train(clip_norm=1.0)},
        {"train": Train(average=Exponential())},
    ],
)
def test_what_changes_the_dense_run(change: dict[str, Any], tmp_path: Path) -> None:
    assert dense_digest(replace(BASE, **change), tmp_path) != dense_digest(BASE, tmp_path)


def test_the_first_pattern_that_fits_counts_and_so_does_their_order(tmp_path: Path) -> None:
    factors = {"*.bias": 2.0, "fc1": 3.0}
    one, other = (replace(BASE, train=Train(lr_factors=dict(some)))
                  for some in (factors.items(), reversed(factors.items())))  # fmt: skip
    assert dense_digest(one, tmp_path) != dense_digest(other, tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"rate": 0.5},
        {"scope": "global"},
        {"layer_rates": {}},
        {"rewind": ToStep(STEPS)},
        {"levels": 3},
        {"seeds": 2},
        {"stability": True},
        {"train": Train(length=Duration(700, "steps"))},  # a constant schedule does not know how long the run is
    ],
)
def test_what_leaves_the_dense_run_as_it_is(change: dict[str, Any], tmp_path: Path) -> None:
    assert dense_digest(replace(BASE, **change), tmp_path) == dense_digest(BASE, tmp_path)


@dataclass(frozen=True)
class Halfway(Constant):
    """A user's own, which says nothing of whether it reads the length, and does."""

    def after_warmup(self, step: int, warmup: int, clock: Clock) -> float:
        return 1.0 if 2 * step < clock.length else 0.1


@pytest.mark.parametrize(("schedule", "shared"), [
    (Constant(), True), (Constant(Duration(10, "%")), False), (Step((STEPS,)), True), (Step(), False),
    (Cosine(), False), (Halfway(), False),
])  # fmt: skip
def test_whether_runs_of_another_length_share_stages(schedule: Schedule, shared: bool, tmp_path: Path) -> None:
    trials = [replace(BASE, train=Train(length=Duration(n, "steps"), schedule=schedule)) for n in (600, 700)]
    assert (dense_digest(trials[0], tmp_path) == dense_digest(trials[1], tmp_path)) == shared


def test_each_seed_has_a_run_of_its_own(tmp_path: Path) -> None:
    assert dense_digest(BASE, tmp_path, 0) != dense_digest(BASE, tmp_path, 1)


def test_units_and_defaults_do_not_matter(tmp_path: Path) -> None:
    """1,197 training examples in batches of 60 are 19 steps an epoch."""
    same = [
        Train(),
        Train(evaluate=Duration(200, "steps"), optimizer=Adam(lr=0.0012)),
        Train(optimizer=Adam(weight_decay=0)),
    ]
    assert len({dense_digest(replace(BASE, train=train), tmp_path) for train in same}) == 1
    by_step = replace(BASE, train=Train(evaluate=Duration(190, "steps")))
    by_epoch = replace(BASE, train=Train(evaluate=Duration(10, "epochs")))
    assert dense_digest(by_step, tmp_path) == dense_digest(by_epoch, tmp_path)


@pytest.mark.parametrize("stability", [False, True])
def test_pinned_stages(stability: bool, tmp_path: Path) -> None:
    """The dense run, tickets that rewind to 0 and to 10, and a twin."""
    lab = States(replace(BASE, stability=stability), Store(tmp_path), Runtime())
    dense = lab.tree.dense(0)
    masks = lab.network.full.replace({"fc1.weight": ~lab.network.full["fc1.weight"]})
    found = [dense, lab.tree.branch(dense, 0, masks), lab.tree.branch(dense, 10, masks), lab.tree.twin(dense, 10, 1)]
    assert [path.digest for path in found] == [
        "c6252ddb1253eb1c6f5b073a086eb498",
        "47623c874e7ae6a6f46a2357c93c7db2",
        "14c2b80fab2cbc0c3108d65a335f8be0",
        "a7c4f253d8bf65b41ede65f44b474790",
    ]


def test_a_level_that_starts_at_another_step_than_its_weights_is_another_run(tmp_path: Path) -> None:
    tree = States(BASE, Store(tmp_path), Runtime()).tree
    dense, length = tree.dense(0), tree.clock.length
    for masks in (Masks({"fc1.weight": torch.zeros(8, 64).bool()}), Masks({"fc1.weight": torch.ones(8, 64).bool()})):
        found = [tree.branch(dense, 10, masks, Start(False, 10, first, length)) for first in (10, 0, 5)]
        assert len({path.digest for path in found}) == 3


def test_pinned_digests() -> None:
    """A change here changes every stage on users' disks: raise identity.VERSION and say so."""
    assert digest({"b": 1.0, "a": [True, None, "x", 0.1]}) == digest({"a": [True, None, "x", 0.1], "b": 1})
    assert digest({"b": 1.0, "a": [True, None, "x", 0.1]}) == "5678f872cd0960dd4a8235b6366e10e2"
    assert digest(Adam()) == "1ac250dbc573225ba74f1078b22dd1a2"
    assert derive(0, "order", 3) == 6254814875441857239


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=8,
    )
)
def test_the_order_of_keys_does_not_matter(value: Any) -> None:
    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: turned(value[key]) for key in reversed(value)}
        return [turned(item) for item in value] if isinstance(value, list) else value

    assert digest(turned(value)) == digest(value)


def test_durations_become_steps_where_there_is_a_clock() -> None:
    clock = Clock(per_epoch=50, length=1000)
    texts = ["100 steps", "2 epochs", "10%"]
    assert [canonical(Duration.parse(text), clock) for text in texts] == [100] * 3
    assert [canonical(Duration.parse(text)) for text in texts] == texts


@given(st.integers(0, 2**31), st.integers(0, 2**31))
def test_derived_seeds_differ_by_purpose(seed: int, step: int) -> None:
    assert len({derive(seed, "order", step), derive(seed, "augment", step), derive(seed + 1, "order", step)}) == 3
    assert 0 <= derive(seed, "order", step) < 2**63
