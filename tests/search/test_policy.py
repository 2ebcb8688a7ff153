import math
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.recipe.trial import TrialConfig
from lth_sweep.lottery.records import Level
from lth_sweep.search.policy import Go, Wait, policy_of
from lth_sweep.search.policy import Stop as Stopped
from lth_sweep.sweepfile.decode import decode
from lth_sweep.sweepfile.spec import Objective, Stop
from lth_sweep.sweepfile.stopping import StopRule, View
from tests.search.test_objective import OBJECTIVE, levels

TRIAL = TrialConfig(levels=4, seeds=2)
STOP = Stop(patience=2, race=0.02)


def lost(found, stop, objective=OBJECTIVE):
    decision = policy_of(stop, objective).on_level(View(TRIAL, found, objective, recorded=found))
    return decision.reason if isinstance(decision, Stopped) else None


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
    assert lost(levels(*[(accuracy,) for accuracy in accuracies]), Stop(patience, None)) == reason


def test_levels_that_were_not_trained_to_their_end_do_not_stop_a_trial():
    found = levels((0.9,), (0.9,), (0.5,), (0.5,), (0.9,))
    early = [Level(replace(record, finished=record.level in (0, 4)) for record in level) for level in found]
    assert lost(found[:4], Stop(2, None)) is not None
    assert lost(early[:4], Stop(2, None)) is None


def reason(found, index=None, seeds=(0,), best=None, bound=0.0, stop=STOP, objective=OBJECTIVE):
    run = [level.of(seeds) for level in found[: None if index is None else index + 1]]
    decision = policy_of(stop, objective).on_level(View(TRIAL, run, objective, best, bound, recorded=found))
    return decision.reason if isinstance(decision, Stopped) else None


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


@pytest.mark.parametrize(
    ("trial", "stop", "objective", "runs"),
    [
        (TRIAL, STOP, OBJECTIVE, [(0,), (0, 1)]),
        (TRIAL, Stop(race=None), OBJECTIVE, [(0, 1)]),
        (TrialConfig(seeds=1), STOP, OBJECTIVE, [(0,)]),
        (TRIAL, STOP, Objective(("params", "flops")), [(0, 1)]),
    ],
)
def test_when_there_is_a_race(trial, stop, objective, runs):
    assert policy_of(stop, objective).runs(trial) == runs


@pytest.mark.parametrize("accuracies", [[0.9] * 5, [0.9, 0.86, 0.86, 0.9, 0.9]])
def test_the_first_seed_alone_comes_first(accuracies):
    """To its last level, or to the one where it has lost."""

    def run(trial):
        for level in levels(*[(accuracy,) * len(trial.seed_list) for accuracy in accuracies]):
            yield level.of(trial.seed_list)

    found = [(level.number, level.seeds) for level in policy_of(STOP, OBJECTIVE).levels(TRIAL, run)]
    alone = 5 if accuracies[1] == 0.9 else 3
    assert found == [(level, (0,)) for level in range(alone)] + [(level, (0, 1)) for level in range(5)]


@pytest.mark.parametrize(
    ("accuracies", "leader", "expected"),
    [
        ([0.9, 0.9, 0.86], 300, Go),  # the race is not over
        ([0.9, 0.9, 0.86, 0.86], 300, Wait),  # it matches with 500
        ([0.9, 0.9, 0.86, 0.86], 500, Wait),
        ([0.9, 0.9, 0.86, 0.86], 501, Go),
        ([0.9, 0.9, 0.86, 0.86], None, Wait),  # the first of all
        ([0.9, 0.88, 0.86, 0.86], 9999, Wait),  # it misses the margin, if by little
        ([0.9, 0.9, 0.9, 0.9, 0.9], 63, Go),
    ],
)
def test_a_trial_waits_whose_first_seed_is_not_the_best(accuracies, leader, expected):
    found = levels(*[(accuracy,) for accuracy in accuracies])
    view = View(TRIAL, found, OBJECTIVE, recorded=found, leader=leader, may_wait=True)
    assert isinstance(policy_of(STOP, OBJECTIVE).on_level(view), expected)
    assert isinstance(policy_of(STOP, OBJECTIVE).on_level(replace(view, may_wait=False)), Go)


