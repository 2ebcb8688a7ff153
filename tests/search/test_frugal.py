"""Expected improvement per training step."""

import math

import numpy as np
import pytest

from lth_sweep.search import frugal
from lth_sweep.search.frugal import Known, pick
from lth_sweep.search.study import SweepStudy
from lth_sweep.sweepfile.axis import Axis, Between, Choice
from lth_sweep.sweepfile.samplers import Frugal
from lth_sweep.sweepfile.spec import Search, SweepSpec
from tests.search.test_study import KIND, LR, SCOPE

RATE = Axis("rate", Choice({str(rate): rate for rate in (0.2, 0.3, 0.4, 0.5, 0.6)}))
REWIND = Axis("rewind", Choice({"init": "init", "late": {"kind": "step", "at": "300 steps"}}))


def spec(*space, trials=30, seed=0, **options):
    return SweepSpec("s", {"levels": 8}, space, search=Search(Frugal(**options), trials, seed))


def sized(rate, size, **others):
    return Known({"rate": str(rate), **others}, size, -0.01, 0.1)


def test_the_first_picks_are_random_points_of_the_space():
    found = [pick(spec(KIND, SCOPE, LR, startup=4), [], [], seed) for seed in range(40)]
    assert {picks["granularity"] for picks in found} == {"weight", "unit"}
    assert all(("scope" in picks) == (picks["granularity"] == "weight") for picks in found)
    assert all(("train.optimizer.lr" in picks) == (picks.get("scope") == "global") for picks in found)
    assert pick(spec(RATE), [], [], 7) == pick(spec(RATE), [], [], 7)


def test_the_next_picks_are_far_from_those_before_them():
    base = Known({"granularity": "weight", "rate": "0.2"}, 900.0, -0.01)
    found = [pick(spec(KIND, RATE), [base], [], seed) for seed in range(10)]
    assert {picks["granularity"] for picks in found} == {"unit"}
    assert all(float(picks["rate"]) >= 0.5 for picks in found)
    both = [pick(spec(KIND, RATE), [base], [{"granularity": "unit", "rate": "0.6"}], seed) for seed in range(10)]
    assert {(picks["granularity"], picks["rate"]) for picks in both} <= {
        ("weight", "0.6"), ("weight", "0.5"), ("unit", "0.2"), ("unit", "0.3"),
    }  # fmt: skip


def test_what_was_tried_or_runs_or_failed_is_not_picked_again_while_there_is_anything_else():
    told = [sized(0.2, 900.0), sized(0.3, 800.0), Known({"rate": "0.4"}, None, 0.0)]
    asked = {pick(spec(RATE, startup=2), told, [{"rate": "0.6"}], seed)["rate"] for seed in range(20)}
    assert asked == {"0.5"}
    told += [sized(0.5, 700.0), sized(0.6, 600.0)]
    assert pick(spec(RATE, startup=2), told, [], 0)["rate"] in RATE.domain.options


def test_of_what_is_equally_promising_the_cheaper_is_picked():
    """One tried, and two that differ from it in one label each, of which one takes half of the steps a level."""
    space = (REWIND, Axis("scope", Choice({"layer": "layer", "global": "global"})))
    told = [Known({"rewind": "init", "scope": "layer"}, 900.0, -0.01, 0.1)]
    both = {"rewind": "late", "scope": "global"}  # the third
    found = [pick(spec(*space, startup=1), told, [both], seed) for seed in range(20)]
    assert found.count({"rewind": "late", "scope": "layer"}) >= 18


def test_steps_down_to_a_density():
    asked = spec(Axis("rate", Between(0.1, 0.6)), REWIND)
    assert frugal._steps(asked, {"rate": 0.5, "rewind": "late"}, 0.2) == 600 + 3 * 300
    assert frugal._steps(asked, {"rate": 0.5, "rewind": "init"}, None) == 600 + 8 * 600
    assert frugal._steps(asked, {"rate": 0.1, "rewind": "init"}, 0.2) == 600 + 8 * 600  # its last level is above 0.2
    beyond = spec(Axis("train.batch", Choice({"all": 10**6})))
    assert frugal._steps(beyond, {"train.batch": "all"}, 0.2) == math.inf


