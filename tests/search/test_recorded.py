"""The rules that spend less, on the recorded table: 240 real recipes, 3 seeds, every level."""

import sys
from pathlib import Path

import pytest

from lth_sweep.search.policy import policy_of
from lth_sweep.sweepfile.load import load_spec
from lth_sweep.sweepfile.points import grid
from lth_sweep.sweepfile.samplers import Frugal, Grid
from lth_sweep.sweepfile.spec import Stop

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import replay
import search

ALL = 3_781_200
"""Steps of the whole table."""
RULES = {
    "the default ones": Stop(),
    "patience": Stop(2, None, False, False),
    "race": Stop(None, 0.01, False, False),
    "hopeless": Stop(None, None, True, False),
}


@pytest.mark.parametrize("rules", RULES)
def test_the_answer_is_the_same_as_without_rules_and_costs_less(rules):
    smallest, recipes = replay.best_size(replay.spec()), len(replay.table())
    assert recipes == 240
    found = search.simulate(Grid(), RULES[rules], 0, recipes)
    assert (found.answer, found.trials) == (smallest, recipes)
    assert found.steps < {"the default ones": 0.25, "patience": 0.75, "race": 0.8, "hopeless": 0.95}[rules] * ALL


@pytest.mark.parametrize("only", [{}, {"granularity": "unit"}, {"train.optimizer.lr": "0.0012", "scope": "global"}])
def test_the_default_search_of_the_whole_table_finds_the_smallest(only):
    """Trials that have waited with their other seeds come last, and may be what is smallest."""
    sweep = replay.part(replay.spec(), only)
    recipes = len(grid(sweep.space))
    found = search.simulate(Frugal(), Stop(), 1, recipes, sweep=sweep)
    assert (found.answer, found.trials) == (replay.best_size(sweep), recipes)


def test_without_rules_everything_is_trained_once():
    found = search.simulate(Grid(), search.NO_RULES, 0, 240)
    assert (found.answer, found.steps) == (replay.best_size(replay.spec()), ALL)


def test_the_table_is_recorded_of_whole_ladders_with_all_seeds():
    """No rule of the file ends a trial, or leaves a seed out."""
    spec = load_spec(Path(replay.__file__).with_name("table.yaml"), checked=True)
    policy = policy_of(spec.stop, spec.objective)
    recipe = spec.recipe({axis.path: next(iter(axis.domain.options)) for axis in spec.space})
    assert policy.runs(recipe) == [(0, 1, 2)]
    assert {rule.kind for rule in policy.rules} == {"diverged", "constant"}
