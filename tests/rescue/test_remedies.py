from pathlib import Path

import pytest

from lth_sweep.lottery.recipe.forecast import Forecast
from lth_sweep.lottery.recipe.trial import TrialConfig
from lth_sweep.rescue.findings import Finding
from lth_sweep.rescue.remedies import remedies
from lth_sweep.sweepfile.decode import decode
from lth_sweep.sweepfile.space import changed

WRITTEN = {"model": {"kind": "mlp", "hidden": [60, 30]}, "train": {"length": "300 steps", "optimizer": "adam"},
           "rate": 0.4, "levels": 4}  # fmt: skip
IN_ORDER_OF_COST = [
    "rewind-later", "rewind-much-later", "learning-rate-rewinding", "fine-tuning", "warm-up", "lower-rate", "longer",
    "gentler", "global-scope", "spare-output", "spare-first", "signs", "another-draw", "init-xavier-normal",
    "init-kaiming-normal", "score-magnitude-increase", "score-synflow", "supermask",
]  # fmt: skip


def of(written=WRITTEN, found=(), stable=None):
    recipe = decode(TrialConfig, written)
    density = Forecast(recipe).densities()[-1]
    return {one.name: one for one in remedies(written, density, found, stable)}, density


def test_without_findings_they_come_in_the_order_of_cost():
    found, density = of()
    assert density == pytest.approx(0.1436, rel=0.001)  # of the last layer, 41%
    assert [name for name in IN_ORDER_OF_COST if name in found] == list(found)
    assert set(IN_ORDER_OF_COST) - set(found) == {"spare-first"}  # which alone has more weights than the density allows
    assert {one.why for one in found.values()} == {"next in the order of cost"}


def test_all_of_them_end_at_the_patients_density():
    found, density = of()
    for one in found.values():
        trial = decode(TrialConfig, changed(WRITTEN, one.change))
        assert Forecast(trial).densities()[-1] == pytest.approx(density, rel=0.02), one.name


def test_findings_lead():
    cut, unfit = Finding("cut off", 0.9, "", {}), Finding("does not fit", 0.3, "", {})
    found, _ = of(found=[cut, unfit])
    assert list(found)[:5] == ["gentler", "global-scope", "spare-output", "score-synflow", "rewind-later"]
    assert [found[name].why for name in ("gentler", "rewind-later", "signs")] == [
        "found: cut off", "found: does not fit", "next in the order of cost",
    ]  # fmt: skip


def test_the_rewind_point_that_stability_suggests():
    found, _ = of(stable=30)
    assert found["rewind-later"].change == {"rewind": {"kind": "step", "at": "30 steps"}}
    assert found["rewind-much-later"].change == {"rewind": {"kind": "step", "at": "60 steps"}}
    found, _ = of()  # none of those tried is stable
    assert [found[name].change["rewind"]["at"] for name in ("rewind-later", "rewind-much-later")] == [
        "60 steps", "120 steps",
    ]  # fmt: skip
    found, _ = of({**WRITTEN, "rewind": {"kind": "step", "at": "200 steps"}})
    assert "rewind-later" not in found


def test_what_a_remedy_changes():
    found, _ = of()
    assert found["warm-up"].change == {"train.schedule.warmup": "20%"}
    assert found["lower-rate"].change == {"train.optimizer.lr": 0.0004}
    assert found["longer"].change == {"train.length": "600 steps"}
    assert found["gentler"].change["levels"] == 8
    assert found["gentler"].change["rate"] == pytest.approx(1 - 0.6**0.5, abs=0.01)
    assert found["gentler"].words.startswith("prune 22.")


def test_units_supermasks_and_one_shot_get_what_fits_them():
    units, _ = of({**WRITTEN, "granularity": "unit"})
    assert units["weights"].change["granularity"] == "weight"
    supermask, _ = of({**WRITTEN, "method": {"kind": "edge-popup", "density": 0.2}})
    assert "supermask" not in supermask
    assert "rewind-later" not in supermask
    assert "longer" in supermask
    at_once, _ = of({**WRITTEN, "method": {"kind": "one-shot", "density": 0.13}})
    assert at_once["gentler"].change["method"] == "iterative"
    reinit, _ = of({**WRITTEN, "rewind": "reinit"})
    assert next(iter(reinit)) == "original-weights"
    assert "another-draw" not in reinit


def test_every_remedy_is_documented():
    page = (Path(__file__).parents[2] / "docs/rescue.md").read_text().split("## Remedies")[1].split("\n## ")[0]
    names = {name for written in (
        WRITTEN, {**WRITTEN, "granularity": "unit"}, {**WRITTEN, "rewind": "reinit", "scope": "global"},
        {**WRITTEN, "criterion": "random", "model": {"kind": "mlp", "hidden": [60, 300]}, "rate": 0.2},
    ) for name in of(written)[0]}  # fmt: skip
    assert names >= {"spare-first", "layer-scope", "weights", "original-weights", "score-magnitude"}
    assert {name for name in names if name not in page} == set()
