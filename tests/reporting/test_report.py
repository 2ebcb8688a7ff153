import json
import re
from dataclasses import replace

import plotly.graph_objects as go
import pytest

from lth_sweep.cli import main
from lth_sweep.reporting.report import report
from lth_sweep.search.trial import Outcome
from tests.reporting.conftest import trial


def charts(html: str) -> dict:
    return json.loads(re.search('<script type="application/json" id="charts">(.*?)</script>', html, re.DOTALL)[1])


def body(html: str) -> str:
    return html[html.index("<body>") : html.index("<noscript>")]


def test_the_sections_come_in_order(many):
    html = report([many])
    found = re.findall("<h[123][^>]*>(.*?)</h", body(html))
    assert found == [
        "many", "The answer", "Accuracy against size", "Accuracy against density", "Accuracy against params",
        "Accuracy against flops", "Accuracy against bytes", "What mattered", "Importance of each axis",
        "Effect of each axis", "The ticket", "Density of each layer", "Units that do nothing",
        "The ladder, seed by seed", "Speed of learning", "Cost", "Steps by trial", "Time by trial", "Timeline",
        "Failed trials", "Recipe and commands",
    ]  # fmt: skip
    figures = re.findall('<div class=chart id="(.*?)"', html)
    assert figures == list(charts(html))


def test_every_chart_is_valid_for_plotly(many, few):
    for chart in charts(report([many, few])).values():
        go.Figure(data=chart["data"], layout=chart["layout"])  # raises for a property that plotly does not know


def test_the_file_asks_for_nothing_from_outside(many):
    html = report([many])
    assert html.count("plotly.js v") == 1
    assert "default-src 'none'" in html
    own = html.replace(html[html.index("<script>") : html.index('<script type="application/json"')], "")
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", own)


def test_every_level_of_every_trial_is_drawn(many):
    html = report([many])
    curves = charts(html)["chart-0"]["data"]
    drawn = [x for trace in curves if "text" in trace for x in trace["x"] if x is not None]
    assert len(drawn) == sum(len(trial.levels) for trial in many.trials)
    names = [trace["name"] for trace in curves]
    assert names[-4:] == ["dense, test", "ticket, test", "reinit, test", "shuffle, test"]
    verification = many.answer.verification
    assert [trace["y"][0] for trace in curves[-4:]] == pytest.approx(
        [verification.dense.mean, verification.ticket.mean,
         *(control.value.mean for control in verification.controls.values())], rel=1e-4)  # fmt: skip


def test_density_falls_on_a_logarithmic_axis(many):
    x = charts(report([many]))["chart-0"]["layout"]["xaxis"]
    assert x["type"] == "log"
    assert x["range"][0] > 0 > x["range"][1]
    assert x["ticktext"][:3] == ["100%", "30%", "10%"]


def test_failures_are_listed_with_their_reason_as_text(few):
    html = report([few])
    assert body(html).count("RuntimeError: CUDA out of memory &lt;16 GiB &amp; more&gt;") == 2
    assert "<16 GiB" not in html


def test_words_of_the_user_are_never_markup(few):
    name = "</script><img src=x onerror=alert(1)>"
    bad = trial(9, (0.9,), picks={"rate": 0.3, "rewind": name, "granularity": "unit", "train.optimizer.lr": 0.001})
    html = report([replace(few, trials=[*few.trials, bad], spec=replace(few.spec, text=name))])
    assert "<img" not in html
    assert html.count("</script>") == 3
    assert charts(html)


def test_several_sweeps_side_by_side(many, few):
    html = report([many, few])
    rows = re.search("Side by side.*?<tbody>(.*?)</tbody>", html, re.DOTALL)[1].split("</tr>")
    cells = [re.findall("<td>(.*?)</td>", row) for row in rows[:2]]
    for sweep, row in zip((many, few), cells, strict=True):
        steps = sum(trial.steps_trained for trial in sweep.trials)
        assert row == [
            sweep.spec.name, sweep.answer.verification.verdict.word, f"{sweep.answer.ticket.density:.2%}",
            f"{sweep.answer.ticket.sizes['params']:,.0f}",
            f"{sweep.answer.dense.sizes['params'] / sweep.answer.ticket.sizes['params']:.1f}",
            f"{sweep.answer.ticket.metrics['accuracy']:.2%}", f"{sweep.answer.difference:+.2%}",
            str(len(sweep.trials)), f"{steps:,}",
        ]  # fmt: skip
    names = [trace["name"] for trace in charts(html)["chart-0"]["data"]]
    assert names == [f"{sweep.spec.name}: {what}" for sweep in (many, few)
                     for what in (f"trial {sweep.answer.trial}", "dense − margin")]  # fmt: skip
    assert html.count('<h2 class=sweep id="') == 2


def test_a_sweep_without_a_match_says_so_and_shows_what_came_nearest(few):
    lost = [trial(0, (0.9, 0.9), (0.5, 0.5), picks=few.trials[0].picks, outcome=Outcome(None, 0.39, None)),
            trial(1, (0.9, 0.9), (0.8, 0.8), picks=few.trials[1].picks, outcome=Outcome(None, 0.09, None))]  # fmt: skip
    html = report([replace(few, trials=lost, answer=None)])
    assert "No trial found a network within 0.01 of the dense one’s accuracy." in html
    assert "Trial 1, which came nearest to matching; one line per seed (n = 2)." in html
    assert "What mattered" not in html


def test_a_sweep_that_has_only_begun(few):
    html = report([replace(few, trials=[], answer=None)])
    assert "0 of 4 trials: none yet" in html
    assert charts(html) == {}


def test_a_trial_that_diverged_leaves_no_nan_in_the_file(few):
    broken = trial(7, (0.9, 0.9), (float("nan"), 0.9), picks=few.trials[0].picks)
    html = report([replace(few, trials=[*few.trials, broken])])
    assert "NaN" not in body(html)
    assert charts(html)


def test_the_command_writes_the_file_and_says_where(runs, tmp_path, capsys):
    assert main(["report", "few", "--runs", str(runs)]) == 0
    assert capsys.readouterr().out == f"{runs}/few/report.html\n"
    assert (runs / "few" / "report.html").read_text().startswith("<!doctype html>")
    assert main(["report", "few", "many", "--runs", str(runs)]) == 0
    assert (runs / "report.html").exists()


def test_mistakes_are_told_without_a_traceback(runs, tmp_path, capsys):
    assert main(["report", "meny", "--runs", str(runs)]) == 2
    assert "did you mean 'many'?" in capsys.readouterr().err
    assert main(["report", "few", "--runs", str(runs), "--out", str(tmp_path / "no" / "x.html")]) == 2
    assert "cannot be written: No such file or directory" in capsys.readouterr().err
    for folder in (".", str(tmp_path)):
        assert main(["report", "few", "--runs", str(runs), "--out", folder]) == 2
        assert f"--out: {folder} is a folder; name a file" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
