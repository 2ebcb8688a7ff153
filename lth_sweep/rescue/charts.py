"""The figures of a rescue's page."""

import math
import textwrap
from collections.abc import Sequence
from html import escape
from statistics import fmean
from typing import Any

from lth_sweep.lottery.experiments.silence import Silence
from lth_sweep.reporting.charts import BEST, MATCH, OTHER, Chart, Trace, axis
from lth_sweep.rescue.effects import Effect
from lth_sweep.rescue.paired import number, paired
from lth_sweep.rescue.result import Rescue, Row

VIEW = 3
"""The chart reaches so many times as far as the patient, at most: a remedy may be worse by much."""


def differences(done: Rescue) -> Chart | None:
    """Each remedy's difference to the patient's dense network, with its bounds."""
    rows = [row for row in reversed(done.rows) if row.effect]
    if not rows:
        return None
    margin = done.patient.spec.objective.match.margin * 100
    patient = 100 * paired(done.seen.ticket, done.seen.dense, done.seen.examples).mean
    looks = {"the patient's seeds": (OTHER, [(row, row.first) for row in rows if row.first]),
             "fresh seeds": (BEST, [(row, row.fresh) for row in rows if row.fresh])}  # fmt: skip
    drawn = [effect.to_dense for _, some in looks.values() for _, effect in some]
    left = max(100 * min(one.mean for one in drawn), VIEW * min(patient, -margin))
    reach = [min(100 * one.upper, -patient) for one in drawn if not math.isnan(one.upper)]
    right = max([0.0, *(100 * one.mean for one in drawn), *reach])
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
            "text": [number(to_dense.mean) for _, to_dense in outside], "textposition": "middle right",
        },
    ]  # fmt: skip


def _label(row: Row) -> str:
    return "<br>".join(textwrap.wrap(escape(row.remedy.name), 24, break_on_hyphens=False))


def _line(name: str, at: float, colour: str) -> dict[str, Any]:
    """Upright, over the whole height."""
    return {"type": "line", "x0": at, "x1": at, "yref": "paper", "y0": 0, "y1": 1, "showlegend": True,
            "name": f"{name} ({at:+.2f})", "line": {"color": colour, "dash": "dash", "width": 1.4}}  # fmt: skip
