from dataclasses import replace
from typing import Any

import pytest

from lth_sweep.lottery.common.duration import Clock, Duration
from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.recipe.rewinding import ToStep
from lth_sweep.sweepfile.axis import Axis, Between, Changes, Choice, parse_space
from lth_sweep.sweepfile.mistakes import Mistakes
from lth_sweep.sweepfile.space import corners, place
from tests.sweepfile.conftest import BASE, Load


@pytest.mark.parametrize(
    ("raw", "domain"),
    [
        ({"between": [0.2, 1]}, Between(0.2, 1.0)),
        ({"between": [1e-4, 1e-2], "log": True}, Between(1e-4, 1e-2, log=True)),
        ({"between": [2, 8], "integer": True}, Between(2, 8, integer=True)),
        ({"between": ["10 steps", "100 steps"]}, Between(10, 100, integer=True, unit="steps")),
        ({"between": ["1 step", "100 steps"], "log": True}, Between(1, 100, log=True, integer=True, unit="steps")),
        ({"between": ["0.5 epochs", "2 epochs"]}, Between(0.5, 2, unit="epochs")),
        ({"between": ["1%", "20%"]}, Between(1, 20, unit="%")),
        ({"choice": ["weight", 1, 0.5, True, None]},
         Choice({"weight": "weight", "1": 1, "0.5": 0.5, "true": True, "null": None})),
        ({"choice": [[300, 100], [20]]}, Choice({"[300, 100]": [300, 100], "[20]": [20]})),
        ({"choice": [{"kind": "init"}, {"kind": "step", "at": "5 steps"}]},
         Choice({"init": {"kind": "init"}, "step(at=5 steps)": {"kind": "step", "at": "5 steps"}})),
        ({"choice": {"a": 1, "b": 1}}, Choice({"a": 1, "b": 1})),
        ({"changes": {"none": {}, "a": {"rate": 0.2, "scope": "global"}}},
         Changes({"none": {}, "a": {"rate": 0.2, "scope": "global"}})),
    ],
)  # fmt: skip
def test_axes(raw: Any, domain: Between | Choice) -> None:
    assert parse_space({"x": raw}, Mistakes()) == (Axis("x", domain),)


def test_parents_come_first_and_the_rest_stays_in_order() -> None:
    raw = {
        "a": {"choice": [1, 2], "when": {"c": "y"}},
        "b": {"between": [0, 1]},
        "c": {"choice": ["x", "y"], "when": {"d": [1, 2]}},
        "d": {"choice": [1, 2, 3]},
    }
    axes = parse_space(raw, Mistakes())
    assert [axis.path for axis in axes] == ["b", "d", "c", "a"]
    assert axes[2].when == {"d": ("1", "2")}
    assert [picks for picks in corners(axes) if picks["b"] == 0] == [
        {"b": 0, "d": "1", "c": "x"},
        {"b": 0, "d": "1", "c": "y", "a": "1"},
        {"b": 0, "d": "1", "c": "y", "a": "2"},
        {"b": 0, "d": "2", "c": "x"},
        {"b": 0, "d": "2", "c": "y", "a": "1"},
        {"b": 0, "d": "2", "c": "y", "a": "2"},
        {"b": 0, "d": "3"},
    ]


BASE_TRIAL = {"rate": 0.3, "train": {"optimizer": "adam", "batch": 30}}


