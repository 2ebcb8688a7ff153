import math

import pytest

from lth_sweep.rescue.findings import findings
from tests.rescue.made import WEIGHTS, level, seen, twin

POOR = level(3, [0.90, 0.91, 0.89], 0.125)


def named(examination):
    return {finding.cause: finding for finding in findings(examination)}


def test_a_ticket_that_matches():
    assert seen(level(3, [0.96, 0.97, 0.965], 0.125)).matches
    assert not seen(POOR).matches
    assert not seen(level(3, [0.97] * 3, constant=1.0)).matches


def test_without_evidence_there_is_only_a_symptom():
    [finding] = findings(seen(POOR))
    assert (finding.cause, finding.score) == ("does not generalise", 0.25)
    assert finding.evidence == (
        "It fits the training data (+0.00 points (-0.07 to +0.07) to dense there) and does not generalise: "
        "-7.00 points (-9.48 to -4.52) on validation, n = 3."
    )
    [finding] = findings(seen(level(3, [0.90, 0.91, 0.89], 0.125, train_accuracy=0.94)))
    assert finding.cause == "does not fit"
    assert finding.figures["train_difference"] == pytest.approx(-0.05)


def test_a_dense_network_that_still_gains():
    found = named(seen(POOR, longer=level(0, [0.99, 0.985, 0.995])))["under-trained"]
    assert found.figures["gain"] == pytest.approx(0.02)
    assert found.score == pytest.approx(0.5)
    assert found.evidence == "Trained twice as long, the dense network gains +2.00 points (+0.76 to +3.24), n = 3."
    assert "under-trained" not in named(seen(POOR, longer=level(0, [0.975] * 3)))


def test_a_layer_that_is_cut_off():
    thin = level(3, [0.5] * 3, 0.125, layer_density={**dict.fromkeys(WEIGHTS, 0.125), "output": 0.006})
    found = named(seen(thin, connected=(0.05, 0.05, 0.05)))["cut off"]
    assert found.figures["thinnest_kept"] == pytest.approx(3)
    assert found.score == pytest.approx(0.7)
    assert found.evidence.startswith("Layer output keeps 3.0 of its 500 weights (0.60%), the network 12.50%; no path")
    assert "60% of the kept weights" in found.evidence
    empty = level(3, [0.1] * 3, 0.125, layer_density={**dict.fromkeys(WEIGHTS, 0.125), "fc2": 0.0})
    assert named(seen(empty))["cut off"].score == 1.0
    assert "cut off" not in named(seen(POOR))


def test_training_that_is_not_stable():
    twins = (twin(0, 0.1), twin(0, 0.2, 1), twin(6, 0.04), twin(6, 0.05, 1), twin(15, 0.01), twin(15, 0.02, 1))
    examination = seen(POOR, twins=twins)
    found = named(examination)["unstable"]
    assert found.figures == {"barrier": pytest.approx(0.15), "stable_from": 15}
    assert examination.stable_from == 15
    assert found.score == pytest.approx(0.85)
    assert found.evidence == (
        "Twins that part at step 0, where its levels start, have 15.0% more error on the line between them (2% is the "
        "limit, n = 2); 4.5% at step 6, 1.5% at step 15: it is stable from step 15 on."
    )
    assert "unstable" not in named(seen(POOR, twins=(twin(0, 0.015),)))


def test_dead_units():
    dense = level(0, [0.97] * 3, dead_units=10)
    found = named(seen(level(3, [0.9] * 3, 0.125, cut_units=50, dead_units=40), dense))["dead units"]
    assert found.score == pytest.approx(0.4)
    assert found.evidence == (
        "40 of the 100 hidden units that pruning has left are active on no training example (40%); in the dense "
        "network 10 of 150 (means of 3 seeds)."
    )
    assert "dead units" not in named(seen(level(3, [0.9] * 3, 0.125, cut_units=50, dead_units=10), dense))


def test_no_better_than_controls():
    controls = {"reinit": level(3, [0.90, 0.90, 0.90]), "shuffle": level(3, [0.8, 0.81, 0.79])}
    found = named(seen(POOR, controls=controls))["no better than controls"]
    assert found.score == 0.6
    assert set(found.figures) == {"reinit", "reinit_lower", "reinit_upper"}
    assert found.figures["reinit"] == pytest.approx(0)
    better = {"reinit": level(3, [0.8] * 3), "shuffle": level(3, [0.8] * 3)}
    assert "no better than controls" not in named(seen(POOR, controls=better))


def test_a_margin_inside_the_noise():
    found = named(seen(level(3, [0.93, 0.97, 0.965], 0.125)))["within noise"]
    assert 0.5 < found.score < 0.7
    assert found.evidence.endswith("3 seeds cannot tell. More seeds come before more remedies.")
    assert "within noise" not in named(seen(POOR))
    assert "within noise" not in named(seen(level(3, [0.93], 0.125)))


def test_training_that_diverged():
    broken = level(3, [math.nan] * 3, 0.125, loss=math.nan, train_accuracy=math.nan)
    first, *_ = findings(seen(broken))
    assert (first.cause, first.score) == ("learns nothing", 0.9)
    assert first.evidence == "Training of level 3 diverged on 3 and gave all examples the same class on 0 of 3 seeds."
    dense = level(0, [0.1] * 3, constant=1.0)
    first, *_ = findings(seen(level(3, [0.1] * 3, 0.125, constant=1.0), dense))
    assert first.score == 1.0
    assert first.evidence.startswith("Training of the dense network diverged on 0 and gave all")


def test_findings_come_the_strongest_first_and_as_plain_numbers():
    some = findings(seen(POOR, twins=(twin(0, 0.15),), longer=level(0, [0.985] * 3)))
    assert [finding.score for finding in some] == sorted((finding.score for finding in some), reverse=True)
    assert some[0].to_json() == {
        "cause": "unstable", "score": 0.85, "evidence": some[0].evidence,
        "figures": {"barrier": pytest.approx(0.15), "stable_from": None},
    }  # fmt: skip
