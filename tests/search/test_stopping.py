import math
from dataclasses import replace

import pytest

from lth_sweep.lottery.recipe.trial import TrialConfig
from lth_sweep.search.stopping import lost, promise, race_over, racing, stop_reason, waits
from lth_sweep.sweepfile.spec import Objective, Stop
from tests.search.test_objective import OBJECTIVE, levels

TRIAL = TrialConfig(levels=4, seeds=2)
STOP = Stop(patience=2, race=0.02)


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
def test_patience(accuracies, patience, reason):
    assert lost(levels(*[(accuracy,) for accuracy in accuracies]), Stop(patience), OBJECTIVE) == reason


def test_levels_that_were_not_trained_to_their_end_do_not_stop_a_trial():
    found = levels((0.9,), (0.9,), (0.5,), (0.5,), (0.9,))
    early = [tuple(replace(record, finished=record.level in (0, 4)) for record in level) for level in found]
    assert lost(found[:4], Stop(2), OBJECTIVE) is not None
    assert lost(early[:4], Stop(2), OBJECTIVE) is None


def reason(found, index=None, seeds=(0,), best=None, bound=0.0, stop=STOP, objective=OBJECTIVE):
    index = len(found) - 1 if index is None else index
    return stop_reason(found, index, seeds, TRIAL, stop, objective, best, bound)


@pytest.mark.parametrize(
    ("accuracies", "best", "stops"),
    [
        ([0.9, 0.88, 0.88], None, False),  # the race is not over: within 0.03 of dense
        ([0.9, 0.86, 0.86], None, True),  # over, and nothing to hope for
        ([0.9, 0.9, 0.86, 0.86], None, False),  # over; level 1 is worth all seeds
        ([0.9, 0.9, 0.86, 0.86], 500, True),  # unless the best has as few as its 500
        ([0.9, 0.9, 0.86, 0.86], 501, False),
        ([0.9, 0.9, 0.9, 0.9, 0.9], 62, True),  # the last level, number 4, has 62
        ([0.9, 0.9, 0.9, 0.9, 0.9], 63, False),
        ([0.9, 0.9, math.nan], 501, False),
        ([0.9, 0.9, math.nan], 500, True),
    ],
)
def test_the_first_seed_goes_alone_and_the_others_follow_while_it_can_be_the_best(accuracies, best, stops):
    found = levels(*[(accuracy,) for accuracy in accuracies])
    assert (reason(found, best=best) is not None) == stops


def test_all_seeds_go_down_to_the_last_level_that_the_first_one_promised():
    alone = levels((0.9,), (0.9,), (0.9,), (0.86,), (0.86,))
    both = levels((0.9, 0.9), (0.9, 0.9), (0.9, 0.9))
    assert reason([*both[:1], *alone[1:]], 0, (0, 1)) is None
    assert reason([*both[:2], *alone[2:]], 1, (0, 1)) is None
    assert reason([*both[:3], *alone[3:]], 2, (0, 1)) == "no further level is one that its first seed promised"
    assert reason([*both[:2], *alone[2:]], 1, (0, 1), best=250) is not None  # a trial beside it was faster
    poor = levels((0.9, 0.9), (0.9, 0.7), (0.9, 0.7))
    assert reason([*poor, *alone[3:]], 2, (0, 1)).startswith("2 levels in a row")


def test_a_trial_that_could_not_be_smaller_stops_at_once():
    found = levels((0.9,))
    assert reason(found, best=250, bound=250) == "no level of it could be smaller than the best, 250 params"
    assert reason(found, best=250, bound=249) is None
    assert reason(found, best=250, bound=250, stop=Stop(hopeless=False)) is None
    assert reason(found, best=250, bound=250, objective=Objective(("params", "flops"))) is None
    assert reason(found, best=None, bound=250) is None


def test_when_there_is_a_race():
    assert racing(TRIAL, STOP, OBJECTIVE)
    assert not racing(TRIAL, Stop(race=None), OBJECTIVE)
    assert not racing(TrialConfig(seeds=1), STOP, OBJECTIVE)
    assert not racing(TRIAL, STOP, Objective(("params", "flops")))
    assert race_over(levels(*[(0.9,)] * 5), TRIAL, STOP, OBJECTIVE)
    assert not race_over(levels(*[(0.9,)] * 4), TRIAL, STOP, OBJECTIVE)


@pytest.mark.parametrize(
    ("accuracies", "best", "expected"),
    [
        ([0.9, 0.9, 0.86], 300, False),  # the race is not over
        ([0.9, 0.9, 0.86, 0.86], 300, True),  # it matches with 500
        ([0.9, 0.9, 0.86, 0.86], 500, True),
        ([0.9, 0.9, 0.86, 0.86], 501, False),
        ([0.9, 0.9, 0.86, 0.86], None, True),  # the first of all
        ([0.9, 0.88, 0.86, 0.86], 9999, True),  # it misses the margin, if by little
        ([0.9, 0.9, 0.9, 0.9, 0.9], 63, False),
    ],
)
def test_a_trial_waits_whose_first_seed_is_not_the_best(accuracies, best, expected):
    found = levels(*[(accuracy,) for accuracy in accuracies])
    assert waits(found, TRIAL, STOP, OBJECTIVE, best) == expected


def test_what_the_first_seed_promises():
    assert promise(levels((0.9, 0.9), (0.9, 0.1), (0.88, 0.9), (0.86,)), STOP, OBJECTIVE) == 250
    assert promise(levels((0.9,), (0.8,), (0.8,)), STOP, OBJECTIVE) == math.inf
