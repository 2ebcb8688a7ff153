"""Several sweeps side by side."""

from collections.abc import Sequence
from html import escape
from itertools import cycle

from lth_sweep.reporting.answer import html_table, recipe
from lth_sweep.reporting.charts import SERIES, Chart, Trace, density_axis, level_line, lines, metric_axis
from lth_sweep.reporting.material import Material


def comparison(sweeps: Sequence[Material]) -> tuple[str, list[Chart]]:
    """A table with a row per sweep, and their answers in one chart for each metric."""
    metrics = list(dict.fromkeys(sweep.metric for sweep in sweeps))
    names = " or ".join(metric.name for metric in metrics)
    head = ("sweep", "verdict", "weights kept", "params", "times fewer", f"{names}, ticket", "difference", "trials",
            "steps trained")  # fmt: skip
    note = (
        f"{names[:1].upper()}{names[1:]} and difference to dense are on validation, mean over the seeds of the search."
    )
    drawn = [[sweep for sweep in sweeps if sweep.shown and sweep.dense and sweep.metric == metric]
             for metric in metrics]  # fmt: skip
    return f"{html_table(head, map(_row, sweeps))}<p class=note>{note}</p>", [_chart(some) for some in drawn if some]


def _row(sweep: Material) -> list[str]:
    name, answer = escape(sweep.spec.name), sweep.answer
    cost = [str(len(sweep.trials)), f"{sum(trial.steps_trained for trial in sweep.trials):,}"]
    if answer is None:
        return [name, "none matches", *["–"] * 5, *cost]
    word = answer.verification.verdict.word if answer.verification else "not verified"
    dense, ticket = answer.dense.sizes["params"], answer.ticket.sizes["params"]
    return [name, word, f"{answer.ticket.density:.2%}", f"{ticket:,.0f}", f"{dense / max(ticket, 1):.1f}",
            sweep.metric.show(answer.ticket.metrics[answer.metric]), sweep.metric.show_difference(answer.difference),
            *cost]  # fmt: skip


def _chart(sweeps: Sequence[Material]) -> Chart:
    metric, data = sweeps[0].metric, list[Trace]()
    shown = [(sweep, sweep.shown, sweep.means[sweep.shown.number]) for sweep in sweeps if sweep.shown]
    points = [point for _, _, row in shown for point in row]
    low = min(point.density for point in points)
    for (sweep, trial, row), colour in zip(shown, cycle(SERIES), strict=False):
        style = {"line": {"color": colour, "width": 2.5}, "marker": {"size": 6, "color": colour}}
        name, about = f"{sweep.spec.name}: trial {trial.number}", {trial.number: recipe(trial.picks)}
        data.append(lines(name, [row], colour, metric, about, **style))
        data.append(level_line(f"{sweep.spec.name}: {sweep.target_as}margin", low, sweep.target, colour, "dot"))
    caption = (
        "The trial of each sweep's answer, or the one that came nearest to matching; means over its seeds. Sweeps with "
        f"other data or another split cannot be compared by {metric.name}."
    )
    layout = {"xaxis": density_axis([low]), "yaxis": metric_axis(sweeps, [point.value for point in points])}
    return Chart("The answers", caption, data, layout, height=460)
