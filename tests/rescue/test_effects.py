import math

import numpy as np
import pytest

from benchmarks.rescue_null import rescues
from lth_sweep.rescue.effects import ERROR, effect, is_match
from lth_sweep.sweepfile.objective import Match, Objective
from tests.rescue.made import level

OBJECTIVE = Objective(match=Match(margin=0.01))
DENSE, PATIENT = level(0, [0.97, 0.96, 0.98]), level(3, [0.90, 0.91, 0.89], 0.125)


def of(accuracies, own=DENSE, remedies=5, fresh=True, **metrics):
    ticket = level(6, accuracies, 0.12, **metrics)
    return effect(ticket, own, PATIENT, DENSE, OBJECTIVE, 1000, remedies=remedies, fresh=fresh)


def test_a_remedy_that_helps():
    """Student's t, 2 degrees of freedom, one-sided at 99%: 6.965 standard errors."""
    found = of([0.96, 0.96, 0.96])
    assert found.to_patient.mean == pytest.approx(0.06)
    assert found.to_patient.mean - found.to_patient.lower == pytest.approx(6.9646 * 0.01 / math.sqrt(3), rel=1e-4)
    assert found.to_dense.mean == pytest.approx(-0.01)
    assert (found.word, found.matches, found.to_own_dense) == ("helped", True, None)
    assert (found.density, found.seeds, found.confidence) == (pytest.approx(0.12), (0, 1, 2), 0.99)


def test_of_more_remedies_more_is_asked():
    assert of([0.96, 0.96, 0.96], remedies=50).word == "no difference shown"


def test_the_seeds_that_a_remedy_is_chosen_on_confirm_nothing():
    assert of([0.96, 0.96, 0.96], fresh=False).word == "better, unconfirmed"


@pytest.mark.parametrize(
    ("accuracies", "word", "match"),
    [([0.91, 0.90, 0.92], "no difference shown", False), ([0.80, 0.81, 0.80], "worse", False),
     ([0.99, 0.90, 0.99], "no difference shown", True)],
)  # fmt: skip
def test_other_words(accuracies, word, match):
    found = of(accuracies)
    assert (found.word, found.matches) == (word, match)


def test_a_diverged_remedy():
    found = of([math.nan] * 3, loss=math.nan)
    assert (found.word, found.matches) == ("diverged", False)
    assert found.to_patient.mean == pytest.approx(-0.9)


def test_a_remedy_with_a_dense_network_of_its_own():
    found = of([0.96, 0.96, 0.96], own=level(0, [0.99] * 3, stage="longer"))
    assert found.to_own_dense is not None
    assert found.to_own_dense.mean == pytest.approx(-0.03)
    assert found.matches  # the patient's dense network is what all are compared with


def test_where_the_patients_dense_network_has_learnt_nothing_the_own_one_is_asked():
    broken, own = level(0, [0.1] * 3, constant=1.0), level(0, [0.97] * 3)
    assert is_match(level(3, [0.965] * 3, 0.1), own, broken, OBJECTIVE)
    assert not is_match(level(3, [0.9] * 3, 0.1), own, broken, OBJECTIVE)


def test_one_seed_shows_nothing():
    dense = level(0, [0.97])
    found = effect(level(3, [0.99]), dense, level(3, [0.5]), dense, OBJECTIVE, 1000, remedies=1, fresh=True)
    assert (found.word, found.matches) == ("no difference shown", True)
    assert found.to_json()["to_patient"] == {"mean": pytest.approx(0.49), "lower": None, "upper": None}


@pytest.mark.parametrize("seeds", [3, 5])
def test_of_remedies_that_do_nothing_helped_is_said_in_at_most_the_promised_share(seeds):
    """Of 200 simulated rescues with 12 remedies each, of which the best three go together on fresh seeds."""
    claimed = sum(rescues(200, seeds=seeds, draw=np.random.default_rng(0)))
    assert claimed <= ERROR * 200


def test_the_first_look_would_not_keep_the_promise():
    """Nor would fresh seeds without a shared error: the simulation can fail."""
    assert sum(rescues(200, seeds=5, draw=np.random.default_rng(0), fresh=False)) > ERROR * 200
    assert sum(rescues(200, seeds=5, draw=np.random.default_rng(0), shared=False)) > ERROR * 200
