"""The answer of a rescue as one HTML file, with its figures, and how ReLU prunes (exercise 4-2)."""

import math
import textwrap
from collections.abc import Sequence
from html import escape
from statistics import fmean
from typing import Any

from lth_sweep.lottery.experiments.silence import Silence
from lth_sweep.reporting.answer import html_table
from lth_sweep.reporting.charts import BEST, MATCH, OTHER, Chart, Trace, axis
from lth_sweep.reporting.page import Page
from lth_sweep.rescue.effects import Difference, Effect, scale_of, unit_of
from lth_sweep.rescue.result import Rescue, Row
from lth_sweep.rescue.text import conclusion, notes, patient_words, verdict

VIEW = 3
"""The chart reaches so many times as far as the patient, at most: a remedy may be worse by much."""


def page(done: Rescue) -> str:
    found = Page()
    title = f"Rescue of {done.patient.spec.name}, {done.patient.which}"
    found.add(f"<h1>{escape(title)}</h1><p class=lead>{escape(patient_words(done))}</p>")
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
    return found.html(title)


def relu_words(done: Rescue) -> str:
    """What the figure shows, and what is left in effect."""
    seen, layers = done.seen, means(done.seen.silences).values()
    units, silent, cut, both, chance, dead, rare = (
        sum(one[name] for one in layers)
        for name in ("units", "silent", "cut", "both", "by_chance", "ticket_dead", "ticket_rare")
    )
    dense, ticket = (
        fmean(record.metrics.get("effective_density", record.density) for record in level)
        for level in (seen.dense, seen.ticket)
    )
    return (
        "A ReLU unit that is never active passes nothing forward and no gradient back: it is pruned in effect, with "
        f"all its weights. In the dense network {silent:.1f} of {units:.0f} hidden units are dead or rarely active, so "
        f"that {dense:.1%} of its weights are left in effect. Pruning to {seen.ticket.density:.2%} cuts {cut:.1f} "
        f"units off; {dead:.1f} more are dead and {rare:.1f} rarely active in the ticket, whose effective density is "
        f"{ticket:.2%}. {both:.1f} units are both silent in the dense network and cut off in the ticket; if the "
        f"two had nothing to do with each other, it would be {chance:.1f} (means of {len(seen.silences)} seeds)."
    )


def _findings(done: Rescue) -> str:
    rows = [(escape(one.cause), f"{one.score:.2f}", escape(one.evidence)) for one in done.findings]
    return html_table(("finding", "strength", "evidence"), rows, "words")


def _remedies(done: Rescue) -> str:
    """What matters most comes first: a phone shows three columns, and the others by scrolling."""
    unit = unit_of(done.seen.metric)
    head = ("remedy", "verdict", f"to dense, {unit}", f"to patient, {unit}", "density", "steps")
    rows = []
    for row in done.rows:
        if row.tried:
            looks = [("", row.first), ("fresh\u00a0", row.fresh)]
            to_dense, to_patient = [], []
            for label, look in looks:
                if look:
                    own = [f"to its own {look.to_own_dense.number}"] if look.to_own_dense else []
                    to_dense += [*_difference(label, look.to_dense), *own]
                    to_patient += _difference(label, look.to_patient)
            cells = [
                [row.remedy.name, row.remedy.words, row.remedy.why],
                [verdict(row)],
                to_dense,
                to_patient,
                [f"{row.effect.density:.2%}" if row.effect else ""],
                [f"{row.steps_trained:,}", f"{row.steps_reused:,}\u00a0reused"],
            ]
            rows.append([_cell(lines) for lines in cells])
    return html_table(head, rows, "words")


def _difference(label: str, found: Difference) -> list[str]:
    """The mean, and, where there is more than one seed, the bounds in a line of their own that is not broken."""
    reach = found.bounds.replace(" ", "\u00a0")
    return [label + found.number, *([reach] if reach else [])]


def _cell(lines: Sequence[str]) -> str:
    """The first line, and notes below it."""
    first, *notes = map(escape, lines or [""])
    return first + "".join(f"<br><span class=note>{note}</span>" for note in notes)


