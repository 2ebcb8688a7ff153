from dataclasses import replace

import optuna
import pytest
from optuna.trial import TrialState

from lth_sweep.search.samplers import base_point
from lth_sweep.search.study import SweepStudy
from lth_sweep.sweepfile.axis import Axis, Between, Choice
from lth_sweep.sweepfile.points import at, grid, points
from lth_sweep.sweepfile.samplers import SAMPLERS, Grid
from lth_sweep.sweepfile.spec import Objective, Search, SweepSpec

KIND = Axis("granularity", Choice({"weight": "weight", "unit": "unit"}))
SCOPE = Axis("scope", Choice({"layer": "layer", "global": "global"}), when={"granularity": ("weight",)})
RATE = Axis("rate", Between(0.2, 0.6))
LR = Axis("train.optimizer.lr", Between(1e-4, 1e-2, log=True), when={"scope": ("global",)})
LEVELS = Axis("levels", Between(2, 4, integer=True))
SPACE = (KIND, SCOPE, RATE, LR)


def spec(sampler="random", trials=30, space=SPACE, seed=0, **objective):
    search = Search(SAMPLERS[sampler](), trials, seed)
    return SweepSpec("s", {}, space, search=search, objective=Objective(**objective))


def states(study):
    return [trial.state for trial in study.study.get_trials()]


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_conditional_axes_exist_only_where_they_should(tmp_path, sampler):
    study = SweepStudy(spec(sampler), tmp_path / "optuna.db")
    for _ in range(30):
        number, picks = study.ask()
        assert ("scope" in picks) == (picks["granularity"] == "weight")
        assert ("train.optimizer.lr" in picks) == (picks.get("scope") == "global")
        assert 0.2 <= picks["rate"] <= 0.6
        study.tell(number, ([100 * picks["rate"]], -0.1))
    assert states(study) == [TrialState.COMPLETE] * 30


def test_tpe_learns_in_a_conditional_space(tmp_path):
    study = SweepStudy(spec("tpe", 60), tmp_path / "optuna.db")
    rates = []
    for _ in range(60):
        number, picks = study.ask()
        rates.append(picks["rate"])
        good = picks["granularity"] == "unit"
        study.tell(number, ([1000 * (0.61 - picks["rate"])], -0.1 if good else 0.2))
    best = study.study.best_trial
    assert best.params["granularity"] == "unit"
    assert sum(rates[-20:]) / 20 > sum(rates[:10]) / 10 + 0.05


def test_the_grid_has_each_combination_once_and_ends(tmp_path):
    space = (KIND, SCOPE, LEVELS)
    assert points(LEVELS.domain) == [2, 3, 4]
    assert len(grid(space)) == 3 * (1 + 2)
    study = SweepStudy(spec("grid", 100, space), tmp_path / "optuna.db")
    asked = [study.ask()[1] for _ in range(study.limit)]
    assert study.limit == 9
    assert sorted(map(str, asked)) == sorted(map(str, grid(space)))
    assert asked != grid(space)  # shuffled


def test_a_grid_in_the_order_of_the_file(tmp_path):
    space = (KIND, SCOPE, LEVELS)
    ordered = replace(spec(space=space), search=Search(Grid(shuffle=False), 100))
    study = SweepStudy(ordered, tmp_path / "optuna.db")
    assert [study.ask()[1] for _ in range(study.limit)] == grid(space)


def test_points_that_go_first(tmp_path):
    first = ({"rate": 0.5}, {"rate": 0.25})
    search = Search(SAMPLERS["random"](), 4, first=first)
    study = SweepStudy(replace(spec(space=(RATE,)), search=search), tmp_path / "optuna.db")
    assert [study.ask() for _ in range(2)] == [(0, {"rate": 0.5}), (1, {"rate": 0.25})]
    assert study.ask()[1]["rate"] not in (0.5, 0.25)


def test_the_points_of_a_range():
    assert points(Between(0.2, 0.6)) == pytest.approx([0.2, 0.3, 0.4, 0.5, 0.6])
    assert points(Between(1e-4, 1, log=True)) == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1])
    assert points(Between(1, 100, integer=True)) == [1, 26, 51, 75, 100]


