"""A metric that is a number and better where it is lower: all that a rescue says turns round, and names it."""

import json
import math
from dataclasses import replace

import pytest

from lth_sweep.lottery.records import Level
from lth_sweep.lottery.task import Metric
from lth_sweep.rescue.effects import effect, paired
from lth_sweep.rescue.findings import findings
from lth_sweep.rescue.page import differences, page
from lth_sweep.rescue.patient import Patient
from lth_sweep.rescue.remedies import Remedy
from lth_sweep.rescue.result import Rescue, Row
from lth_sweep.rescue.text import describe
from lth_sweep.sweepfile.objective import Match
from tests.rescue import made
from tests.rescue.made import ERRORS, spec_of


def level(number: int, values: list[float], density: float = 1.0, **metrics: float) -> Level:
    return made.level(number, values, density, metric="rmse", **metrics)


DENSE, POOR = level(0, [1.0, 1.1, 0.9]), level(2, [1.8, 1.7, 1.9], 0.1)


def seen(ticket: Level = POOR, objective=ERRORS, **more):
    return made.seen(ticket, DENSE, objective, **more)


def of(values: list[float], **metrics: float):
    return effect(level(2, values, 0.1, **metrics), DENSE, POOR, DENSE, ERRORS, 1000, remedies=5, fresh=True)


def named(examination):
    return {finding.cause: finding for finding in findings(examination)}


def test_what_is_lower_has_helped():
    found = of([1.0, 1.0, 1.05])
    assert (found.word, found.matches) == ("helped", True)
    assert found.to_patient.mean == pytest.approx(0.78, abs=0.01)
    assert found.to_patient.lower > 0
    assert str(found.to_dense) == "-0.01667 rmse (-0.5226 to +0.4893)"
    assert of([2.5, 2.6, 2.7]).word == "worse"
    assert of([1.3, 1.3, 1.3]).matches is False


def test_training_that_diverged_has_no_difference():
    found = of([math.nan] * 3, loss=math.nan)
    assert (found.word, found.matches) == ("diverged", False)
    assert found.to_json()["to_patient"] == {"mean": None, "lower": None, "upper": None}
    first, *others = findings(seen(level(2, [math.nan] * 3, 0.1, loss=math.nan, train_rmse=math.nan)))
    assert first.cause == "learns nothing"
    assert "within noise" not in {one.cause for one in others}


def test_a_share_of_a_network_that_diverged_is_the_worst_there_is():
    share = Metric("error", higher_is_better=False)
    broken, good = (made.level(2, [value] * 2, metric="error") for value in (math.nan, 0.1))
    assert paired(broken, good, share, 1000).mean == pytest.approx(-0.9)
    assert str(paired(good, broken, share, 1000)).startswith("+90.00 points (")


def test_findings_turn_round():
    assert findings(seen())[-1].evidence == (
        "It fits the training data (+0 train_rmse (+0 to +0) to dense there) and does not generalise: "
        "-0.8 rmse (-1.297 to -0.3032) on validation, n = 3."
    )
    longer = named(seen(longer=level(0, [0.7, 0.8, 0.6])))["under-trained"]
    assert longer.figures["gain"] == pytest.approx(0.3)
    assert "under-trained" not in named(seen(longer=level(0, [1.3, 1.4, 1.2])))
    as_good = {"reinit": level(2, [1.7, 1.7, 1.7])}
    assert "no better than controls" in named(seen(controls=as_good))
    assert "no better than controls" not in named(seen(controls={"reinit": level(2, [2.7, 2.8, 2.6])}))
    noise = named(seen(level(2, [1.0, 1.3, 1.15], 0.1)))["within noise"]
    assert "the margin of 0.1 rmse lies inside" in noise.evidence


def test_a_margin_that_is_a_share_of_the_dense_value():
    relative = replace(ERRORS, match=Match(margin="20%"))
    assert seen().margin == 0.1
    assert seen(objective=relative).margin == pytest.approx(0.2)


def test_the_answer_ranks_by_what_is_better_and_names_the_metric(tmp_path):
    rows = [Row(Remedy(name, f"take {name}", {}), fresh=of(values), first=of(values)) for name, values in
            {"worse": [2.5, 2.6, 2.7], "better": [1.3, 1.3, 1.35], "best": [1.2, 1.2, 1.25]}.items()]  # fmt: skip
    patient = Patient(replace(spec_of(tmp_path), objective=ERRORS), None, {}, 2, 0.1)
    done = Rescue(patient, tmp_path, seen(), findings(seen()), rows)
    assert done.best
    assert done.best.remedy.name == "best"
    assert done.to_json()["rmse"] == {"dense": pytest.approx(1.0), "ticket": pytest.approx(1.8)}
    words = describe(done)
    assert "rmse 1.8, dense 1; difference -0.8 rmse" in words
    assert "margin 0.1 rmse" in words
    assert "to patient, rmse" in words
    assert "rmse is better where it is lower" in " ".join(words.split())
    assert "Worse than the patient: worse." in words
    chart = differences(done)
    assert chart
    assert chart.layout["xaxis"]["title"]["text"] == "rmse to dense"
    drawn = [x for trace in json.loads(chart.to_json())["data"] for x in trace["x"]]
    assert max(drawn) == pytest.approx(-0.2167, abs=1e-3)
    for text in (words, page(done).split("<script>")[0], str(done.to_json())):
        assert "accuracy" not in text
        assert "points" not in text
