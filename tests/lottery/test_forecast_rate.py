"""What is counted beforehand is what training then has."""

from pathlib import Path

import pytest

from lth_sweep.lottery.loop import run
from lth_sweep.lottery.recipe.forecast import Forecast
from lth_sweep.lottery.recipe.trial import Runtime, TrialConfig
from lth_sweep.lottery.runs.stages import Store
from lth_sweep.sweepfile.decode import decode

BASE = {"model": {"kind": "mlp", "hidden": [24, 16]}, "train": {"length": "2 steps"}, "rate": 0.4, "levels": 3,
        "seeds": 1}  # fmt: skip


def trial(**fields: object) -> TrialConfig:
    found = decode(TrialConfig, {**BASE, **fields})
    assert isinstance(found, TrialConfig)
    return found


@pytest.mark.parametrize(
    "fields",
    [{}, {"scope": "global"}, {"granularity": "unit"}, {"layer_rates": {"fc1": 0}, "scope": "global"},
     {"method": {"kind": "one-shot", "density": 0.1}}, {"granularity": {"kind": "n-m", "n": 2, "m": 4}}],
    ids=str,
)  # fmt: skip
def test_densities_are_those_of_a_run(fields: dict[str, object], tmp_path: Path) -> None:
    recipe = trial(**fields)
    levels = list(run(recipe, Store(tmp_path), Runtime()))
    assert Forecast(recipe).densities() == [level.density for level in levels]


@pytest.mark.parametrize("fields", [{}, {"scope": "global"}, {"layer_rates": {"fc1": 0.0}}, {"levels": 6}], ids=str)
def test_the_rate_that_ends_at_a_density(fields: dict[str, object]) -> None:
    recipe = trial(**fields)
    forecast = Forecast(recipe)
    rate = forecast.rate(0.75)
    assert rate is not None
    assert forecast.like(trial(**fields, rate=rate)).densities()[-1] == pytest.approx(0.75, abs=0.01)


def test_a_density_that_spared_layers_forbid() -> None:
    recipe = trial(layer_rates={"fc1": 0})  # 24 * 64 of 2,080 weights
    assert Forecast(recipe).rate(0.1) is None
