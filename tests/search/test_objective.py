import math
from dataclasses import replace

import pytest

from lth_sweep.lottery.records import Level, LevelRecord
from lth_sweep.search.events import Outcome
from lth_sweep.search.objective import judge, nearest, stop_reason
from lth_sweep.spec.sweep import Match, Objective, Stop

OBJECTIVE = Objective(match=Match(margin=0.01))


def levels(*accuracies: tuple[float, ...]) -> list[Level]:
    """Levels with these accuracies by seed, of 1000, 500, 250, ... parameters."""
    return [
        tuple(
            LevelRecord("t", level, seed, 0.5**level, {}, {"params": 1000 >> level, "flops": 7, "bytes": 7},
                        {"accuracy": accuracy, "loss": 0.1}, (), "", 10, 0)
            for seed, accuracy in enumerate(row)
        )
        for level, row in enumerate(accuracies)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("accuracies", "value", "level"),
    [
        ([(0.9, 0.8), (0.9, 0.8), (0.89, 0.79), (0.5, 0.5)], 250, 2),  # exactly the margin below, with float rounding
        ([(0.9, 0.8), (0.889, 0.79), (0.5, 0.5)], None, None),
        ([(0.9, 0.8), (0.88, 0.81)], 500, 1),  # by pairs and on the mean: -0.02 and +0.01
        ([(0.9, 0.8), (0.5, 0.5), (0.9, 0.8)], 250, 2),  # a poor level in between does not matter
        ([(0.9, 0.8), (0.95, 0.9), (math.nan, 0.9)], 500, 1),
        ([(0.9, 0.8)], None, None),  # the dense network is no ticket
        ([], None, None),
    ],
)
def test_the_smallest_matching_level_counts(accuracies, value, level):
    outcome = judge(levels(*accuracies), OBJECTIVE)
    assert (outcome.value, outcome.level) == (value, level)
    assert outcome.violation is None or (outcome.violation <= 0) == (value is not None)


def test_the_violation_is_how_far_the_nearest_level_is_from_matching():
    missed = levels((0.9,), (0.86,), (0.87,), (0.5,))
    outcome = judge(missed, OBJECTIVE)
    assert outcome == Outcome(None, pytest.approx(0.02), None)
    assert nearest(missed, OBJECTIVE) == (250, pytest.approx(0.02))


def test_what_is_not_a_number_cannot_be_judged():
    assert judge(levels((0.9,), (math.nan,)), OBJECTIVE) == Outcome(None, None, None)
    assert judge(levels((math.nan,), (0.9,)), OBJECTIVE) == Outcome(None, None, None)


@pytest.mark.parametrize(
    ("accuracies", "patience", "reason"),
    [
        ([0.9, 0.5], 2, None),
        ([0.9, 0.5, 0.5], 2, "2 levels in a row more than 0.01 below dense"),
        ([0.9, 0.5, 0.9, 0.5], 2, None),
        ([0.9, 0.5, 0.9, 0.5, 0.5], 2, "2 levels in a row more than 0.01 below dense"),
        ([0.9, 0.5], 1, "1 level more than 0.01 below dense"),
        ([0.9, 0.5, 0.5, 0.5], None, None),
        ([0.9, math.nan], None, "training diverged at level 1: a metric is not a number"),
        ([math.nan], 2, "training diverged at level 0: a metric is not a number"),
        ([0.9], 1, None),
    ],
)
def test_when_a_trial_stops(accuracies, patience, reason):
    assert stop_reason(levels(*[(accuracy,) for accuracy in accuracies]), Stop(patience), OBJECTIVE) == reason


def test_levels_that_were_not_trained_to_their_end_neither_match_nor_stop_a_trial():
    found = levels((0.9,), (0.9,), (0.5,), (0.5,), (0.9,))
    early = [tuple(replace(record, finished=record.level in (0, 4)) for record in level) for level in found]
    assert judge(early[:4], OBJECTIVE) == Outcome(None, None, None)
    assert judge(early, OBJECTIVE) == Outcome(62, pytest.approx(-0.01), 4)
    assert stop_reason(found[:4], Stop(2), OBJECTIVE) is not None
    assert stop_reason(early[:4], Stop(2), OBJECTIVE) is None
