"""Figures for papers, by matplotlib: a PDF, SVG or PNG with its caption, which says what n is."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lth_sweep.lottery.common.errors import ConfigError, unknown
from lth_sweep.lottery.probes.twins import Split, StabilityRecord
from lth_sweep.lottery.task import Metric
from lth_sweep.reporting.answer import recipe
from lth_sweep.reporting.charts import scale
from lth_sweep.reporting.material import Material, over, smaller_front, sorted_out
from lth_sweep.reporting.stability import networks, stability_records
from lth_sweep.search.verdict import of_values

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Kind = Literal["curves", "front", "layers", "stability"]
TYPES: Mapping[str, Any] = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}, ".png": None}
"""Without the date, so that the same sweep gives the same file."""
STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "svg.hashsalt": "lth-sweep",
    "pdf.fonttype": 42,
}
TICKET, DENSE, FAINT, OTHER = "#d55e00", "#0072b2", "#999999", "#009e73"  # Okabe & Ito: told apart by everybody


def figure(sweep: Material, kind: Kind, out: Path, source: Path | None = None) -> None:
    """Draw a figure to `out`. `source`: the stability records, as JSON.

    Raises ConfigError for another type of file, where there is nothing to draw, and where `out` cannot be written.
    """
    import matplotlib
    from matplotlib.figure import Figure

    if out.suffix.lower() not in TYPES:
        raise ConfigError(unknown("type of file", out.suffix, TYPES), "--out")
    if kind != "stability" and (sweep.shown is None or not sweep.dense):
        raise ConfigError(f"the sweep {sweep.spec.name!r} has no trial yet with a level that can be compared with its "
                          "dense network, and so nothing to draw", "NAME")  # fmt: skip
    with matplotlib.rc_context(STYLE):
        drawn = Figure(figsize=(4.6, 3.4), layout="constrained")
        if kind == "stability":
            caption = _stability(drawn, stability_records(source))
        else:
            caption = {"curves": _curves, "front": _front, "layers": _layers}[kind](drawn, sweep)
        drawn.supxlabel("\n".join(textwrap.wrap(caption, 78)), fontsize=7, ha="left", x=0.02, color="#444444")
        try:
            drawn.savefig(out, dpi=200, metadata=TYPES[out.suffix.lower()])
        except OSError as error:
            raise ConfigError(f"{out} cannot be written: {error.strerror}; choose another file", "--out") from error


def _curves(drawn: "Figure", sweep: Material) -> str:
    assert sweep.shown
    axes = drawn.subplots()
    levels, confidence, metric = sweep.shown.levels, sweep.spec.verify.confidence, sweep.metric
    values = [[record.metrics[metric.name] for record in level] for level in levels]
    densities = [level.density for level in levels]
    dense = of_values(values[0], confidence)
    if not math.isnan(dense.upper):
        axes.axhspan(dense.lower, dense.upper, color=DENSE, alpha=0.15, lw=0)
    axes.axhline(dense.mean, color=DENSE, lw=1, label="dense")
    target = dense.mean - metric.gain(sweep.spec.objective.margin(dense.mean), 0.0)
    axes.axhline(target, color=DENSE, lw=1, ls="--", label=f"{sweep.target_as}margin")
    _with_intervals(axes, densities, values, confidence, TICKET, f"trial {sweep.shown.number}")
    axes.set(xlabel="weights kept", ylabel=f"{metric.name} (validation)")
    _density_scale(axes, densities)
    _metric_scale(axes, metric)
    axes.legend()
    return f"{sweep.shown_as}: {recipe(sweep.shown.picks)}. {_mean(levels, confidence)}"


def _front(drawn: "Figure", sweep: Material) -> str:
    points = [point for row in sweep.means.values() for point in row if math.isfinite(point.value)]
    dense, others, matching = sorted_out(points)
    groups = (("dense", DENSE, dense), ("matches", OTHER, matching), ("does not match", FAINT, others))
    drawn.set_size_inches(7.2, 3.2)
    names = ("params", "flops")
    for axes, name in zip(drawn.subplots(1, 2, sharey=True), names, strict=True):
        for label, colour, some in groups:
            axes.plot([point.sizes[name] for point in some], [point.value for point in some], "o", ms=2.5, alpha=0.6,
                      color=colour, label=label, mew=0)  # fmt: skip
        edge = smaller_front(points, name, sweep.metric)
        axes.plot([point.sizes[name] for point in edge], [point.value for point in edge], color=TICKET, lw=1.4,
                  drawstyle="steps-post", label="front")  # fmt: skip
        axes.set(xlabel=name, xscale="log")
        axes.invert_xaxis()
        _metric_scale(axes, sweep.metric)
    values, reach = [point.value for point in points], 0.1 * scale(sweep.metric, sweep.target)
    if sweep.metric.higher_is_better:
        axes.set_ylim(bottom=max(min(values, default=0.0), sweep.target - reach))
    else:
        axes.set_ylim(top=min(max(values, default=1.0), sweep.target + reach))
    axes.legend(markerscale=2)
    drawn.axes[0].set_ylabel(f"{sweep.metric.name} (validation)")
    count = f"{len(sweep.means)} trials of {sweep.spec.name}, n = {len(points)}"
    return f"Levels of all {count}, each the mean over its seeds."


def _layers(drawn: "Figure", sweep: Material) -> str:
    assert sweep.ticket
    axes = drawn.subplots()
    names, confidence = list(sweep.ticket[0].layer_density), sweep.spec.verify.confidence
    drawn.set_size_inches(4.6, max(2.2, 1.2 + 0.22 * len(names)))
    found = [of_values([record.layer_density[name] for record in sweep.ticket], confidence) for name in names]
    axes.barh(names, [interval.mean for interval in found], xerr=[interval.reach for interval in found], color=OTHER,
              error_kw={"lw": 1, "capsize": 2})  # fmt: skip
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set(xlabel="weights kept", xlim=(0, None))
    axes.xaxis.set_major_formatter(_percent)
    return f"{sweep.shown_as}, level {sweep.ticket.number}. {_mean([sweep.ticket], confidence)}"


def _stability(drawn: "Figure", records: Sequence[StabilityRecord]) -> str:
    axes = drawn.subplots()
    steps = sorted({record.step for record in records})
    splits: dict[Split, str] = {"train": OTHER, "validation": TICKET}
    for split, colour in splits.items():
        barriers = [[record.barriers[split] for record in records if record.step == step] for step in steps]
        _with_intervals(axes, steps, barriers, 0.95, colour, split)
    axes.axhline(0.02, color=FAINT, lw=1, ls="--", label="2%")
    axes.set(xlabel="step at which the twins part", ylabel="error barrier")
    if len(steps) > 2 and steps[-1] > 20 * max(steps[1], 1):
        axes.set_xscale("symlog", linthresh=max(steps[1], 1))
    axes.yaxis.set_major_formatter(_percent)
    axes.legend()
    seeds = {record.seed for record in records}
    return f"Linear interpolation between twins ({networks(records)}). {_mean([list(seeds)], 0.95)}"


def _with_intervals(axes: "Axes", x: Sequence[float], values: Sequence[Sequence[float]], confidence: float, colour: str,
                    label: str) -> None:  # fmt: skip
    """A line of means with their intervals over the seeds; no interval for a single seed."""
    found = [of_values(some, confidence) for some in values]
    axes.errorbar(x, [interval.mean for interval in found], yerr=[interval.reach for interval in found], color=colour,
                  marker="o", ms=3, lw=1.3, elinewidth=0.9, capsize=2, label=label)  # fmt: skip


def _density_scale(axes: "Axes", densities: Sequence[float]) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    axes.set_xscale("log")
    ticks = [digit * 10.0**power for power in range(0, -9, -1) for digit in (1, 0.5, 0.2)]
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if tick >= min(densities) * 0.9]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(_percent)
    axes.invert_xaxis()


def _metric_scale(axes: "Axes", metric: Metric) -> None:
    if metric.format == "percent":
        axes.yaxis.set_major_formatter(_percent)


def _percent(value: float, position: float) -> str:
    """Of a tick."""
    return f"{value * 100:.3g}%"


def _mean(levels: Sequence[Sequence[object]], confidence: float) -> str:
    """Over how many seeds the numbers of each level are."""
    few, many = min(map(len, levels)), max(map(len, levels))
    intervals = f", with {confidence:.0%} intervals of the mean" if many > 1 else ""
    counts = f"Mean over n = {over(many)}" if few == many else f"Means over n = {few} to {over(many)}"
    return f"{counts}{intervals}."
