"""The charts of the trial that is shown: the answer's, or else the nearest to one."""

from statistics import fmean

from lth_sweep.reporting.charts import (
    BAD,
    BEST,
    MATCH,
    SERIES,
    Chart,
    Trace,
    accuracy_axis,
    axis,
    bar_labels,
    density_axis,
)
from lth_sweep.reporting.material import Material


def layers(sweep: Material) -> Chart | None:
    """Per-layer density of the ticket."""
    if sweep.ticket is None:
        return None
    names = list(sweep.ticket[0].layer_density)
    values = [fmean(record.layer_density[name] for record in sweep.ticket) for name in names]
    data: list[Trace] = [{"type": "bar", "orientation": "h", "y": names, "x": values, "marker": {"color": MATCH},
                          **bar_labels([f"{value:.2%}" for value in values]),
                          "hovertemplate": "%{y}: %{x:.2%} kept<extra></extra>"}]  # fmt: skip
    layout = {"xaxis": axis("weights kept", tickformat="~%", range=[0, 1.25 * max(values)], nticks=6),
              "yaxis": axis("", type="category", autorange="reversed", tickprefix="", ticksuffix=" "),
              "showlegend": False}  # fmt: skip
    seeds = f"mean over n = {len(sweep.ticket)} seed{'s' * (len(sweep.ticket) > 1)}"
    caption = f"{sweep.shown_as}, level {sweep.ticket[0].level}; {seeds}, layers in order."
    return Chart("Density of each layer", caption, data, layout, height=max(240, 90 + 26 * len(names)), wide=False)


def idle_units(sweep: Material) -> Chart | None:
    """Units of the shown trial that are cut off, dead or rarely active, by density."""
    if sweep.shown is None:
        return None
    names = {"cut_units": "cut off", "dead_units": "dead", "rare_units": "rarely active"}
    data: list[Trace] = []
    for (name, words), colour in zip(names.items(), (BAD, SERIES[3], SERIES[5]), strict=True):
        levels = [level for level in sweep.shown.levels if all(name in record.metrics for record in level)]
        if levels:
            data.append({
                "type": "scatter", "name": words, "mode": "lines+markers", "line": {"color": colour},
                "x": [fmean(record.density for record in level) for level in levels],
                "y": [fmean(record.metrics[name] for record in level) for level in levels],
                "hovertemplate": f"%{{y:.4~g}} units {words} at %{{x:.2%}} of the weights<extra></extra>",
            })  # fmt: skip
    if not data:
        return None
    caption = (
        f"{sweep.shown_as}; mean over the seeds. Cut off: no path of kept weights from the input or to the output. "
        "Dead: active on no training example; rarely: on fewer than 1%."
    )
    layout = {"xaxis": density_axis(sweep.shown_densities), "yaxis": axis("units", rangemode="tozero")}
    return Chart("Units that do nothing", caption, data, layout, height=340, wide=False)


def ladder(sweep: Material) -> Chart | None:
    """The shown trial, seed by seed."""
    if sweep.shown is None:
        return None
    seeds = sorted({record.seed for level in sweep.shown.levels for record in level})
    data: list[Trace] = []
    for seed, colour in zip(seeds, SERIES * (1 + len(seeds) // len(SERIES)), strict=False):
        records = [record for level in sweep.shown.levels for record in level if record.seed == seed]
        data.append({
            "type": "scatter", "name": f"seed {seed}", "mode": "lines+markers", "line": {"color": colour},
            "x": [record.density for record in records], "y": [record.metrics["accuracy"] for record in records],
            "text": [f"level {record.level}" for record in records],
            "hovertemplate": f"seed {seed}, %{{text}}<br>%{{y:.2%}} at %{{x:.2%}} of the weights<extra></extra>",
        })  # fmt: skip
    accuracies = [accuracy for trace in data for accuracy in trace["y"]]
    y = accuracy_axis(sweep.target, accuracies, sweep.spec.objective.match.margin)
    if sweep.answer:
        dots = {"mode": "lines", "line": {"color": BEST, "width": 1.5, "dash": "dot"}, "hoverinfo": "name"}
        place = {"x": [sweep.answer.ticket.density] * 2, "y": y["range"]}
        data.append({"type": "scatter", "name": "the answer", **place, **dots})
    layout = {"xaxis": density_axis(sweep.shown_densities), "yaxis": y}
    where = " The dotted line is the answer's level." if sweep.answer else ""
    return Chart("The ladder, seed by seed", f"{sweep.shown_as}; one line per seed (n = {len(seeds)}).{where}", data,
                 layout)  # fmt: skip
