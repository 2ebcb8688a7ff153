"""The answer of a rescue as one HTML file, with the page on how ReLU prunes (exercise 4-2)."""

import math
import textwrap
from collections.abc import Sequence
from html import escape
from statistics import fmean
from typing import Any

from lth_sweep.lottery.silence import Silence
from lth_sweep.reporting.charts import BEST, MATCH, OTHER, Chart, Trace, axis
from lth_sweep.reporting.page import Page
from lth_sweep.rescue.effects import Effect
from lth_sweep.rescue.findings import paired
from lth_sweep.rescue.result import Rescue, Row
from lth_sweep.rescue.text import conclusion, notes, patient_words, verdict
from lth_sweep.search.verdict import Interval

VIEW = 3
"""The chart reaches so many times as far as the patient, at most: a remedy may be worse by much."""


def page(done: Rescue) -> str:
    found = Page()
    found.add(f"<h1>{escape(done.patient.name)}</h1><p class=lead>{escape(patient_words(done))}</p>")
    if done.matches:
        found.add("<p class='verdict matches'>It matches: nothing is wrong, and nothing was tried.</p>")
    else:
        word = "matches" if done.best and done.best.matches else "undecided"
        found.add(f"<p class='verdict {word}'>{escape(conclusion(done))}</p>")
        found.add(f"<h2>What was found</h2>{_findings(done)}")
        found.add(f"<h2>What was tried</h2>{_remedies(done)}<p class=note>{escape(notes(done))}</p>")
        found.charts([differences(done)])
        left = [row.remedy.name for row in done.rows if not row.tried]
        if left:
            found.add(f"<p class=note>Not tried: {escape(', '.join(left))}.</p>")
    if done.seen.silences:
        found.add(f"<h2>How ReLU prunes</h2><p>{escape(relu_words(done))}</p>")
        found.charts([relu(done)])
    if done.best and done.recipe.is_file():
        found.add(f"<h2>The recipe</h2><p>{escape(str(done.recipe))}</p><pre>{escape(done.recipe.read_text())}</pre>")
    return found.html(f"{done.patient.name}: rescue")


def differences(done: Rescue) -> Chart | None:
    """Each remedy's difference to the patient's dense network, with its bounds."""
    rows = [row for row in reversed(done.rows) if row.effect]
    if not rows:
        return None
    margin = done.patient.spec.objective.match.margin * 100
    patient = 100 * paired(done.seen.ticket, done.seen.dense, done.seen.examples).mean
    looks = {"the patient's seeds": (OTHER, [(row, row.first) for row in rows if row.first]),
             "fresh seeds": (BEST, [(row, row.fresh) for row in rows if row.fresh])}  # fmt: skip
    all_ = [effect.to_dense for _, some in looks.values() for _, effect in some]
    left = max(100 * min(one.mean for one in all_), VIEW * min(patient, -margin))
    right = max([0.0, *(100 * one.mean for one in all_), *(min(100 * one.upper, -patient) for one in all_)])
    pad = 0.08 * (right - left)
    names = [_label(row) for row in rows]
    layout = {
        "xaxis": axis("points to dense", range=[left - pad, right + pad], nticks=5, tickangle=0),
        "yaxis": axis("", categoryorder="array", categoryarray=names),
        "shapes": [_line("the margin", -margin, MATCH), _line("the patient", patient, OTHER)],
    }
    caption = (
        "Ticket minus the patient's dense network, on validation. Right of the blue line a ticket matches: a filled "
        "point. Bars are one-sided bounds, so wide that of all remedies together few lie outside by chance; they may "
        "end outside the view. Where the mean does, a triangle stands at its edge, with the number."
    )
    traces = [trace for name, (colour, some) in looks.items() for trace in _looks(name, colour, some, left)]
    lines = max(name.count("<br>") + 1 for name in names)
    return Chart("What each remedy made of the ticket", caption, traces, layout, 150 + max(34, 18 * lines) * len(rows))


def relu(done: Rescue) -> Chart:
    """Per layer, the units that ReLU silences in the dense network, those that pruning cuts off, and both."""
    layers = means(done.seen.silences)
    parts = {
        "silent in the dense network (dead or rare)": [one["silent"] for one in layers],
        "cut off by pruning": [one["cut"] for one in layers],
        "both": [one["both"] for one in layers],
        "both, by chance": [one["by_chance"] for one in layers],
    }
    names = [f"{one['layer']} ({one['units']} units)" for one in layers]
    colours = (OTHER, MATCH, BEST, "#9b51e0")
    traces: list[Trace] = [
        {"type": "bar", "name": name, "x": names, "y": values, "marker": {"color": colour},
         "hovertemplate": "%{y:.1f} units<extra>" + name + "</extra>"}
        for (name, values), colour in zip(parts.items(), colours, strict=True)
    ]  # fmt: skip
    layout = {"barmode": "group", "yaxis": axis("hidden units"), "xaxis": axis("")}
    caption = (
        f"Means over {len(done.seen.silences)} seeds, on training examples. Rare: active on fewer than 1% of them."
    )
    return Chart("Units that ReLU silences, and units that pruning removes", caption, traces, layout, wide=False)


def means(silences: Sequence[Sequence[Silence]]) -> list[dict[str, Any]]:
    """Of each layer, over the seeds."""
    found = []
    for layer in zip(*silences, strict=True):
        one = layer[0]
        numbers = {name: fmean(getattr(some, name) for some in layer)
                   for name in ("dead", "rare", "cut", "both", "by_chance", "ticket_dead", "ticket_rare")}  # fmt: skip
        found.append({"layer": one.layer, "units": one.units, "silent": numbers["dead"] + numbers["rare"], **numbers})
    return found


