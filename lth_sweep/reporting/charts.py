"""The parts that the charts of the report are made of: plain data for plotly.js.

Colours can be read on light and on dark ground; text and grid lines take theirs from the page.
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lth_sweep.reporting.material import LevelMean

BEST, MATCH, OTHER, BAD = "#e8710a", "#2f80ed", "#94a3b8", "#d64545"
SERIES = ("#2f80ed", "#e8710a", "#12a594", "#9b51e0", "#d64545", "#b58900", "#0ea5c6", "#d6409f", "#6b8e23", "#8d6e63")
"""For things without a rank, such as seeds and sweeps."""
DIGITS = 5
"""Of the numbers in the file: more than can be seen."""

Trace = dict[str, Any]


@dataclass(frozen=True)
class Chart:
    """A figure with its heading and its caption, both plain text."""

    title: str
    caption: str
    data: Sequence[Trace]
    layout: dict[str, Any] = field(default_factory=dict)
    height: int = 420
    wide: bool = True
    """Whether it takes the whole width of a wide page."""

    def to_json(self) -> str:
        """Fit to stand inside a script element."""
        whole = {"data": self.data, "layout": BASE | self.layout}
        return json.dumps(_rounded(whole), separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


BASE: dict[str, Any] = {
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
    "font": {"family": "system-ui, sans-serif", "size": 13},
    "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
    "hovermode": "closest",
    "modebar": {"orientation": "v", "bgcolor": "rgba(0,0,0,0)"},
}


def axis(title: str, **more: Any) -> dict[str, Any]:
    apart = {"ticks": "outside", "ticklen": 5, "tickcolor": "rgba(0,0,0,0)"}
    return {"title": {"text": title}, "automargin": True, "zeroline": False, **apart, **more}


def density_axis(densities: Iterable[float]) -> dict[str, Any]:
    """Logarithmic and falling, as in the papers."""
    low = min((density for density in densities if density > 0), default=0.01)
    digits = (1,) if low < 1e-3 else (1, 0.3) if low < 0.03 else (1, 0.5, 0.2)
    ticks = [digit * 10.0**power for power in range(0, -9, -1) for digit in digits]
    ticks = [tick for tick in ticks if tick >= low * 0.8]
    return axis(
        "weights kept",
        type="log",
        range=[math.log10(1.12), math.log10(low / 1.12)],
        tickvals=ticks,
        tickangle=0,
        ticktext=[f"{tick:.{max(0, -2 - math.floor(math.log10(tick) + 1e-9))}%}" for tick in ticks],
    )


def log_axis(title: str, values: Sequence[float], falling: bool = False) -> dict[str, Any]:
    """Logarithmic, from the smallest to the largest of `values`, with ticks that can be read."""
    low, high = min(values), max(values)
    digits = (1,) if high / low > 300 else (1, 3) if high / low > 12 else (1, 2, 5)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [digit * 10.0**power for power in powers for digit in digits]
    ends = [math.log10(low), math.log10(high)]
    return axis(title, type="log", range=ends[::-1] if falling else ends, tickvals=ticks, tickformat="~s")


def bar_labels(words: Sequence[str]) -> Trace:
    """Beside horizontal bars, never turned or cut."""
    return {"text": words, "textposition": "outside", "textangle": 0, "cliponaxis": False}


def accuracy_axis(sweep_target: float, accuracies: Sequence[float], margin: float) -> dict[str, Any]:
    """From a little above all to what is well below a match; what lies below that is there, outside the view."""
    known = [accuracy for accuracy in accuracies if math.isfinite(accuracy)]
    top, low = max(known, default=1.0), min(known, default=0.0)
    low = max(low, sweep_target - max(0.1, 5 * margin))
    pad = max(0.002, (top - low) * 0.06)
    return axis("accuracy (validation)", tickformat=".1%", range=[low - pad, top + pad])


def lines(
    name: str, rows: Sequence[Sequence[LevelMean]], colour: str, about: dict[int, str] | None = None, **more: Any
) -> Trace:
    """Accuracy against density, a line per row, all in one trace: hundreds of traces would be slow."""
    x: list[float | None] = []
    y: list[float | None] = []
    text: list[str | None] = []
    for row in rows:
        for point in row:
            x.append(point.density)
            y.append(point.accuracy)
            spread = "" if math.isnan(point.spread) else f" ± {point.spread:.2%} (sd)"
            words = f"trial {point.trial}, level {point.level}<br>{point.accuracy:.2%}{spread}, n = {point.seeds}"
            text.append(words + (f"<br>{about[point.trial]}" if about else ""))
        x.append(None)
        y.append(None)
        text.append(None)
    style = {"mode": "lines+markers", "line": {"color": colour, "width": 1.2}, "marker": {"size": 4, "color": colour}}
    hover = "%{text}<br>%{x:.2%} of the weights<extra></extra>"
    return {"type": "scatter", "name": name, "x": x, "y": y, "text": text, "hovertemplate": hover, **style, **more}


def level_line(name: str, low: float, value: float, colour: str, dash: str = "dash") -> Trace:
    """A horizontal line from a density of 1 to `low`."""
    return {"type": "scatter", "name": name, "x": [1, low], "y": [value, value], "mode": "lines",
            "line": {"color": colour, "width": 1.4, "dash": dash}, "hoverinfo": "name"}  # fmt: skip


def _rounded(value: Any) -> Any:
    """Without digits that nobody sees, and without NaN, which JSON does not have."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(part) for part in value]
    return value
