"""The page of a rescue: what a single seed and remedies far off make of it."""

import json
import math

from lth_sweep.rescue.effects import effect
from lth_sweep.rescue.findings import findings
from lth_sweep.rescue.page import differences, page
from lth_sweep.rescue.patient import Patient
from lth_sweep.rescue.remedies import Remedy
from lth_sweep.rescue.result import Rescue, Row
from tests.rescue.made import level, seen, spec_of


def rescued(tmp_path, accuracies: dict[str, list[float]]) -> Rescue:
    """A ticket of 93%, dense 97%, and what remedies made of it."""
    seeds = len(next(iter(accuracies.values())))
    sick = seen(level(2, [0.93] * seeds, 0.1))
    rows = [
        Row(Remedy(name, f"take {name}", {}), first=effect(
            level(2, found, 0.1), sick.dense, sick.ticket, sick.dense, sick.objective, 1000, remedies=2, fresh=False))
        for name, found in accuracies.items()
    ]  # fmt: skip
    patient = Patient(spec_of(tmp_path), None, {}, 2, 0.1)
    return Rescue(patient, tmp_path, sick, findings(sick), rows)


def test_a_single_seed_has_no_bars(tmp_path):
    done = rescued(tmp_path, {"good": [0.965], "poor": [0.92]})
    chart = differences(done)
    assert chart
    drawn = json.loads(chart.to_json())
    assert [trace["x"] for trace in drawn["data"][:1]] == [[-5.0, -0.5]]  # from below
    assert drawn["data"][0]["error_x"]["array"] == [None, None]
    assert all(math.isfinite(end) for end in drawn["layout"]["xaxis"]["range"])
    assert "<td>-0.50</td>" in page(done)


def test_what_is_far_worse_stands_at_the_edge_with_its_number(tmp_path):
    """The patient is at -4 points: the view ends at -12."""
    done = rescued(tmp_path, {"good & cheap": [0.965, 0.966], "hopeless": [0.1, 0.1]})
    chart = differences(done)
    assert chart
    inside, outside, *_ = json.loads(chart.to_json())["data"]
    assert inside["y"] == ["good &amp; cheap"]
    assert (outside["x"], outside["y"], outside["text"]) == ([-12.0], ["hopeless"], ["-87.00"])