def test_an_infeasible_trial_is_skipped_however_small_it_is(tmp_path):
    study = SweepStudy(spec(), tmp_path / "optuna.db")
    for measured in [([5.0], 0.01), ([50.0], 0.0), None]:
        study.tell(study.ask()[0], measured)
    assert states(study) == [TrialState.COMPLETE, TrialState.COMPLETE, TrialState.FAIL]
    assert study.study.best_trial.number == 1
    assert study.study.get_trials()[0].constraints == {"match": 0.01}


def test_trials_that_were_not_told_come_back_with_their_number_and_picks(tmp_path):
    study = SweepStudy(spec(), tmp_path / "optuna.db")
    asked = [study.ask() for _ in range(4)]
    study.tell(1, ([9.0], -0.1))
    study.close()
    stored = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path / 'optuna.db'}")
    assert TrialState.RUNNING not in [trial.state for trial in stored.get_trials()]

    again = SweepStudy(spec(), tmp_path / "optuna.db")
    assert again.unfinished() == [asked[0], asked[2], asked[3]]
    killed = SweepStudy(spec(), tmp_path / "optuna.db")  # `again` was not closed: its trials are RUNNING
    assert killed.unfinished() == [asked[0], asked[2], asked[3]]
    assert killed.ask()[0] == 4


def test_what_is_picked_does_not_depend_on_interruptions(tmp_path):
    through = SweepStudy(spec(), tmp_path / "a.db")
    expected = [through.ask() for _ in range(6)]
    broken = SweepStudy(spec(), tmp_path / "b.db")
    first = [broken.ask() for _ in range(3)]
    for number, _ in first:
        broken.tell(number, ([1.0], -0.1))
    broken.close()
    went_on = SweepStudy(spec(), tmp_path / "b.db")
    assert first + [went_on.ask() for _ in range(3)] == expected
    other = SweepStudy(spec(seed=1), tmp_path / "c.db")
    assert other.ask() == expected[0]  # the base recipe
    assert other.ask() != expected[1]


def test_the_first_trial_is_the_base_recipe_where_it_lies_in_the_space(tmp_path):
    first = SweepStudy(spec("tpe"), tmp_path / "a.db").ask()
    assert first == (0, {"granularity": "weight", "scope": "layer", "rate": 0.2})
    space = (KIND, Axis("rate", Between(0.1, 0.6)), Axis("rewind", Choice({"k": {"kind": "step", "at": "50 steps"}})))
    assert base_point(spec(space=space)) is None
    early = Axis("rewind.at", Between(0, 100, integer=True, unit="steps"))
    own = SweepSpec("s", {"rewind": {"kind": "step", "at": "50 steps"}, "levels": 3}, (early, LEVELS))
    assert base_point(own) == {"rewind.at": 50, "levels": 3}
    on_grid = SweepStudy(spec("grid", space=(KIND, LEVELS)), tmp_path / "b.db")
    assert base_point(on_grid.spec) is None  # 12 levels
    assert SweepStudy(spec("grid", space=(KIND, SCOPE)), tmp_path / "c.db").ask()[1] == {
        "granularity": "weight",
        "scope": "layer",
    }


def test_quasi_random_points_cover_the_space_evenly(tmp_path):
    study = SweepStudy(spec("qmc", 64), tmp_path / "optuna.db")
    asked = [study.ask()[1] for _ in range(64)]
    assert sum(picks["granularity"] == "unit" for picks in asked) == 32
    for low in (0.2, 0.3, 0.4, 0.5):
        assert sum(low <= picks["rate"] < low + 0.1 for picks in asked) == 16
    assert all(("scope" in picks) == (picks["granularity"] == "weight") for picks in asked)
    assert at(LEVELS.domain, 0.0) == 2
    assert at(LEVELS.domain, 0.9999) == 4
    assert at(LR.domain, 0.5) == pytest.approx(1e-3)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_with_one_size_and_with_two(tmp_path, sampler):
    for minimize in ("params", ("params", "flops")):
        study = SweepStudy(spec(sampler, 14, minimize=minimize), tmp_path / f"{len(minimize)}.db")
        for _ in range(14):
            number, picks = study.ask()
            sizes = [100 * picks["rate"], 50 - 10 * picks["rate"]]
            study.tell(number, (sizes[: len(study.spec.objective.sizes)], picks["rate"] - 0.4))
        assert states(study) == [TrialState.COMPLETE] * 14
        again = SweepStudy(spec(sampler, 15, minimize=minimize), tmp_path / f"{len(minimize)}.db")
        assert again.ask()[0] == 14
