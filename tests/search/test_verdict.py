"""The words, against intervals worked out by hand and by scipy, and their error rates."""

import math
import random

import pytest
from scipy import stats

from lth_sweep.lottery.experiments.verification import Pair
from lth_sweep.search.verdict import of_values, verdict


def pairs(*differences: float, examples: int = 10_000) -> list[Pair]:
    """Pairs whose gained - lost is `difference` of the examples, with a hundred more on each side."""
    found = []
    for seed, difference in enumerate(differences):
        net = round(difference * examples)
        gained, lost = 100 + max(net, 0), 100 + max(-net, 0)
        found.append(Pair.of_shares(seed, examples, 0.9, 0.9 + net / examples, gained, lost))
    return found


def test_the_bounds_are_those_of_student() -> None:
    """Differences 0, -0.01, +0.01: mean 0, sd 0.01, t(0.95, 2) = 2.920, reach 2.920 * 0.01 / sqrt(3) = 0.01686."""
    found = verdict(pairs(0.0, -0.01, 0.01), margin=0.02, confidence=0.95)
    assert found.difference == pytest.approx(0)
    assert (found.lower, found.upper) == pytest.approx((-0.016859, 0.016859), abs=1e-6)
    interval = stats.ttest_1samp([0, -0.01, 0.01], 0).confidence_interval(0.90)
    assert (found.lower, found.upper) == pytest.approx((interval.low, interval.high))


@pytest.mark.parametrize(
    ("differences", "margin", "word"),
    [
        ((0.0, -0.01, 0.01), 0.0169, "matches"),
        ((0.0, -0.01, 0.01), 0.0168, "undecided"),
        ((-0.05, -0.06, -0.04), 0.02, "does not match"),
        ((-0.05, -0.06, -0.04), 0.034, "undecided"),
        ((0.0, 0.0, 0.0), 0.001, "matches"),
        ((-0.01, -0.01, -0.01), 0.01, "undecided"),
    ],
)
def test_the_words(differences: tuple[float, ...], margin: float, word: str) -> None:
    found = verdict(pairs(*differences), margin, 0.95)
    assert found.word == word
    assert (found.more_seeds is None) == (word != "undecided" or found.difference == -margin)
    assert word.split(maxsplit=1)[0] in found.sentence.lower()


def test_the_seeds_that_it_asks_for_would_decide() -> None:
    few = verdict(pairs(0.0, -0.01, 0.01), margin=0.01, confidence=0.95)
    assert few.more_seeds is not None
    total = 3 + few.more_seeds
    assert stats.t.ppf(0.95, total - 1) * 0.01 / math.sqrt(total) <= 0.01
    assert stats.t.ppf(0.95, total - 2) * 0.01 / math.sqrt(total - 1) > 0.01


def test_one_seed_is_judged_over_its_examples() -> None:
    """30 gained, 50 lost of 1,000: -0.02; with half an example in each cell, se = sqrt(81 - 20^2 / 1002) / 1002."""
    pair = Pair.of_shares(0, 1000, 0.95, 0.93, 30, 50)
    found = verdict([pair], margin=0.04, confidence=0.95)
    error = math.sqrt(81 - 400 / 1002) / 1002
    assert (found.lower, found.upper) == pytest.approx((-0.02 - 1.644854 * error, -0.02 + 1.644854 * error), abs=1e-6)
    assert found.word == "matches"
    assert verdict([pair], margin=0.03, confidence=0.95).word == "undecided"
    assert verdict([pair], margin=0.001, confidence=0.95).word == "does not match"


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_a_ticket_that_is_worse_by_the_margin_is_said_to_match_as_often_as_promised(seeds: int) -> None:
    """At the edge, a one-sided 90% bound is wrong in 10% of cases: 2,000 draws, three standard errors either way."""
    draw = random.Random(seeds)
    wrong = sum(
        verdict(pairs(*(draw.gauss(-0.01, 0.004) for _ in range(seeds))), 0.01, 0.9).word == "matches"
        for _ in range(2000)
    )
    assert abs(wrong / 2000 - 0.1) < 3 * math.sqrt(0.1 * 0.9 / 2000)


def test_candidates_share_the_error() -> None:
    """Two at 95% together are judged at 97.5% each: t(0.975, 2) = 4.303."""
    found = verdict(pairs(0.0, -0.01, 0.01), margin=0.02, confidence=0.95, candidates=2)
    assert found.lower == pytest.approx(-4.30265 * 0.01 / math.sqrt(3), abs=1e-6)
    assert found.word == "undecided"
    assert "95.0% bounds for 2 candidates together" in found.sentence


def test_a_problem_is_a_verdict_whatever_the_numbers() -> None:
    found = verdict([], margin=0.5, confidence=0.95, problem="training diverged on fresh seed 3, level 2")
    assert found.word == "does not match"
    assert found.sentence == "The ticket does not match the dense network: training diverged on fresh seed 3, level 2."
    assert found.to_json()["difference"] is None
    assert verdict(pairs(0.0, 0.0), 0.5, 0.95, problem="constant").word == "does not match"


def test_the_interval_of_a_mean_is_that_of_student() -> None:
    found = of_values([0.96, 0.97, 0.98], 0.95)
    assert found == pytest.approx((0.97, 0.97 - 4.30265 * 0.01 / math.sqrt(3), 0.97 + 4.30265 * 0.01 / math.sqrt(3)))
    assert math.isnan(of_values([0.9], 0.95).upper)


@pytest.mark.parametrize("values", [[], [math.nan], [0.9, math.nan], [math.nan, math.nan]])
def test_what_is_no_number_has_neither_mean_nor_bounds(values: list[float]) -> None:
    """Of a candidate that diverged nothing was tested, and of a diverged network nothing was measured."""
    assert all(map(math.isnan, of_values(values, 0.95)))
