"""The parts that the charts of the report are made of: plain data for plotly.js.

Colours can be read on light and on dark ground; text and grid lines take theirs from the page.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lth_sweep.lottery.task import Metric
from lth_sweep.reporting.material import LevelMean, Material

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


def names_axis() -> dict[str, Any]:
    """Of things that have names, from the top."""
    return axis("", type="category", autorange="reversed", ticksuffix=" ")


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


def metric_axis(sweeps: Sequence[Material], values: Sequence[float]) -> dict[str, Any]:
    """Of sweeps with one metric: from a little better than all to what is well below a match; what is worse than that
    is there, outside the view."""
    metric = sweeps[0].metric
    known = [value for value in values if math.isfinite(value)]
    low, high = min(known, default=0.0), max(known, default=1.0)
    reach = max(0.1 * scale(metric, sweeps[0].target), 5 * max(sweep.margin for sweep in sweeps))
    if metric.higher_is_better:
        low = max(low, min(sweep.target for sweep in sweeps) - reach)
    else:
        high = min(high, max(sweep.target for sweep in sweeps) + reach)
    pad = max(0.002 * scale(metric, sweeps[0].target), (high - low) * 0.06)
    return axis(f"{metric.name} (validation)", tickformat=d3(metric, 1), range=[low - pad, high + pad])


def scale(metric: Metric, value: float) -> float:
    """What a share of the view is a share of: 1 for a percentage, else how large the values are."""
    return 1.0 if metric.format == "percent" else abs(value) or 1.0


def d3(metric: Metric, digits: int = 2) -> str:
    """The metric's format for plotly.js, as `Metric.show` has it."""
    return f".{digits}%" if metric.format == "percent" else f".{digits + 2}~g"


def scatter(name: str, x: Sequence[Any], y: Sequence[Any], hover: str = "", mode: str = "lines+markers",
            **more: Any) -> Trace:  # fmt: skip
    """Points; `hover` is what is said of one."""
    said = {"hovertemplate": f"{hover}<extra></extra>"} if hover else {}
    return {"type": "scatter", "name": name, "mode": mode, "x": x, "y": y, **said, **more}


def bars(name: str, x: Sequence[Any], y: Sequence[Any], colour: str, hover: str, **more: Any) -> Trace:
    marker = {"color": colour, "line": {"width": 0}}
    return {"type": "bar", "name": name, "x": x, "y": y, "marker": marker, "hovertemplate": f"{hover}<extra></extra>",
            **more}  # fmt: skip


def shares(title: str, caption: str, found: Mapping[str, float], x: dict[str, Any], words: str, hover: str,
           height: int) -> Chart:  # fmt: skip
    """Horizontal bars by name; their values, in the format `words`, beside them, never turned or cut."""
    text = [format(value, words) for value in found.values()]
    data = {"type": "bar", "orientation": "h", "y": list(found), "x": list(found.values()), "marker": {"color": MATCH},
            "text": text, "textposition": "outside", "textangle": 0, "cliponaxis": False,
            "hovertemplate": f"{hover}<extra></extra>"}  # fmt: skip
    layout = {"xaxis": x, "yaxis": names_axis(), "showlegend": False}
    return Chart(title, caption, [data], layout, height, wide=False)


def lines(name: str, rows: Sequence[Sequence[LevelMean]], colour: str, metric: Metric,
          about: Mapping[int, str], **more: Any) -> Trace:  # fmt: skip
    """The metric against density, a line per row, all in one trace: hundreds of traces would be slow."""
    points: list[LevelMean | None] = [point for row in rows for point in (*row, None)]
    style = {"line": {"color": colour, "width": 1.2}, "marker": {"size": 4, "color": colour}}
    return scatter(
        name,
        [point and point.density for point in points],
        [point and point.value for point in points],
        "%{text}<br>%{x:.2%} of the weights",
        text=[point and f"{_words(point, metric)}<br>{about[point.trial]}" for point in points],
        **{**style, **more},
    )


def _words(point: LevelMean, metric: Metric) -> str:
    spread = "" if math.isnan(point.spread) else f" ± {metric.show(point.spread)} (sd)"
    return f"trial {point.trial}, level {point.level}<br>{metric.show(point.value)}{spread}, n = {point.seeds}"


def level_line(name: str, low: float, value: float, colour: str, dash: str = "dash") -> Trace:
    """A horizontal line from a density of 1 to `low`."""
    line = {"color": colour, "width": 1.4, "dash": dash}
    return scatter(name, [1, low], [value, value], mode="lines", line=line, hoverinfo="name")


def _rounded(value: Any) -> Any:
    """Without digits that nobody sees, and without NaN, which JSON does not have."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(part) for part in value]
    return value
