"""Several sweeps side by side."""

from collections.abc import Sequence
from html import escape

from lth_sweep.reporting.charts import SERIES, Chart, Trace, accuracy_axis, density_axis, level_line, lines
from lth_sweep.reporting.material import Material
from lth_sweep.reporting.results import recipe


def comparison(sweeps: Sequence[Material]) -> tuple[str, list[Chart]]:
    """A table with a row per sweep, and their answers in one chart."""
    head = ("sweep", "verdict", "weights kept", "params", "times fewer", "accuracy, ticket", "difference", "trials",
            "steps trained")  # fmt: skip
    rows = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in _row(sweep)) + "</tr>" for sweep in sweeps)
    titles = "".join(f"<th>{title}</th>" for title in head)
    note = "Accuracy and difference to dense are on validation, mean over the seeds of the search."
    table = f"<div class=scroll><table><thead><tr>{titles}</tr></thead><tbody>{rows}</tbody></table></div>"
    return table + f"<p class=note>{note}</p>", _charts([sweep for sweep in sweeps if sweep.shown and sweep.dense])


def _row(sweep: Material) -> list[str]:
    name = escape(sweep.spec.name)
    cost = [str(len(sweep.trials)), f"{sum(trial.steps_trained for trial in sweep.trials):,}"]
    answer = sweep.answer
    if answer is None:
        return [name, "none matches", *["–"] * 5, *cost]
    word = answer.verification.verdict.word if answer.verification else "not verified"
    dense, ticket = answer.dense.sizes["params"], answer.ticket.sizes["params"]
    return [name, word, f"{answer.ticket.density:.2%}", f"{ticket:,.0f}", f"{dense / max(ticket, 1):.1f}",
            f"{answer.ticket.metrics[answer.metric]:.2%}", f"{answer.difference:+.2%}", *cost]  # fmt: skip


def _charts(sweeps: Sequence[Material]) -> list[Chart]:
    if not sweeps:
        return []
    data: list[Trace] = []
    shown = [(sweep, sweep.shown, sweep.means[sweep.shown.number]) for sweep in sweeps if sweep.shown]
    low = min(point.density for _, _, row in shown for point in row)
    for (sweep, trial, row), colour in zip(shown, SERIES * (1 + len(shown) // len(SERIES)), strict=False):
        about = {trial.number: recipe(trial.picks)}
        style = {"line": {"color": colour, "width": 2.5}, "marker": {"size": 6, "color": colour}}
        data.append(lines(f"{sweep.spec.name}: trial {trial.number}", [row], colour, about, **style))
        data.append(level_line(f"{sweep.spec.name}: dense − margin", low, sweep.target, colour, "dot"))
    target, margin = min(sweep.target for sweep in sweeps), max(sweep.spec.objective.match.margin for sweep in sweeps)
    y = accuracy_axis(target, [point.accuracy for _, _, row in shown for point in row], margin)
    caption = (
        "The trial of each sweep's answer, or the one that came nearest to matching; means over its seeds. Sweeps with "
        "other data or another split cannot be compared by accuracy."
    )
    return [Chart("The answers", caption, data, {"xaxis": density_axis([low]), "yaxis": y}, height=460)]
