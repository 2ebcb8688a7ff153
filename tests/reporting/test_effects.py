import math
import random
from dataclasses import replace

import pytest

from lth_sweep.reporting.effects import FEWEST, Group, effects_chart, groups, importance_chart, importances
from lth_sweep.search.trial import Outcome
from lth_sweep.sweepfile.axis import Axis, Between, Choice
from tests.reporting.conftest import trial

SPACE = (
    Axis("granularity", Choice({"unit": "unit", "weight": "weight"})),
    Axis("train.optimizer.lr", Between(0.001, 1.0, log=True)),
    Axis("rewind", Choice({"init": "init", "early": "early"}), when={"granularity": ("weight",)}),
)


def ended(number, value, **picks):
    outcome = Outcome(value, 0.0 if value else 0.1, 1 if value else None)
    return trial(number, (0.9,), picks={path.replace("__", "."): pick for path, pick in picks.items()}, outcome=outcome)


def material(few, *trials):
    return replace(few, trials=trials, spec=replace(few.spec, space=SPACE), answer=None)


def test_groups_are_labels_and_thirds_of_a_range(few):
    made = material(
        few,
        ended(0, 100.0, granularity="unit", train__optimizer__lr=0.001),
        ended(1, 400.0, granularity="unit", train__optimizer__lr=0.1),
        ended(2, 800.0, granularity="weight", train__optimizer__lr=1.0, rewind="init"),
        ended(3, None, granularity="weight", train__optimizer__lr=0.05, rewind="early"),
        replace(ended(4, 1.0, granularity="weight", train__optimizer__lr=0.05, rewind="early"), ending="failed"),
    )
    found = groups(made)
    assert [(group.axis, group.label, group.matching, group.trials) for group in found] == [
        ("granularity", "unit", 2, 2), ("granularity", "weight", 1, 2),
        ("train.optimizer.lr", "0.001 to 0.01", 1, 1), ("train.optimizer.lr", "0.01 to 0.1", 0, 1),
        ("train.optimizer.lr", "0.1 to 1", 2, 2),
        ("rewind", "init", 1, 1), ("rewind", "early", 0, 1),
    ]  # fmt: skip
    unit, weight = found[:2]
    assert unit.mean == pytest.approx(200)
    # Student's t for two values, 12.706, times their standard error, log(4) / 2.
    assert unit.upper / unit.mean == pytest.approx(math.exp(12.706 * math.log(4) / 2), rel=1e-3)
    assert weight.mean == pytest.approx(800)
    assert math.isnan(weight.upper)
    assert found[3] == Group("train.optimizer.lr", "0.01 to 0.1", 1, 0, *[pytest.approx(math.nan, nan_ok=True)] * 3)


def test_a_recipe_that_is_tried_again_counts_once(few):
    """By another label, it counts there, too; and records without a recipe's digest are recipes of their own."""
    tried = [replace(ended(number, value, granularity=label, train__optimizer__lr=0.001), recipe=recipe)
             for number, (label, value, recipe) in enumerate([
                 ("unit", 100.0, "a"), ("unit", 400.0, "b"), ("unit", 400.0, "b"), ("unit", None, "c"),
                 ("unit", None, "c"), ("weight", 400.0, "b"), ("weight", 400.0, "b"),
             ])]  # fmt: skip
    unit, weight = groups(material(few, *tried))[:2]
    assert (unit.label, unit.matching, unit.trials) == ("unit", 2, 3)
    assert (weight.label, weight.matching, weight.trials) == ("weight", 1, 1)
    assert unit.mean == pytest.approx(200)
    assert math.isnan(weight.upper)
    plain = [replace(trial, recipe="") for trial in tried]
    assert [group.trials for group in groups(material(few, *plain))[:2]] == [5, 2]


def test_the_chart_has_a_row_for_each_group_that_matches(few):
    made = material(few, ended(0, 100.0, granularity="unit", train__optimizer__lr=0.001),
                    ended(1, None, granularity="weight", train__optimizer__lr=0.001, rewind="init"))  # fmt: skip
    data = effects_chart(made).data
    assert [(trace["name"], trace["y"]) for trace in data] == [
        ("granularity", ["granularity<br>unit (1/1)"]), ("train.optimizer.lr", ["lr<br>0.001 to 0.01 (1/2)"]),
    ]  # fmt: skip
    assert effects_chart(material(few, made.trials[1])) is None


def test_the_axis_that_decides_is_the_most_important(few):
    chance = random.Random(0)
    trials = []
    for number in range(100):
        label = chance.choice(["unit", "weight"])
        more = {"rewind": chance.choice(["init", "early"])} if label == "weight" else {}
        value = (100 if label == "unit" else 1000) + chance.random()
        lr = 10 ** chance.uniform(-3, 0)
        trials.append(ended(number, value, granularity=label, train__optimizer__lr=lr, **more))
    found = importances(material(few, *trials))
    assert next(iter(found)) == "granularity"
    assert sum(found.values()) == pytest.approx(1)


def test_few_trials_give_no_importances(few, many):
    some = [replace(trial, ending="finished") for trial in many.trials if trial.outcome.value]
    assert importances(replace(many, trials=some[: FEWEST - 1])) == {}
    assert importance_chart(replace(many, trials=some[: FEWEST - 1])) is None
    assert set(importances(replace(many, trials=some[:FEWEST]))) == {axis.path for axis in many.spec.space}
    repeated = [replace(trial, recipe=str(number // 2)) for number, trial in enumerate(some[:FEWEST])]
    assert importances(replace(many, trials=repeated)) == {}
