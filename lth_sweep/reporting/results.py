"""The charts of all trials of a sweep."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

from lth_sweep.reporting import charts
from lth_sweep.reporting.answer import CONTROLS, recipe
from lth_sweep.reporting.charts import BEST, MATCH, OTHER, SERIES, Chart, Trace, scatter
from lth_sweep.reporting.material import LevelMean, Material, smaller_front, sorted_out
from lth_sweep.search.verdict import Interval

UNITS = {"params": "parameters", "flops": "FLOPs of one input", "bytes": "bytes", "latency": "ms on one batch"}


def against(sweep: Material, what: str) -> str:
    name = sweep.metric.name
    return f"{name[:1].upper()}{name[1:]} against {what}"


def curves(sweep: Material) -> Chart:
    """The metric against density of every trial, with the dense networks and the controls."""
    rows, metric = sweep.means, sweep.metric
    points = [point for row in rows.values() for point in row]
    low = min(point.density for point in points)
    best = sweep.answer.trial if sweep.answer else None
    matching = sorted({number for number, row in rows.items() if any(point.match for point in row)} - {best})
    others = [row for number, row in rows.items() if number not in (*matching, best)]
    about = {trial.number: recipe(trial.picks) for trial in sweep.trials}
    data = [*_dense(sweep, low)]
    if others:
        data.append(charts.lines("no level matches", others, OTHER, metric, about, opacity=0.55))
    if matching:
        some = [rows[number] for number in matching]
        data.append(charts.lines("matches somewhere", some, MATCH, metric, about, opacity=0.65))
    if best is not None:
        style = {"line": {"color": BEST, "width": 3}, "marker": {"size": 7, "color": BEST}}
        data.append(charts.lines(f"the answer: trial {best}", [rows[best]], BEST, metric, about, **style))
    data += _tested(sweep)
    seeds = sorted({point.seeds for point in points})
    several = f"n = {seeds[0]}" if len(seeds) == 1 else f"n = {seeds[0]} to {seeds[-1]}, see each point"
    caption = (
        f"Each line is a trial (n = {len(rows)}), each point the mean of its seeds ({several}). The band is the dense "
        f"networks, mean ± standard deviation, n = {len(sweep.dense)}; a level matches by pairs of seeds, so a point "
        "on the dashed line need not be exactly the limit. Double-click to see what lies below the view."
    )
    if sweep.answer and sweep.answer.verification and sweep.answer.verification.examples:
        caption += (
            f" Diamonds are {_plural(metric.name)} on test data, over "
            f"{len(sweep.answer.verification.seeds)} fresh seeds, with {sweep.spec.verify.confidence:.0%} intervals."
        )
    y = charts.metric_axis([sweep], [point.value for point in points])
    _widen(sweep, y, data)
    layout = {"xaxis": charts.density_axis([point.density for point in _seen(points, y)]), "yaxis": y}
    return Chart(against(sweep, "density"), caption, data, layout, height=520)


def _plural(name: str) -> str:
    return f"{name[:-1]}ies" if name.endswith("y") else f"{name}es" if name.endswith("s") else f"{name}s"


def _dense(sweep: Material, low: float) -> list[Trace]:
    mean, spread = fmean(sweep.dense), stdev(sweep.dense) if len(sweep.dense) > 1 else 0.0
    band = scatter("dense ± sd", [1, low, low, 1], [mean + spread] * 2 + [mean - spread] * 2, mode="lines",
                   fill="toself", fillcolor="rgba(18,165,148,0.22)", line={"width": 0}, hoverinfo="skip")  # fmt: skip
    target = charts.level_line(f"{sweep.target_as}{sweep.metric.show(sweep.margin, 1)}", low, sweep.target, SERIES[2])
    return [band, target]


def _tested(sweep: Material) -> list[Trace]:
    found = sweep.answer.verification if sweep.answer else None
    if found is None or not found.examples or sweep.answer is None:
        return []
    density = sweep.answer.ticket.density
    parts = [("dense, test", 1.0, found.dense, SERIES[2]), ("ticket, test", density, found.ticket, BEST)]
    parts += [(f"{kind}, test", density, control.value, colour)
              for (kind, control), colour in zip(found.controls.items(), SERIES[3:], strict=False)]  # fmt: skip
    # Side by side, for they have one density.
    apart = [1.0, *(1.05**index for index in range(len(parts) - 1))]
    return [_diamond(sweep, name, x * shift, interval, colour)
            for (name, x, interval, colour), shift in zip(parts, apart, strict=True)]  # fmt: skip


def _diamond(sweep: Material, name: str, x: float, interval: Interval, colour: str) -> Trace:
    words = CONTROLS.get(name.partition(",")[0], name)
    hover = f"{words}<br>{sweep.metric.show(interval.mean)} ± {sweep.metric.show(interval.reach)}"
    marker = {"symbol": "diamond", "size": 11, "color": colour, "line": {"width": 1, "color": "#fff"}}
    error = {"type": "data", "array": [interval.reach], "color": colour, "thickness": 1.5}
    return scatter(name, [x], [interval.mean], hover, "markers", marker=marker, error_y=error)


def _widen(sweep: Material, y: dict[str, Any], data: Sequence[Trace]) -> None:
    """Controls are part of the answer: where they lie outside the view, it grows."""
    low, high = y["range"]
    unit = charts.scale(sweep.metric, sweep.target)
    for trace in data:
        if "error_y" in trace:
            value, reach = trace["y"][0], trace["error_y"]["array"][0]
            worse = min(reach, 0.02 * unit)
            down, up = (worse, reach) if sweep.metric.higher_is_better else (reach, worse)
            most = 1.0 if sweep.metric.format == "percent" else math.inf
            low = min(low, value - down - 0.005 * unit)
            high = max(high, min(value + up, most) + 0.005 * unit)
    y["range"] = [low, high]


def fronts(sweep: Material) -> list[Chart]:
    """Size against the metric, one chart for each measure of size."""
    points = [point for row in sweep.means.values() for point in row]
    return [_front(sweep, known, name) for name in UNITS if (known := [one for one in points if name in one.sizes])]


def _front(sweep: Material, known: Sequence[LevelMean], size: str) -> Chart:
    looks = (("dense", SERIES[2]), ("does not", OTHER), ("matches", MATCH))
    data = [_cloud(sweep, name, some, size, colour)
            for (name, colour), some in zip(looks, sorted_out(known), strict=True) if some]  # fmt: skip
    edge = smaller_front(known, size, sweep.metric)
    data.append(scatter("front", [point.sizes[size] for point in edge], [point.value for point in edge], mode="lines",
                        line={"color": BEST, "width": 2, "shape": "vh"}, hoverinfo="skip"))  # fmt: skip
    y = charts.metric_axis([sweep], [point.value for point in known])
    sizes = [max(point.sizes[size], 1e-6) for point in _seen(known, y) or known]
    x = charts.log_axis(UNITS[size], [min(sizes) / 1.15, max(sizes) * 1.15], falling=True)
    caption = (
        f"Each point is a level of a trial (n = {len(known)}), mean over its seeds; on the front, no other one is "
        "as small and as good."
    )
    return Chart(against(sweep, size), caption, data, {"xaxis": x, "yaxis": y}, height=380, wide=False)


def _seen(points: Sequence[LevelMean], y: dict[str, Any]) -> list[LevelMean]:
    """Those that lie in the view of this axis."""
    low, high = y["range"]
    return [point for point in points if low <= point.value <= high]


def _cloud(sweep: Material, name: str, points: Sequence[LevelMean], size: str, colour: str) -> Trace:
    hover = (
        f"trial %{{customdata[0]}}, level %{{customdata[1]}}<br>%{{x:,.4~g}} {size}, %{{y:{charts.d3(sweep.metric)}}}"
    )
    return scatter(name, [point.sizes[size] for point in points], [point.value for point in points], hover, "markers",
                   marker={"size": 5, "color": colour, "opacity": 0.7},
                   customdata=[[point.trial, point.level] for point in points])  # fmt: skip
