"""The charts of all trials of a sweep."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

from lth_sweep.reporting.answer_text import CONTROLS, recipe
from lth_sweep.reporting.charts import (
    BEST,
    MATCH,
    OTHER,
    SERIES,
    Chart,
    Trace,
    accuracy_axis,
    axis,
    density_axis,
    level_line,
    lines,
    log_axis,
)
from lth_sweep.reporting.material import LevelMean, Material, smaller_front, steps_to
from lth_sweep.search.verdict import Interval, of_values

UNITS = {"params": "parameters", "flops": "FLOPs of one input", "bytes": "bytes", "latency": "ms on one batch"}


def curves(sweep: Material) -> Chart:
    """Accuracy against density of every trial, with the dense networks and the controls."""
    rows = sweep.means
    points = [point for row in rows.values() for point in row]
    low = min(point.density for point in points)
    best = sweep.answer.trial if sweep.answer else None
    matching = {number for number, row in rows.items() if any(point.match for point in row)} - {best}
    about = {trial.number: recipe(trial.picks) for trial in sweep.trials}
    data = [*_dense(sweep, low)]
    others = [row for number, row in rows.items() if number not in matching and number != best]
    if others:
        data.append(lines("no level matches", others, OTHER, about, opacity=0.55))
    if matching:
        data.append(lines("matches somewhere", [rows[number] for number in sorted(matching)], MATCH, about,
                          opacity=0.65))  # fmt: skip
    if best is not None:
        data.append(lines(f"the answer: trial {best}", [rows[best]], BEST, about, line={"color": BEST, "width": 3},
                          marker={"size": 7, "color": BEST}))  # fmt: skip
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
            " Diamonds are accuracies on test data, over "
            f"{len(sweep.answer.verification.seeds)} fresh seeds, with {sweep.spec.verify.confidence:.0%} intervals."
        )
    accuracies = [point.accuracy for point in points]
    y = accuracy_axis(sweep.target, accuracies, sweep.spec.objective.match.margin)
    _widen(y, data)
    layout = {"xaxis": density_axis([point.density for point in _seen(points, y)]), "yaxis": y}
    return Chart("Accuracy against density", caption, data, layout, height=520)


def _dense(sweep: Material, low: float) -> list[Trace]:
    mean, margin = fmean(sweep.dense), sweep.spec.objective.match.margin
    spread = stdev(sweep.dense) if len(sweep.dense) > 1 else 0.0
    band = {"type": "scatter", "name": "dense ± sd", "x": [1, low, low, 1],
            "y": [mean + spread] * 2 + [mean - spread] * 2, "fill": "toself", "fillcolor": "rgba(18,165,148,0.22)",
            "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}  # fmt: skip
    return [band, level_line(f"dense − {margin:.1%}", low, mean - margin, SERIES[2])]


def _tested(sweep: Material) -> list[Trace]:
    found = sweep.answer.verification if sweep.answer else None
    if found is None or not found.examples or sweep.answer is None:
        return []
    density = sweep.answer.ticket.density
    parts = [("dense, test", 1.0, found.dense, SERIES[2]), ("ticket, test", density, found.ticket, BEST)]
    parts += [(f"{kind}, test", density, control.accuracy, colour)
              for (kind, control), colour in zip(found.controls.items(), SERIES[3:], strict=False)]  # fmt: skip
    # Side by side, for they have one density.
    apart = [1.0, *(1.05**index for index in range(len(parts) - 1))]
    return [_diamond(name, x * shift, interval, colour, CONTROLS.get(name.partition(",")[0], name))
            for (name, x, interval, colour), shift in zip(parts, apart, strict=True)]  # fmt: skip


def _diamond(name: str, x: float, interval: Interval, colour: str, words: str) -> Trace:
    reach = 0.0 if math.isnan(interval.upper) else interval.upper - interval.mean
    hover = f"{words}<br>{interval.mean:.2%} ± {reach:.2%}<extra></extra>"
    return {"type": "scatter", "name": name, "x": [x], "y": [interval.mean], "mode": "markers",
            "marker": {"symbol": "diamond", "size": 11, "color": colour, "line": {"width": 1, "color": "#fff"}},
            "error_y": {"type": "data", "array": [reach], "color": colour, "thickness": 1.5},
            "hovertemplate": hover}  # fmt: skip


def _widen(y: dict[str, Any], data: Sequence[Trace]) -> None:
    """Controls are part of the answer: where they lie outside the view, it grows."""
    bounds = y["range"]
    for trace in data:
        if "error_y" in trace:
            value, reach = trace["y"][0], trace["error_y"]["array"][0]
            bounds[0] = min(bounds[0], value - min(reach, 0.02) - 0.005)
            bounds[1] = max(bounds[1], min(value + reach, 1.0) + 0.005)


def fronts(sweep: Material) -> list[Chart]:
    """Size against accuracy, one chart for each measure of size."""
    points = [point for row in sweep.means.values() for point in row]
    names = [name for name in UNITS if any(name in point.sizes for point in points)]
    return [_front(sweep, points, name) for name in names]


def _front(sweep: Material, points: Sequence[LevelMean], size: str) -> Chart:
    known = [point for point in points if size in point.sizes]
    edge = smaller_front(known, size)
    groups = [("matches", [point for point in known if point.match], MATCH),
              ("does not", [point for point in known if not point.match and point.level], OTHER),
              ("dense", [point for point in known if not point.level], SERIES[2])]  # fmt: skip
    data = [_cloud(name, some, size, colour) for name, some, colour in groups[::-1] if some]
    front = {"mode": "lines", "line": {"color": BEST, "width": 2, "shape": "vh"}, "hoverinfo": "skip"}
    data.append({"type": "scatter", "name": "front", "x": [point.sizes[size] for point in edge],
                 "y": [point.accuracy for point in edge], **front})  # fmt: skip
    y = accuracy_axis(sweep.target, [point.accuracy for point in known], sweep.spec.objective.match.margin)
    layout = {"xaxis": log_axis(UNITS[size], _range(_seen(known, y) or known, size), falling=True), "yaxis": y}
    caption = (
        f"Each point is a level of a trial (n = {len(known)}), mean over its seeds; on the front, no other one is "
        "as small and as accurate."
    )
    return Chart(f"Accuracy against {size}", caption, data, layout, height=380, wide=False)


def _seen(points: Sequence[LevelMean], y: dict[str, Any]) -> list[LevelMean]:
    """Those that lie in the view of this axis."""
    return [point for point in points if point.accuracy >= y["range"][0]]


def _range(points: Sequence[LevelMean], size: str) -> list[float]:
    sizes = [point.sizes[size] for point in points]
    return [max(min(sizes), 1e-6) / 1.15, max(*sizes, 1e-6) * 1.15]


def _cloud(name: str, points: Sequence[LevelMean], size: str, colour: str) -> Trace:
    hover = f"trial %{{customdata[0]}}, level %{{customdata[1]}}<br>%{{x:,.4~g}} {size}, %{{y:.2%}}<extra></extra>"
    return {"type": "scatter", "name": name, "x": [point.sizes[size] for point in points],
            "y": [point.accuracy for point in points], "mode": "markers",
            "marker": {"size": 5, "color": colour, "opacity": 0.7},
            "customdata": [[point.trial, point.level] for point in points], "hovertemplate": hover}  # fmt: skip


def learning(sweep: Material) -> Chart | None:
    """Steps to the accuracy that has to be matched, by density."""
    target = sweep.target
    rows: dict[int, list[tuple[int, float, float, float]]] = {}
    for trial in sweep.trials:
        for level in trial.levels:
            steps = [steps_to(record, target) for record in level]
            reached = [float(step) for step in steps if step is not None]
            if len(reached) == len(level):
                mean, _, upper = of_values(reached, sweep.spec.verify.confidence)
                density = fmean(record.density for record in level)
                reach = 0.0 if math.isnan(upper) else upper - mean
                rows.setdefault(trial.number, []).append((level[0].level, density, mean, reach))
    if not rows:
        return None
    shown = sweep.shown.number if sweep.shown else None
    data = [_learning("other trials", {number: row for number, row in rows.items() if number != shown}, OTHER)]
    if shown in rows:
        data.append(_learning(f"trial {shown}", {shown: rows[shown]}, BEST, reach=True))
    intervals = f", with {sweep.spec.verify.confidence:.0%} intervals for trial {shown}" if shown in rows else ""
    caption = (
        f"Optimizer steps until a network first measures {target:.2%} on validation (the dense networks' mean less the "
        f"margin), mean over the seeds{intervals}. "
        "Levels of which a seed never gets there are not drawn; steps are as fine as the training curves."
    )
    densities = [density for row in rows.values() for _, density, _, _ in row]
    layout = {"xaxis": density_axis(densities), "yaxis": axis("steps", rangemode="tozero")}
    return Chart("Speed of learning", caption, data, layout)


def _learning(
    name: str, rows: dict[int, list[tuple[int, float, float, float]]], colour: str, reach: bool = False
) -> Trace:
    points = [(number, *point) for number, row in rows.items() for point in [*row, (None, None, None, None)]]
    trace: Trace = {
        "type": "scatter", "name": name, "mode": "lines+markers", "x": [point[2] for point in points],
        "y": [point[3] for point in points], "line": {"color": colour, "width": 3 if reach else 1},
        "marker": {"size": 6 if reach else 4, "color": colour}, "opacity": 1 if reach else 0.5,
        "customdata": [[point[0], point[1]] for point in points],
        "hovertemplate": "trial %{customdata[0]}, level %{customdata[1]}<br>%{y:,.0f} steps at %{x:.2%}<extra></extra>",
    }  # fmt: skip
    if reach:
        trace["error_y"] = {"type": "data", "array": [point[4] for point in points], "color": colour, "thickness": 1.5}
    return trace
