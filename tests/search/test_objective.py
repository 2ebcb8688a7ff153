import math
from dataclasses import replace

import pytest

from lth_sweep.lottery.recipe.trial import TrialConfig
from lth_sweep.lottery.records import Level, LevelRecord
from lth_sweep.search.objective import Judged, front, in_words, judge, nearest, sizes
from lth_sweep.search.trial import Outcome
from lth_sweep.sweepfile.objective import Match, Objective
from lth_sweep.sweepfile.stopping import Diverged, View

OBJECTIVE = Objective(match=Match(margin=0.01))


def levels(*accuracies: tuple[float, ...]) -> list[Level]:
    """Levels with these accuracies by seed, of 1000, 500, 250, ... parameters."""
    return [
        Level(
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
    assert nearest(missed, OBJECTIVE) == Judged(2, (250,), pytest.approx(0.02))


def test_what_is_not_a_number_cannot_be_judged():
    assert judge(levels((0.9,), (math.nan,)), OBJECTIVE) == Outcome(None, None, None)
    assert judge(levels((math.nan,), (0.9,)), OBJECTIVE) == Outcome(None, None, None)


@pytest.mark.parametrize("broken", [0, 1])
def test_nor_can_a_level_of_which_another_metric_is_none(broken):
    """As of one whose twin diverged, or which overflows on the training split alone; and that stops the trial, too."""
    found = levels((0.9, 0.9), (0.9, 0.9), (0.9, 0.9))
    first, second = found[broken]
    found[broken] = Level((first, replace(second, metrics={**second.metrics, "barrier": math.nan})))
    assert judge(found, OBJECTIVE).level == (None if broken == 0 else 2)
    assert judge(found[:2], OBJECTIVE) == Outcome(None, None, None)
    assert "diverged" in Diverged().reason(View(TrialConfig(), found[: broken + 1], OBJECTIVE))


def test_levels_that_were_not_trained_to_their_end_do_not_match():
    found = levels((0.9,), (0.9,), (0.5,), (0.5,), (0.9,))
    early = [Level(replace(record, finished=record.level in (0, 4)) for record in level) for level in found]
    assert judge(early[:4], OBJECTIVE) == Outcome(None, None, None)
    assert judge(early, OBJECTIVE) == Outcome(62, pytest.approx(-0.01), 4)


def test_a_level_that_lacks_seeds_does_not_match():
    found = levels((0.9, 0.9), (0.9, 0.9), (0.95,))
    assert judge(found, OBJECTIVE) == Outcome(500, pytest.approx(-0.01), 1)
    assert judge(levels((0.9,), (0.9,), (0.95,)), OBJECTIVE).value == 250


def test_a_method_of_one_size_and_a_ladder_are_judged_alike():
    """At 250 parameters both match by the same; the ladder's other levels, and its steps, are its own affair."""
    ladder, single = levels((0.9,), (0.9,), (0.9,)), levels((0.9,), (0.7,), (0.9,))
    assert judge(ladder, OBJECTIVE) == judge([single[0], single[2]], OBJECTIVE)


def test_what_is_to_be_small():
    (level,) = levels((0.9, 0.8))
    timed = Level(replace(record, latency=0.5 + record.seed) for record in level)
    assert sizes(timed, Objective(minimize=("params", "flops", "bytes", "latency", "error"))) == pytest.approx(
        (1000, 7, 7, 1.0, 0.15)
    )
    assert math.isnan(sizes(level, Objective(minimize="latency"))[0])
    assert nearest([level, level], Objective(minimize="latency")) is None  # nothing to tell a sampler


def test_several_sizes_are_ranked_by_the_first():
    found = levels((0.9,), (0.9,), (0.9,), (0.9,))
    flops = {1: 3, 2: 9, 3: 5}
    found[1:] = [
        Level(replace(record, sizes={"params": 50, "flops": flops[record.level]}) for record in level)
        for level in found[1:]
    ]
    assert judge(found, Objective(minimize=("params", "flops"))).level == 1
    assert judge(found, Objective(minimize=("flops", "params"))) == Outcome(3, pytest.approx(-0.01), 1)


def test_the_front_has_what_nothing_else_beats():
    def trial(*rows):
        """Rows of params, flops and accuracy, after the dense level."""
        found = levels(*[(accuracy,) for _, _, accuracy in [(0, 0, 0.9), *rows]])
        return [found[0]] + [
            Level(replace(record, sizes={"params": params, "flops": flops}) for record in level)
            for level, (params, flops, _) in zip(found[1:], rows, strict=True)
        ]

    trials = [(0, trial((100, 50, 0.9), (60, 40, 0.9), (10, 10, 0.5))), (4, trial((80, 30, 0.9), (60, 40, 0.9)))]
    points = front(trials, Objective(minimize=("params", "flops")))
    assert [(point.trial, point.level, point.sizes) for point in points] == [
        (0, 2, {"params": 60, "flops": 40}),
        (4, 1, {"params": 80, "flops": 30}),
    ]
    assert [(point.trial, point.level) for point in front(trials, OBJECTIVE)] == [(0, 2)]
    with_error = front([(0, trial((60, 40, 0.89), (80, 50, 0.95), (90, 60, 0.93)))], Objective(("params", "error")))
    assert [point.level for point in with_error] == [1, 2]


def test_a_size_in_words() -> None:
    assert [in_words(2558.6, "params"), in_words(0.0521, "latency")] == ["2,559 params", "0.052 ms"]
