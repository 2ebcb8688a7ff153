"""A metric that is better where it is lower, and is no percentage: the report and the figures turn round."""

import re
from collections.abc import Mapping
from dataclasses import replace

import pytest

from lth_sweep.lottery.records import CurvePoint, Level, LevelRecord
from lth_sweep.lottery.task import Metric
from lth_sweep.reporting.answer import describe
from lth_sweep.reporting.compare import comparison
from lth_sweep.reporting.material import Material, smaller_front, steps_to
from lth_sweep.reporting.one_trial import ladder, learning
from lth_sweep.reporting.paper import figure
from lth_sweep.reporting.report import report
from lth_sweep.reporting.results import curves, fronts
from lth_sweep.search.answer import Answer
from lth_sweep.search.verdict import Interval
from tests.reporting.conftest import record
from tests.reporting.test_paper import words

MSE = Metric("mse", higher_is_better=False, format="number")


def by_mse(metrics: Mapping[str, float]) -> dict[str, float]:
    return {("mse" if name == "accuracy" else name): 1 - value if name == "accuracy" else value
            for name, value in metrics.items() if not name.startswith("train_")}  # fmt: skip


def turn(record: LevelRecord) -> LevelRecord:
    curve = tuple(replace(point, metrics=by_mse(point.metrics)) for point in record.curve)
    return replace(record, metrics=by_mse(record.metrics), curve=curve)


def flip(interval: Interval) -> Interval:
    return Interval(1 - interval.mean, 1 - interval.upper, 1 - interval.lower)


@pytest.fixture(scope="module")
def turned(many: Material) -> Material:
    """The networks of `many`, measured by an mse that is 1 - accuracy."""
    trials = [replace(trial, levels=tuple(Level(map(turn, level)) for level in trial.levels)) for trial in many.trials]
    spec = replace(many.spec, objective=replace(many.spec.objective, metric=MSE))
    best, found = trials[many.answer.trial], many.answer.verification
    answer = Answer.of(best.number, best.picks, best.levels, replace(best.outcome, level=many.answer.ticket.level),
                       spec.objective)  # fmt: skip
    controls = {kind: replace(control, value=flip(control.value)) for kind, control in found.controls.items()}
    tested = replace(found, verdict=replace(found.verdict, metric=MSE), dense=flip(found.dense),
                     ticket=flip(found.ticket), controls=controls)  # fmt: skip
    return Material(spec, trials, replace(answer, verification=tested), {})


def test_the_same_networks_match_and_are_on_the_front(many: Material, turned: Material) -> None:
    assert turned.target == pytest.approx(1 - many.target)
    for number, row in many.means.items():
        assert [point.match for point in turned.means[number]] == [point.match for point in row]
    edges = [smaller_front([point for row in sweep.means.values() for point in row], "params", sweep.metric)
             for sweep in (many, turned)]  # fmt: skip
    accuracy, mse = ([(point.trial, point.level) for point in edge] for edge in edges)
    assert accuracy == mse
    assert all("no other one is as small and as good" in chart.caption for chart in fronts(turned))
    assert len(mse) > 5


def test_the_first_step_that_is_low_enough() -> None:
    curve = tuple(CurvePoint(step, 0.5, {"mse": mse}) for step, mse in ((10, 0.5), (20, 0.3), (30, 0.1)))
    one = record(1, curve=curve)
    assert [steps_to(one, value, MSE) for value in (0.5, 0.3, 0.2, 0.05)] == [10, 20, 30, None]


def test_charts_show_it_as_a_number_and_the_match_at_the_top(turned: Material) -> None:
    chart = curves(turned)
    assert chart.title == "Mse against density"
    assert " Diamonds are mses on test data" in chart.caption
    names = [trace["name"] for trace in chart.data]
    assert "dense + 0.01" in names
    hovers = [text for trace in chart.data for text in trace.get("text", ()) if text]
    assert all(re.match(r"trial \d+, level \d+<br>0\.\d+ ± ", text) for text in hovers)
    values = [point.value for row in turned.means.values() for point in row]
    for drawn in (chart, *fronts(turned), ladder(turned)):
        y = drawn.layout["yaxis"]
        assert y["title"]["text"] == "mse (validation)"
        assert "%" not in y["tickformat"]
        assert y["range"][0] < min(turned.dense)
        assert turned.target < y["range"][1] < max(values)
    assert "%" not in chart.data[-1]["hovertemplate"]
    assert all("%{y:.4~g}" in trace["hovertemplate"] for trace in fronts(turned)[0].data[:-1])
    said = f"first measures {turned.target:.4g} on validation (the dense networks' mean plus the margin)"
    assert said in learning(turned).caption


def test_the_answer_has_no_per_cent_of_it(turned: Material) -> None:
    text = describe(turned.answer, turned.spec, "export")
    [validation, test] = [line for line in text.splitlines() if line.startswith("mse")]
    assert validation.startswith("mse, validation (3 seeds of the search)")
    assert "%" not in validation + test
    assert f"{turned.answer.difference:+.4g} mse on validation in the search" in text
    html = report([turned])
    section = re.search("<section class=answer>(.*?)</section>", html, re.DOTALL)[1]
    rows = [row for row in section.split("<tr>") if row.startswith(("<td>mse", "<td>reinit", "<td>shuffle"))]
    assert len(rows) == 4
    assert not any("%" in row for row in rows)
    assert "<h2>Mse against size</h2>" in html
    assert "accuracy" not in html[html.index("<body>") : html.index("<noscript>")]
    assert "accuracy" not in html[html.index('id="charts">') :]


def test_sweeps_of_two_metrics_have_a_chart_each(many: Material, turned: Material) -> None:
    table, charts = comparison([many, turned])
    assert "<th>accuracy or mse, ticket</th>" in table
    assert f"<td>{turned.answer.ticket.metrics['mse']:.4g}</td>" in table
    assert [chart.layout["yaxis"]["title"]["text"] for chart in charts] == [
        "accuracy (validation)", "mse (validation)"]  # fmt: skip


@pytest.mark.parametrize("kind", ["curves", "front"])
def test_figures_for_papers(turned: Material, tmp_path, kind) -> None:
    figure(turned, kind, tmp_path / "figure.svg")
    found = words(tmp_path / "figure.svg")
    assert "mse (validation)" in found
    assert kind == "front" or "dense + margin" in found
    assert not re.search(r"\b0?\.\d+%", found)