def relu_words(done: Rescue) -> str:
    """What the figure shows, and what is left in effect."""
    seen = done.seen
    layers = means(seen.silences)
    units, silent, cut, both, chance, dead, rare = (
        sum(one[name] for one in layers)
        for name in ("units", "silent", "cut", "both", "by_chance", "ticket_dead", "ticket_rare")
    )
    dense, ticket, mask = (
        fmean(values) for values in (
            [record.metrics.get("effective_density", record.density) for record in seen.dense],
            [record.metrics.get("effective_density", record.density) for record in seen.ticket],
            [record.density for record in seen.ticket],
        )
    )  # fmt: skip
    return (
        "A ReLU unit that is never active passes nothing forward and no gradient back: it is pruned in effect, with "
        f"all its weights. In the dense network {silent:.1f} of {units} hidden units are dead or rarely active, so "
        f"that {dense:.1%} of its weights are left in effect. Pruning to {mask:.2%} cuts {cut:.1f} units off; "
        f"{dead:.1f} more are dead and {rare:.1f} rarely active in the ticket, whose effective density is "
        f"{ticket:.2%}. {both:.1f} units are both silent in the dense network and cut off in the ticket; if the "
        f"two had nothing to do with each other, it would be {chance:.1f} (means of {len(seen.silences)} seeds)."
    )


def _looks(name: str, colour: str, looks: Sequence[tuple[Row, Effect]], left: float) -> list[Trace]:
    """One look at the remedies: those in view, and those whose mean lies left of it, put at its edge."""
    inside = [(row, effect.to_dense, effect) for row, effect in looks if 100 * effect.to_dense.mean >= left]
    outside = [(row, effect.to_dense) for row, effect in looks if 100 * effect.to_dense.mean < left]
    symbols = ["circle" if effect.matches else "circle-open" for *_, effect in inside]
    bars = [100 * (to_dense.upper - to_dense.mean) for _, to_dense, _ in inside]
    return [
        {
            "type": "scatter", "mode": "markers", "name": name,
            "x": [100 * to_dense.mean for _, to_dense, _ in inside], "y": [_label(row) for row, *_ in inside],
            "error_x": {"type": "data", "array": bars, "color": colour, "thickness": 1.2},
            "marker": {"color": colour, "size": 9, "symbol": symbols},
            "text": [row.word for row, *_ in inside], "hovertemplate": "%{y}: %{x:+.2f} points, %{text}<extra></extra>",
        },
        {
            "type": "scatter", "mode": "markers+text", "showlegend": False, "hoverinfo": "skip",
            "x": [left] * len(outside), "y": [_label(row) for row, _ in outside],
            "marker": {"color": colour, "size": 9, "symbol": "triangle-left"},
            "text": [_points(to_dense.mean) for _, to_dense in outside], "textposition": "middle right",
        },
    ]  # fmt: skip


def _label(row: Row) -> str:
    return "<br>".join(textwrap.wrap(escape(row.remedy.name), 24, break_on_hyphens=False))


def _line(name: str, at: float, colour: str) -> dict[str, Any]:
    """Upright, over the whole height."""
    return {"type": "line", "x0": at, "x1": at, "yref": "paper", "y0": 0, "y1": 1, "showlegend": True,
            "name": f"{name} ({at:+.2f})", "line": {"color": colour, "dash": "dash", "width": 1.4}}  # fmt: skip


def _findings(done: Rescue) -> str:
    rows = "".join(f"<tr><td>{escape(one.cause)}</td><td>{one.score:.2f}</td><td>{escape(one.evidence)}</td></tr>"
                   for one in done.findings)  # fmt: skip
    return ("<div class=scroll><table class=words><thead><tr><th>finding</th><th>strength</th><th>evidence</th></tr>"
            f"</thead><tbody>{rows}</tbody></table></div>")  # fmt: skip


def _remedies(done: Rescue) -> str:
    """What matters most comes first: a phone shows three columns, and the others by scrolling."""
    head = ("remedy", "verdict", "to dense, points", "to patient, points", "density", "steps")
    rows = []
    for row in done.rows:
        if row.tried:
            looks = [("", row.first), ("fresh\u00a0", row.fresh)]
            cells = [
                [row.remedy.name, row.remedy.words, row.remedy.why],
                [verdict(row)],
                [line for label, one in looks if one for line in _to_dense(label, one)],
                [line for label, one in looks if one for line in _difference(label, one.to_patient)],
                [f"{row.effect.density:.2%}" if row.effect else ""],
                [f"{row.steps_trained:,}", f"{row.steps_reused:,}\u00a0reused"],
            ]
            rows.append(f"<tr>{''.join(map(_cell, cells))}</tr>")
    heads = "".join(f"<th>{escape(name)}</th>" for name in head)
    table = f"<table class=words><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f"<div class=scroll>{table}</div>"


def _to_dense(label: str, effect: Effect) -> list[str]:
    own = [f"to its own {_points(effect.to_own_dense.mean)}"] if effect.to_own_dense else []
    return [*_difference(label, effect.to_dense), *own]


def _difference(label: str, interval: Interval) -> list[str]:
    """The mean, and, where there is more than one seed, the bounds in a line of their own."""
    bounds = [f"{_points(interval.lower)}\u00a0to\u00a0{_points(interval.upper)}"]
    return [label + _points(interval.mean), *(bounds if not math.isnan(interval.lower) else [])]


def _points(share: float) -> str:
    return f"{100 * share:+.2f}"


def _cell(lines: Sequence[str]) -> str:
    """The first line, and notes below it."""
    notes = "".join(f"<br><span class=note>{escape(line)}</span>" for line in lines[1:])
    return f"<td>{escape(lines[0]) if lines else ''}{notes}</td>"