def test_of_those_that_wait_the_one_that_promises_most_goes_on():
    def waiting(best):
        several = levels((0.9, 0.9), (0.9, 0.1), (0.88, 0.9), (0.86,)), levels((0.9,), (0.9,)), levels((0.9,), (0.8,))
        return {number: View(TRIAL, found, OBJECTIVE, best) for number, found in enumerate(several, 4)}

    policy = policy_of(STOP, OBJECTIVE)
    assert policy.next_waiting(waiting(None)) == (4, Go())  # by level 2 of its first seed, with 250
    assert policy.next_waiting(waiting(251)) == (4, Go())
    number, decision = policy.next_waiting(waiting(250))
    assert number == 4
    assert decision.reason == "its first seed alone: no level smaller than the best is within 0.03 of dense"
    assert policy.next_waiting({6: waiting(None)[6]}) == (6, Go())
    assert isinstance(policy.next_waiting({6: waiting(9999)[6]})[1], Stopped)


@dataclass(frozen=True)
class Dear(StopRule):
    """One's own rule: a class, and a line in the sweep file."""

    at: int = 1
    ends_trial: ClassVar[bool] = True

    def reason(self, view):
        return f"{self.at} levels are enough" if view.levels[-1].number == self.at else None


@dataclass(frozen=True)
class Lost(Dear):
    ends_trial: ClassVar[bool] = False


def test_a_rule_of_ones_own_by_its_import_path():
    written = {"rules": ["tests.search.test_policy:Dear", {"kind": "tests.search.test_policy:Dear", "at": 3}]}
    stop = decode(Stop, written)
    assert stop.rules == (Dear(), Dear(3))
    found = levels(*[(0.9, 0.9)] * 4)
    assert [reason(found, index, (0, 1), stop=stop) for index in range(4)] == [
        None, "1 levels are enough", None, "3 levels are enough"]  # fmt: skip
    with pytest.raises(ConfigError, match="unknown stopping rule 'patient'"):
        decode(Stop, {"rules": ["patient"]})


def test_a_rule_of_ones_own_ends_the_first_seeds_run_or_the_whole_trial():
    found = levels((0.9,), (0.9,))
    assert reason(found, stop=Stop(rules=(Dear(),))) == "1 levels are enough"
    assert reason(found, stop=Stop(rules=(Lost(),))) is None  # its other seeds follow, as it could be the best
    assert reason(found, stop=Stop(rules=(Lost(),)), best=400).startswith("its first seed alone")
    both = levels((0.9, 0.9), (0.9, 0.9))
    assert reason(both, 1, (0, 1), stop=Stop(rules=(Lost(),))) == "1 levels are enough"


PATIENT, RACED, OFF = Stop(2, None), Stop(2, 0.02), Stop(None, None)


@pytest.mark.parametrize(
    ("rows", "best", "bound", "stop", "stays"),
    [
        ([(0.9, 0.9), (0.5, 0.5), (0.5, 0.5)], None, 0, PATIENT, True),
        ([(0.9, 0.9), (0.5, 0.5), (0.5, 0.5)], None, 0, Stop(1, None), True),
        ([(0.9, 0.9), (0.5, 0.5), (0.5, 0.5)], None, 0, Stop(3, None), False),
        ([(0.9, 0.9), (0.5, 0.5), (0.5, 0.5)], None, 0, OFF, False),
        ([(0.9, 0.9), (0.5, 0.5), (0.5, 0.5), (0.9, 0.9)], None, 0, PATIENT, True),  # resumed under a stricter rule
        ([(0.9, 0.9), (math.nan, 0.9)], None, 0, OFF, True),
        ([(0.9,), (0.86,), (0.86,)], 800, 0, RACED, True),  # beaten by its first seed alone
        ([(0.9,), (0.86,), (0.86,)], 800, 0, Stop(2, 0.1), False),
        ([(0.9,), (0.86,), (0.86,)], 800, 0, PATIENT, False),
        ([(0.9,), (0.86,), (0.86,)], 800, 900, PATIENT, True),  # but it is hopeless
        ([(0.9,), (0.86,), (0.86,)], 800, 900, replace(PATIENT, hopeless=False), False),
        ([(0.9,), (0.9,), (0.86,), (0.86,)], 400, 0, RACED, True),
        ([(0.9, 0.9), (0.9, 0.9), (0.86,), (0.86,)], 800, 0, RACED, True),  # nothing more that its first one promised
        ([(0.9, 0.9), (0.9, 0.9), (0.86,), (0.86,)], 800, 0, Stop(2, 0.05), False),
        ([(0.9, 0.9), (0.9, 0.9), (0.8,), (0.8,)], 800, 0, Stop(3, 0.02), False),  # it may go further down
    ],
)
def test_which_stopped_trials_stay_so_when_the_rules_have_changed(rows, best, bound, stop, stays):
    view = View(TRIAL, (), OBJECTIVE, best, bound, recorded=levels(*rows))
    assert policy_of(stop, OBJECTIVE).would_stop(view) == stays