@pytest.mark.parametrize(
    ("space", "picks", "trial"),
    [
        ({"rate": {"between": [0.2, 0.6]}}, {"rate": 0.4}, {**BASE_TRIAL, "rate": 0.4}),
        ({"levels": {"between": [2, 6], "integer": True}}, {"levels": 4}, {**BASE_TRIAL, "levels": 4}),
        ({"train.optimizer.lr": {"between": [0.1, 0.2]}}, {"train.optimizer.lr": 0.1},
         {"rate": 0.3, "train": {"optimizer": {"kind": "adam", "lr": 0.1}, "batch": 30}}),
        ({"train.schedule.warmup": {"between": ["1 step", "9 steps"]}}, {"train.schedule.warmup": 3},
         {"rate": 0.3, "train": {**BASE_TRIAL["train"], "schedule": {"kind": "constant", "warmup": "3 steps"}}}),
        ({"train.length": {"between": ["1 epoch", "9 epochs"]}}, {"train.length": 1.25},
         {"rate": 0.3, "train": {**BASE_TRIAL["train"], "length": "1.25 epochs"}}),
        ({"model.hidden": {"choice": [[5], [6, 7]]}}, {"model.hidden": "[6, 7]"},
         {**BASE_TRIAL, "model": {"kind": "mlp", "hidden": [6, 7]}}),
        ({"layer_rates.conv.1": {"between": [0, 1]}}, {"layer_rates.conv.1": 1.0},
         {**BASE_TRIAL, "layer_rates": {"output": 0.5, "conv.1": 1.0}}),
        ({"train.optimizer.lr": {"between": [0.1, 0.2]}, "train.optimizer": {"choice": ["adam", "sgd"]}},
         {"train.optimizer": "sgd", "train.optimizer.lr": 0.2},
         {"rate": 0.3, "train": {"optimizer": {"kind": "sgd", "lr": 0.2}, "batch": 30}}),
        ({"rate": {"between": [0.2, 0.6], "when": {"granularity": "unit"}},
          "granularity": {"choice": ["weight", "unit"]}},
         {"granularity": "weight", "rate": 0.5}, {**BASE_TRIAL, "granularity": "weight"}),
        ({"a": {"changes": {"none": {}, "sgd": {"train.optimizer.lr": 0.2, "train.optimizer": "sgd", "rate": 0.5}}}},
         {"a": "sgd"}, {"rate": 0.5, "train": {"optimizer": {"kind": "sgd", "lr": 0.2}, "batch": 30}}),
        ({"a": {"changes": {"none": {}, "some": {"rate": 0.5}}}}, {"a": "none"}, BASE_TRIAL),
    ],
)  # fmt: skip
def test_picks_are_put_in_their_place(space: Any, picks: Any, trial: Any) -> None:
    before = repr(BASE_TRIAL)
    assert place(BASE_TRIAL, parse_space(space, Mistakes()), picks) == trial
    assert repr(BASE_TRIAL) == before


@pytest.mark.parametrize(
    ("picks", "message"),
    [
        ({}, "rate: there is no pick for this axis"),
        ({"rate": 0.3, "rates": 1}, "unknown axis 'rates'; allowed: granularity, rate; did you mean 'rate'?"),
        ({"rate": 0.3, "granularity": "units"},
         "granularity: unknown label 'units'; allowed: unit, weight; did you mean 'unit'?"),
        ({"rate": "0.3", "granularity": "unit"}, "rate: must be a number between 0.2 and 0.6, but got '0.3'"),
    ],
)  # fmt: skip
def test_wrong_picks(picks: Any, message: str) -> None:
    axes = parse_space({"rate": {"between": [0.2, 0.6]}, "granularity": {"choice": ["weight", "unit"]}}, Mistakes())
    with pytest.raises(ConfigError) as caught:
        place(BASE_TRIAL, axes, picks)
    assert str(caught.value) == message


def test_recipes_and_snapshots(load: Load) -> None:
    spec = load(BASE.replace("init: init\n", "init: init\n      later: {kind: step, at: 1 epoch}\n"))
    assert spec.recipe({"rate": 0.25, "rewind": "later", "granularity": "unit"}).rewind == ToStep(Duration(1, "epochs"))
    assert spec.snapshots(Clock(per_epoch=19, length=600)) == (19, 50)
    assert spec.snapshots(Clock(per_epoch=19, length=40)) == (19,)


def test_changes_of_several_fields(load: Load) -> None:
    space = """
space:
  remedy:
    changes:
      none: {}
      later: {rewind: {kind: step, at: 10 steps}}
      gentler: {rate: 0.1, levels: 6}
"""
    spec = load(BASE.split("space:")[0] + space)
    assert spec.space[0].fields == ("rewind", "rate", "levels")
    gentler = replace(spec.recipe({"remedy": "none"}), rate=0.1, levels=6)
    assert spec.recipe({"remedy": "gentler"}) == gentler
    assert spec.snapshots(Clock(19, 600)) == (10,)


def test_snapshots_where_masks_are_drawn_early(load: Load) -> None:
    space = """
space:
  mask_at: {choice: [10%, 30 steps]}
"""
    assert load(BASE.split("space:")[0] + space).snapshots(Clock(19, 600)) == (30, 60)


def test_snapshots_of_a_range_and_its_condition(load: Load) -> None:
    space = """\
space:
  rewind.at: {between: [10 steps, 90 steps], when: {rewind: early}}
  rewind: {choice: {init: init, early: {kind: step, at: 50 steps}}}
"""
    assert load(BASE.split("space:")[0] + space).snapshots(Clock(19, 600)) == (10, 90)