def differences(done: Rescue) -> Chart | None:
    """Each remedy's difference to the patient's dense network, with its bounds."""
    rows = [row for row in reversed(done.rows) if row.effect]
    if not rows:
        return None
    metric, scale = done.seen.metric, scale_of(done.seen.metric)
    margin, patient = scale * done.seen.margin, scale * done.seen.difference.mean
    looks = {"the patient's seeds": (OTHER, [_Look(row, row.first, scale) for row in rows if row.first]),
             "fresh seeds": (BEST, [_Look(row, row.fresh, scale) for row in rows if row.fresh])}  # fmt: skip
    drawn = [look for _, some in looks.values() for look in some]
    left = max(min(look.mean for look in drawn), VIEW * min(patient, -margin))
    reach = [min(look.mean + look.bar, -patient) for look in drawn if not math.isnan(look.bar)]
    right = max([0.0, *(look.mean for look in drawn), *reach])
    pad = 0.08 * (right - left)
    names = [_label(row) for row in rows]
    layout = {
        "xaxis": axis(f"{unit_of(metric)} to dense", range=[left - pad, right + pad], nticks=5, tickangle=0),
        "yaxis": axis("", categoryorder="array", categoryarray=names),
        "shapes": [_line("the margin", -margin, MATCH), _line("the patient", patient, OTHER)],
    }
    caption = (
        "Ticket minus the patient's dense network, on validation. Right of the blue line a ticket matches: a filled "
        "point. Bars are one-sided bounds, so wide that of all remedies together few lie outside by chance; they may "
        "end outside the view. Where the mean does, a triangle stands at its edge, with the number."
    )
    hover = f"%{{y}}: %{{x:+.2f}} {unit_of(metric)}, %{{text}}<extra></extra>"
    traces = [trace for name, (colour, some) in looks.items() for trace in _traces(name, colour, some, left, hover)]
    lines = max(name.count("<br>") + 1 for name in names)
    return Chart("What each remedy made of the ticket", caption, traces, layout, 150 + max(34, 18 * lines) * len(rows))


def relu(done: Rescue) -> Chart:
    """Per layer, the units that ReLU silences in the dense network, those that pruning cuts off, and both."""
    layers = means(done.seen.silences)
    bars = (
        ("silent", "silent in the dense network (dead or rare)", OTHER),
        ("cut", "cut off by pruning", MATCH),
        ("both", "both", BEST),
        ("by_chance", "both, by chance", "#9b51e0"),
    )
    names = [f"{layer} ({one['units']:.0f} units)" for layer, one in layers.items()]
    traces: list[Trace] = [
        {"type": "bar", "name": name, "x": names, "y": [one[key] for one in layers.values()],
         "marker": {"color": colour}, "hovertemplate": "%{y:.1f} units<extra>" + name + "</extra>"}
        for key, name, colour in bars
    ]  # fmt: skip
    layout = {"barmode": "group", "yaxis": axis("hidden units"), "xaxis": axis("")}
    caption = (
        f"Means over {len(done.seen.silences)} seeds, on training examples. Rare: active on fewer than 1% of them."
    )
    return Chart("Units that ReLU silences, and units that pruning removes", caption, traces, layout, wide=False)


def means(silences: Sequence[Sequence[Silence]]) -> dict[str, dict[str, float]]:
    """Of each layer, over the seeds, by the names that `Silence.to_json` has; and of those that are dead or rare in the
    dense network, as silent."""
    found = {}
    for layer in zip(*silences, strict=True):
        counts = [{name: count for name, count in one.to_json().items() if name != "layer"} for one in layer]
        one = {name: fmean(count[name] for count in counts) for name in counts[0]}
        found[layer[0].layer] = {**one, "silent": one["dead"] + one["rare"]}
    return found


class _Look:
    """At a remedy: its difference to dense as it is drawn."""

    def __init__(self, row: Row, effect: Effect, scale: int) -> None:
        self.label, self.word, self.number = _label(row), row.word, effect.to_dense.number
        self.mean = scale * effect.to_dense.mean
        self.bar = scale * (effect.to_dense.upper - effect.to_dense.mean)
        self.symbol = "circle" if effect.matches else "circle-open"


def _traces(name: str, colour: str, looks: Sequence[_Look], left: float, hover: str) -> list[Trace]:
    """Those in view, and those whose mean lies left of it, put at its edge."""
    inside, outside = [one for one in looks if one.mean >= left], [one for one in looks if one.mean < left]
    return [
        {
            "type": "scatter", "mode": "markers", "name": name,
            "x": [one.mean for one in inside], "y": [one.label for one in inside],
            "error_x": {"type": "data", "array": [one.bar for one in inside], "color": colour, "thickness": 1.2},
            "marker": {"color": colour, "size": 9, "symbol": [one.symbol for one in inside]},
            "text": [one.word for one in inside], "hovertemplate": hover,
        },
        {
            "type": "scatter", "mode": "markers+text", "showlegend": False, "hoverinfo": "skip",
            "x": [left] * len(outside), "y": [one.label for one in outside],
            "marker": {"color": colour, "size": 9, "symbol": "triangle-left"},
            "text": [one.number for one in outside], "textposition": "middle right",
        },
    ]  # fmt: skip


def _label(row: Row) -> str:
    return "<br>".join(textwrap.wrap(escape(row.remedy.name), 24, break_on_hyphens=False))


def _line(name: str, at: float, colour: str) -> dict[str, Any]:
    """Upright, over the whole height."""
    return {"type": "line", "x0": at, "x1": at, "yref": "paper", "y0": 0, "y1": 1, "showlegend": True,
            "name": f"{name} ({at:+.2f})", "line": {"color": colour, "dash": "dash", "width": 1.4}}  # fmt: skip
