"""The charts of the trial that is shown: the answer's, or else the nearest to one."""

from itertools import cycle
from statistics import fmean
from typing import NamedTuple

from lth_sweep.reporting import charts
from lth_sweep.reporting.charts import BAD, BEST, OTHER, SERIES, Chart, Trace, scatter
from lth_sweep.reporting.material import Material, over, steps_to
from lth_sweep.search.verdict import Interval, of_values


class Learnt(NamedTuple):
    """What a level took."""

    trial: int
    level: int
    density: float
    steps: Interval


def layers(sweep: Material) -> Chart | None:
    """Per-layer density of the ticket."""
    if sweep.ticket is None:
        return None
    found = {name: fmean(record.layer_density[name] for record in sweep.ticket)
             for name in sweep.ticket[0].layer_density}  # fmt: skip
    x = charts.axis("weights kept", tickformat="~%", range=[0, 1.25 * max(found.values())], nticks=6)
    caption = (
        f"{sweep.shown_as}, level {sweep.ticket.number}; mean over n = {over(len(sweep.ticket))}, layers in order."
    )
    height = max(240, 90 + 26 * len(found))
    return charts.shares("Density of each layer", caption, found, x, ".2%", "%{y}: %{x:.2%} kept", height)


def idle_units(sweep: Material) -> Chart | None:
    """Units of the shown trial that are cut off, dead or rarely active, by density."""
    if sweep.shown is None:
        return None
    names = {"cut_units": "cut off", "dead_units": "dead", "rare_units": "rarely active"}
    data: list[Trace] = []
    for (name, words), colour in zip(names.items(), (BAD, SERIES[3], SERIES[5]), strict=True):
        levels = [level for level in sweep.shown.levels if all(name in record.metrics for record in level)]
        if levels:
            hover = f"%{{y:.4~g}} units {words} at %{{x:.2%}} of the weights"
            data.append(scatter(words, [level.density for level in levels], [level.mean(name) for level in levels],
                                hover, line={"color": colour}))  # fmt: skip
    if not data:
        return None
    caption = (
        f"{sweep.shown_as}; mean over the seeds. Cut off: no path of kept weights from the input or to the output. "
        "Dead: active on no training example; rarely: on fewer than 1%."
    )
    layout = {"xaxis": _densities(sweep), "yaxis": charts.axis("units", rangemode="tozero")}
    return Chart("Units that do nothing", caption, data, layout, height=340, wide=False)


def ladder(sweep: Material) -> Chart | None:
    """The shown trial, seed by seed."""
    if sweep.shown is None:
        return None
    seeds = sorted({record.seed for level in sweep.shown.levels for record in level})
    data: list[Trace] = []
    for seed, colour in zip(seeds, cycle(SERIES), strict=False):
        records = [record for level in sweep.shown.levels for record in level if record.seed == seed]
        hover = f"seed {seed}, %{{text}}<br>%{{y:{charts.d3(sweep.metric)}}} at %{{x:.2%}} of the weights"
        values = [record.metrics[sweep.metric.name] for record in records]
        data.append(scatter(f"seed {seed}", [record.density for record in records], values, hover,
                            line={"color": colour}, text=[f"level {record.level}" for record in records]))  # fmt: skip
    y = charts.metric_axis([sweep], [value for trace in data for value in trace["y"]])
    where = ""
    if sweep.answer:
        data.append(scatter("the answer", [sweep.answer.ticket.density] * 2, y["range"], mode="lines",
                            line={"color": BEST, "width": 1.5, "dash": "dot"}, hoverinfo="name"))  # fmt: skip
        where = " The dotted line is the answer's level."
    caption = f"{sweep.shown_as}; one line per seed (n = {len(seeds)}).{where}"
    return Chart("The ladder, seed by seed", caption, data, {"xaxis": _densities(sweep), "yaxis": y})


def learning(sweep: Material) -> Chart | None:
    """Steps to the value that has to be matched, by density, of the shown trial and, behind it, of all others."""
    found: list[Learnt] = []
    for trial in sweep.trials:
        for level in trial.levels:
            steps = [steps_to(record, sweep.target, sweep.metric) for record in level]
            reached = [float(step) for step in steps if step is not None]
            if len(reached) == len(level):
                interval = of_values(reached, sweep.spec.verify.confidence)
                found.append(Learnt(trial.number, level.number, level.density, interval))
    if not found:
        return None
    shown = sweep.shown.number if sweep.shown else None
    data = [_learning("other trials", [one for one in found if one.trial != shown], OTHER)]
    intervals = ""
    if own := [one for one in found if one.trial == shown]:
        data.append(_learning(f"trial {shown}", own, BEST, reach=True))
        intervals = f", with {sweep.spec.verify.confidence:.0%} intervals for trial {shown}"
    sign = "less" if sweep.metric.higher_is_better else "plus"
    caption = (
        f"Optimizer steps until a network first measures {sweep.metric.show(sweep.target)} on validation (the dense "
        f"networks' mean {sign} the margin), mean over the seeds{intervals}. "
        "Levels of which a seed never gets there are not drawn; steps are as fine as the training curves."
    )
    layout = {
        "xaxis": charts.density_axis(one.density for one in found),
        "yaxis": charts.axis("steps", rangemode="tozero"),
    }
    return Chart("Speed of learning", caption, data, layout)


def _learning(name: str, found: list[Learnt], colour: str, reach: bool = False) -> Trace:
    """A line per trial, all in one trace."""
    points: list[Learnt | None] = []
    for number in dict.fromkeys(one.trial for one in found):
        points += [*(one for one in found if one.trial == number), None]
    hover = "trial %{customdata[0]}, level %{customdata[1]}<br>%{y:,.0f} steps at %{x:.2%}"
    trace = scatter(name, [one and one.density for one in points], [one and one.steps.mean for one in points], hover,
                    line={"color": colour, "width": 3 if reach else 1}, opacity=1 if reach else 0.5,
                    marker={"size": 6 if reach else 4, "color": colour},
                    customdata=[one[:2] if one else [None, None] for one in points])  # fmt: skip
    if reach:
        error = [one and one.steps.reach for one in points]
        trace["error_y"] = {"type": "data", "array": error, "color": colour, "thickness": 1.5}
    return trace


def _densities(sweep: Material) -> dict[str, object]:
    assert sweep.shown
    return charts.density_axis(level.density for level in sweep.shown.levels)
