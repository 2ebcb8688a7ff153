"""Every option of every axis in a trial of two levels, on digits, with a perceptron and a convolutional network."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from lth_sweep.lottery.common.duration import Duration
from lth_sweep.lottery.common.registry import Strategy
from lth_sweep.lottery.loop import run
from lth_sweep.lottery.network.initial.initialization import INITS, KaimingNormal, SignedConstant
from lth_sweep.lottery.network.models import Conv2, Mlp, Model, ResNet
from lth_sweep.lottery.network.state import State
from lth_sweep.lottery.pruning.criteria import CRITERIA
from lth_sweep.lottery.pruning.granularity import GRANULARITIES, Unit
from lth_sweep.lottery.recipe.methods import METHODS
from lth_sweep.lottery.recipe.rewinding import REWINDS, FineTune, LearningRate, ToStep
from lth_sweep.lottery.recipe.trial import Runtime, Train, TrialConfig
from lth_sweep.lottery.runs.stages import Store

TRAIN = Train(length=Duration(30, "steps"), evaluate=Duration(15, "steps"))
MODELS: list[Model] = [Mlp((32, 16)), Conv2(width=0.125)]
RESIDUAL = ResNet(8, width=0.25)
NEEDED = {"density": 0.3, "at": Duration(10, "steps")}
"""Values of options that have no default."""


def made(kind: type[Strategy]) -> Any:
    required = [field.name for field in dataclasses.fields(kind) if field.default is dataclasses.MISSING]  # type: ignore
    return kind(**{name: NEEDED[name] for name in required})


OPTIONS: list[dict[str, Any]] = [
    *[{"criterion": made(kind)} for name, kind in CRITERIA.items() if name != "bn-scale"],
    *[{"criterion": made(kind), "granularity": Unit()} for name, kind in CRITERIA.items() if name != "bn-scale"],
    {"criterion": CRITERIA["synflow"](), "scope": "global"},
    *[{"init": made(kind)} for name, kind in INITS.items() if name != "pretrained"],  # see test_pretrained
    *[{"init": kind(scaled=True)} for kind in (KaimingNormal, SignedConstant)],
    *[{"rewind": made(kind)} for name, kind in REWINDS.items() if name != "scratch"],
    {"rewind": REWINDS["scratch"](), "granularity": Unit()},
    {"rewind": FineTune(Duration(7, "steps"))},
    *[{"granularity": made(kind)} for kind in GRANULARITIES.values()],
    {"granularity": Unit(coupled=True), "scope": "global"},
    {"scope": "global"},
    *[{"method": made(kind)} for kind in METHODS.values()],
    {"mask_at": Duration(50, "%")},
    {"stability": True},
    {"mask_at": Duration(20, "steps"), "rewind": ToStep(Duration(5, "steps"))},
    {"mask_at": Duration(20, "steps"), "rewind": LearningRate(Duration(5, "steps"))},
    {"mask_at": Duration(20, "steps"), "method": METHODS["one-shot"](0.3)},
]

WITH_NORMS: list[dict[str, Any]] = [
    *[{"criterion": CRITERIA[name]()} for name in ("snip", "grasp", "synflow")],
    *[{"criterion": CRITERIA["bn-scale"](), "granularity": Unit(coupled)} for coupled in (False, True)],
    {"granularity": Unit(coupled=True), "scope": "global"},
    {"rewind": REWINDS["scratch"](), "granularity": Unit(coupled=True)},
    *[{"rewind": made(REWINDS[name])} for name in ("step", "reinit", "signs", "fine-tune")],
    *[{"method": METHODS[name](0.3)} for name in ("before-training", "edge-popup")],
]


def named(value: object) -> str:
    if isinstance(value, Strategy):
        shown = [f"{key}={option}" for key, option in vars(value).items()]
        return "-".join([value.kind, *shown])
    if isinstance(value, dict):
        return ",".join(f"{key}:{named(option)}" for key, option in value.items())
    return str(value)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all, so that dense runs are trained once."""
    return tmp_path_factory.mktemp("stages")


@pytest.mark.parametrize("model", MODELS, ids=named)
@pytest.mark.parametrize("options", OPTIONS, ids=named)
def test_two_levels(options: dict[str, Any], model: Model, root: Path) -> None:
    check_two_levels(TrialConfig(model=model, train=TRAIN, levels=2, rate=0.4, seeds=1, **options), root)


@pytest.mark.parametrize("options", WITH_NORMS, ids=named)
def test_two_levels_of_a_residual_network_with_batchnorm(options: dict[str, Any], root: Path) -> None:
    check_two_levels(TrialConfig(model=RESIDUAL, train=TRAIN, levels=2, rate=0.4, seeds=1, **options), root)


def check_two_levels(trial: TrialConfig, root: Path) -> None:
    store = Store(root)
    levels = list(run(trial, store, Runtime()))
    expected = 1 + trial.method.levels(trial)
    assert [record.level for [record] in levels] == list(range(expected))
    densities = [record.density for [record] in levels]
    assert densities[0] == 1.0
    assert densities == sorted(densities, reverse=True)
    assert len(set(densities)) == expected
    for [record] in levels:
        assert all(map(math.isfinite, record.metrics.values()))
        assert 0 <= record.metrics["accuracy"] <= 1
        trajectory, _, step = record.stage.partition("/")
        stage = store.load(trajectory, int(step))
        assert stage is not None
        state, masks = State.from_tensors(stage.tensors), State.from_tensors(stage.tensors).masks
        if record.level:
            assert masks.density == record.density
        assert all(not state.model[name][~masks[name]].any() for name in masks)
        assert record.finished == (trial.mask_at is None or record.level in (0, expected - 1))
    again = list(run(trial, Store(root), Runtime()))
    assert [record.result() for [record] in again] == [record.result() for [record] in levels]
    assert [record.steps_trained for [record] in again] == [0] * expected
    assert torch.get_default_dtype() is torch.float32
