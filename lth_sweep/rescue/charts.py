"""The figures of a rescue's page."""

import math
import textwrap
from collections.abc import Sequence
from html import escape
from statistics import fmean
from typing import Any

from lth_sweep.lottery.experiments.silence import Silence
from lth_sweep.reporting.charts import BEST, MATCH, OTHER, Chart, Trace, axis
from lth_sweep.rescue.effects import Effect, scale_of, unit_of
from lth_sweep.rescue.result import Rescue, Row

VIEW = 3
"""The chart reaches so many times as far as the patient, at most: a remedy may be worse by much."""


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
