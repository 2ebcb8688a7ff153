"""A metric of which less is better turns everything round, and a margin can be a share of the dense value."""

import math
from dataclasses import replace

import pytest

from lth_sweep.lottery.experiments.verification import Pair
from lth_sweep.lottery.recipe.trial import TrialConfig
from lth_sweep.lottery.records import Level
from lth_sweep.lottery.task import Metric
from lth_sweep.search.answer import Answer
from lth_sweep.search.frames import levels_frame, trials_frame
from lth_sweep.search.objective import front, judge, nearest
from lth_sweep.search.policy import policy_of
from lth_sweep.search.trial import TrialRecord
from lth_sweep.search.verdict import verdict
from lth_sweep.sweepfile.objective import Match, Objective
from lth_sweep.sweepfile.spec import Stop
from lth_sweep.sweepfile.stopping import View
from tests.search.test_objective import OBJECTIVE, levels

ERROR = Metric("error", higher_is_better=False)
LESS = replace(OBJECTIVE, metric=ERROR)
ROWS = [
    [(0.9, 0.8), (0.9, 0.8), (0.89, 0.79), (0.5, 0.5)],
    [(0.9, 0.8), (0.889, 0.79), (0.5, 0.5)],
    [(0.9, 0.8), (0.5, 0.5), (0.95, 0.9), (0.7, 0.7), (0.7, 0.7)],
    [(0.9, 0.8), (math.nan, 0.9)],
    [(0.9,), (0.88,), (0.9,), (0.87,), (0.86,)],
]


def errors(*accuracies):
    """The same levels, by their error."""
    return [
        Level(replace(record, metrics={"error": 1 - record.metrics["accuracy"], "loss": 0.1}) for record in level)
        for level in levels(*accuracies)
    ]


@pytest.mark.parametrize("rows", ROWS)
def test_what_is_judged_is_the_same(rows):
    more, less = judge(levels(*rows), OBJECTIVE), judge(errors(*rows), LESS)
    assert (less.value, less.level, less.violation) == (more.value, more.level, pytest.approx(more.violation))
    assert getattr(nearest(errors(*rows), LESS), "level", 0) == getattr(nearest(levels(*rows), OBJECTIVE), "level", 0)
    both = Objective(("params", "flops"))
    assert front([(3, errors(*rows))], replace(both, metric=ERROR)) == front([(3, levels(*rows))], both)


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("stop", [Stop(), Stop(1, None), Stop(2, 0.0)])
def test_trials_are_stopped_alike(rows, stop):
    trial = TrialConfig(levels=4, seeds=2)
    for last in range(1, len(rows) + 1):
        decisions = [
            policy_of(stop, objective).on_level(View(trial, found[:last], objective, 400, recorded=found[:last]))
            for found, objective in ((levels(*rows), OBJECTIVE), (errors(*rows), LESS))
        ]
        more, less = (getattr(decision, "reason", type(decision)) for decision in decisions)
        assert less == (more.replace("below dense", "above dense") if isinstance(more, str) else more)


@pytest.mark.parametrize(
    "gains", [(0.0, -0.001, 0.001), (0.02, 0.021, 0.022), (-0.06, -0.05, -0.055), (0.0, -0.03, 0.01)]
)
def test_the_verdict_is_the_same(gains):
    def pairs(sign):
        return [Pair(seed, 10_000, 0.9, 0.9, sign * gain, 0.001) for seed, gain in enumerate(gains)]

    more, less = verdict(pairs(1), 0.01, 0.95), verdict(pairs(-1), 0.01, 0.95, metric=ERROR)
    assert (less.word, less.more_seeds) == (more.word, more.more_seeds)
    assert less.difference == pytest.approx(-more.difference)
    assert (less.lower, less.upper) == pytest.approx((-more.upper, -more.lower))
    assert less.lower <= less.difference <= less.upper


def test_a_verdict_is_told_in_the_numbers_of_its_metric():
    loss = Metric("perplexity", higher_is_better=False, format="number")
    pairs = [Pair(seed, 100, 20.0, 20.0, more, 0.1) for seed, more in enumerate((0.02, 0.01, 0.03))]
    found = verdict(pairs, 1.5, 0.95, metric=loss)
    assert found.word == "matches"
    assert "is +0.02 (+0.003141 to +0.03686) over 3 fresh seeds, margin 1.5, 95.0% bounds" in found.sentence
    assert "metric" not in found.to_json()


@pytest.mark.parametrize(("margin", "level"), [("4.9%", None), ("5%", 1), ("11%", 2)])
def test_a_relative_margin_is_a_share_of_the_dense_value(margin, level):
    """0.2 of error, and 0.21 and 0.22."""
    objective = Objective(match=Match(margin=margin), metric=ERROR)
    found = errors((0.8,), (0.79,), (0.78,))
    assert judge(found, objective).level == level
    view = View(TrialConfig(levels=4, seeds=1), found[:2], objective, recorded=found[:2])
    decision = policy_of(Stop(1), objective).on_level(view)
    assert getattr(decision, "reason", "") == ("" if level else "1 level more than 4.9% above dense")


def test_differences_stay_ticket_minus_dense_and_columns_are_called_as_the_metric():
    found = errors((0.9, 0.8), (0.89, 0.8), (0.5, 0.5))
    outcome = judge(found, LESS)
    answer = Answer.of(0, {}, found, outcome, LESS)
    assert (answer.difference, answer.metric) == (pytest.approx(0.005), "error")
    trial = TrialRecord(0, {}, tuple(found), "finished", outcome)
    rows = levels_frame([trial], LESS)
    assert rows.difference.to_list() == pytest.approx([0, 0, 0.01, 0, 0.4, 0.3])
    assert rows.matches.to_list() == [False, False, True, True, False, False]
    row = trials_frame([trial], LESS).iloc[0]
    assert (row.error, row.difference) == (pytest.approx(0.155), pytest.approx(0.005))
