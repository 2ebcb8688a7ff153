"""The error barrier as a metric of a trial's levels."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from lth_sweep.lottery.common.duration import Duration
from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.experiments.stability import stability
from lth_sweep.lottery.experiments.verification import again
from lth_sweep.lottery.loop import run
from lth_sweep.lottery.network.models import Mlp
from lth_sweep.lottery.recipe.methods import BeforeTraining, EdgePopup, OneShot
from lth_sweep.lottery.recipe.rewinding import FineTune, LearningRate, Reinit, Signs, ToInit, ToStep
from lth_sweep.lottery.recipe.trial import Runtime, Train, TrialConfig
from lth_sweep.lottery.records import Level
from lth_sweep.lottery.runs.stages import Store
from lth_sweep.lottery.training.optimizers import SGD

K = Duration(20, "steps")
TRIAL = TrialConfig(
    model=Mlp((16,)),
    train=Train(length=Duration(60, "steps"), evaluate=Duration(30, "steps")),
    rate=0.5,
    rewind=ToStep(K),
    levels=2,
    seeds=2,
    stability=True,
)


def levels(trial: TrialConfig, folder: Path, **runtime: object) -> list[Level]:
    return list(run(trial, Store(folder), Runtime(**runtime)))  # type: ignore[arg-type]


def cost(found: list[Level]) -> list[list[tuple[int, int]]]:
    return [[(record.steps_trained, record.steps_reused) for record in level] for level in found]


def test_it_is_what_the_analysis_finds_at_the_trials_k(tmp_path: Path) -> None:
    found = levels(TRIAL, tmp_path / "trial")
    for number, level in enumerate(found):
        for record, expected in zip(
            level, stability(TRIAL, Store(tmp_path / "alone"), Runtime(), [K], level=number), strict=True
        ):
            assert (record.seed, record.density) == (expected.seed, expected.density)
            assert record.metrics["barrier"] == expected.barriers["validation"]
            assert record.metrics["train_barrier"] == expected.barriers["train"]


def test_both_runs_are_counted_and_each_is_trained_once(tmp_path: Path) -> None:
    once = levels(TRIAL, tmp_path)
    assert cost(once) == [[(60 + 40, 0)] * 2, [(40 + 40, 0)] * 2, [(40 + 40, 0)] * 2]
    again = levels(TRIAL, tmp_path)
    assert cost(again) == [[(0, 100)] * 2, [(0, 80)] * 2, [(0, 80)] * 2]
    assert [[record.result() for record in level] for level in once] == [
        [record.result() for record in level] for level in again
    ]


def test_a_trial_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    cut_off = run(TRIAL, Store(tmp_path), Runtime())
    next(cut_off)
    next(cut_off)
    cut_off.close()
    assert cost(levels(TRIAL, tmp_path)) == [[(0, 100)] * 2, [(0, 80)] * 2, [(80, 0)] * 2]


def test_without_it_all_is_the_same_but_for_the_twins(tmp_path: Path) -> None:
    without = levels(replace(TRIAL, stability=False), tmp_path, snapshots=(20,))
    assert cost(without) == [[(60, 0)] * 2, [(40, 0)] * 2, [(40, 0)] * 2]
    found = levels(TRIAL, tmp_path)
    assert cost(found) == [[(40, 60)] * 2, [(40, 40)] * 2, [(40, 40)] * 2]
    for one, other in zip(without, found, strict=True):
        for plain, record in zip(one, other, strict=True):
            assert record.metrics.keys() - plain.metrics.keys() == {"barrier", "train_barrier"}
            assert record.metrics == plain.metrics | {
                name: record.metrics[name] for name in ("barrier", "train_barrier")
            }
            assert (record.stage, record.curve) == (plain.stage, plain.curve)


@pytest.mark.parametrize(
    ("change", "steps"),
    [
        ({"rewind": ToInit()}, [120, 120]),
        ({"rewind": Reinit()}, [120, 120]),
        ({"rewind": Signs(K)}, [60 + 40, 80]),
        ({"rewind": LearningRate(K)}, [60 + 40, 80]),
        ({"rewind": FineTune(Duration(30, "steps"))}, [120, 30 + 30]),
        ({"method": OneShot(0.3)}, [60 + 40, 80]),
        ({"method": BeforeTraining(0.3), "rewind": ToInit()}, [120, 120]),
    ],
)
def test_a_twin_parts_where_its_level_starts(change: dict[str, object], steps: list[int], tmp_path: Path) -> None:
    found = levels(replace(TRIAL, seeds=1, levels=1, **change), tmp_path)  # type: ignore[arg-type]
    assert cost(found) == [[(number, 0)] for number in steps]
    assert all(0 <= level[0].metrics["barrier"] <= 1 for level in found)


def test_a_level_that_is_not_trained_to_its_end_has_a_twin_of_its_length(tmp_path: Path) -> None:
    """Masks drawn at step 30: level 1 ends there, and is compared with its twin there; dense and last go to 60."""
    found = levels(replace(TRIAL, seeds=1, mask_at=Duration(30, "steps")), tmp_path)
    assert [level[0].finished for level in found] == [True, False, True]
    assert cost(found) == [[(60 + 40, 0)], [(10 + 10, 0)], [(40 + 40, 0)]]


def test_where_training_diverges_there_is_no_line(tmp_path: Path) -> None:
    found = levels(replace(TRIAL, train=replace(TRIAL.train, optimizer=SGD(lr=1e20))), tmp_path)
    assert len(found) == 1
    assert math.isnan(found[0][0].metrics["accuracy"])
    assert "barrier" not in found[0][0].metrics


def test_a_candidate_is_verified_without_twins(tmp_path: Path) -> None:
    fresh = again(TRIAL, Store(tmp_path), Runtime(snapshots=(20,)), seed=7, level=2)
    assert fresh.ticket
    assert (fresh.dense.steps_trained, fresh.ticket.steps_trained) == (60, 40)
    assert "barrier" not in fresh.ticket.metrics


def test_a_supermask_has_no_weights_to_look_between() -> None:
    with pytest.raises(ConfigError, match="edge-popup does not go with stability, which looks between") as caught:
        replace(TRIAL, method=EdgePopup(0.3), rewind=ToInit())
    assert caught.value.path == "method"