def test_it_goes_on_where_smaller_networks_were_found():
    told = [sized(rate, size) for rate, size in ((0.2, 4000.0), (0.3, 2000.0), (0.6, 8000.0))]
    found = [pick(spec(RATE), [*told, sized(0.5, 4000.0)], [], seed)["rate"] for seed in range(10)]
    assert found == ["0.4"] * 10  # the last one that is left
    first, second = KIND.path, SCOPE.path
    told = [
        Known({first: kind, second: scope, "rate": str(rate)}, size, violation, 0.1)
        for kind, scope, rate, size, violation in [
            ("weight", "layer", 0.2, 1000.0, -0.01), ("weight", "global", 0.4, 900.0, -0.01),
            ("unit", "layer", 0.3, 200.0, 0.2), ("unit", "global", 0.5, 100.0, 0.3),
        ]
    ]  # fmt: skip
    space = (KIND, Axis(second, SCOPE.domain), RATE)
    found = [pick(spec(*space), told, [], seed)[first] for seed in range(10)]
    assert found == ["weight"] * 10  # however small, what does not match counts as large


def test_while_nothing_matches_the_nearest_is_followed():
    told = [
        Known({"rate": str(rate)}, 100.0, violation, 0.1) for rate, violation in ((0.2, 0.01), (0.3, 0.1), (0.6, 0.9))
    ]
    asked = spec(Axis("rate", Between(0.2, 0.6)), startup=3)
    told = [Known({"rate": float(one.picks["rate"])}, one.size, one.violation) for one in told]
    assert all(pick(asked, told, [], seed)["rate"] < 0.35 for seed in range(10))


def test_expected_improvement_is_that_of_a_simulation():
    gap, deviation = np.array([0.3, 0.0, -1.0]), np.array([0.5, 1.0, 0.7])
    drawn = np.random.default_rng(0).normal(gap, deviation, (400_000, 3))
    assert frugal._expected(gap, deviation) == pytest.approx(np.maximum(drawn, 0).mean(0), abs=0.003)


def test_distances_along_axes_of_every_kind():
    space = (KIND, SCOPE, Axis("rate", Between(0.2, 0.6)), LR)
    points = [
        {"granularity": "weight", "scope": "global", "rate": 0.2, "train.optimizer.lr": 1e-4},
        {"granularity": "weight", "scope": "global", "rate": 0.4, "train.optimizer.lr": 1e-3},
        {"granularity": "unit", "rate": 0.6},
    ]
    where = frugal._coordinates(space, points)
    apart = frugal._apart(space, where, where)
    assert apart[:, 0, 1] == pytest.approx([0, 0, 0.25, 0.25])
    assert apart[:, 0, 2] == pytest.approx([1, 1, 1, 1])
    assert apart[:, 2, 2] == pytest.approx([0, 0, 0, 0])


def test_a_model_is_made_of_the_best_and_the_latest():
    known = [sized(0.2, float(1000 - number)) for number in range(300)]
    some = frugal._some([sized(0.3, 1.0), *known])
    assert len(some) == frugal.MODELLED
    assert some[0].size == 1.0
    assert list(some[-64:]) == known[-64:]
    assert pick(spec(RATE), known, [], 0)["rate"] != "0.2"


def test_a_study_that_is_gone_on_with_picks_as_one_that_ran_through(tmp_path):
    asked = spec(RATE, REWIND, KIND)
    through, broken = SweepStudy(asked, tmp_path / "a.db"), SweepStudy(asked, tmp_path / "b.db")
    expected, found, noted = [], [], {}
    for number in range(9):
        if number == 6:
            broken.close()
            broken = SweepStudy(asked, tmp_path / "b.db")
            for earlier, known in noted.items():
                broken.note(earlier, *known)
        for study, picks in ((through, expected), (broken, found)):
            picks.append(study.ask())
            size = 1000 * float(picks[-1][1]["rate"])
            measured = None if number == 2 else ([size], 0.1 if number == 3 else -0.1)
            noted[number] = picks[-1][1], measured, 0.05
            study.tell(number, measured)
            study.note(number, *noted[number])
    assert found == expected
    assert len({tuple(picks.items()) for _, picks in found[4:]}) == 5
