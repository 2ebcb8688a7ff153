"""Figures for papers, by matplotlib: a PDF, SVG or PNG with its caption, which says what n is."""

import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from lth_sweep.lottery.common.errors import ConfigError, unknown
from lth_sweep.lottery.probes.twins import Split, StabilityRecord
from lth_sweep.lottery.records import Level
from lth_sweep.reporting.answer_text import recipe
from lth_sweep.reporting.material import Material, smaller_front
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


def stability_records(source: Path | None) -> list[StabilityRecord]:
    """What `lth-sweep stability --json` has printed. Raises ConfigError where it is something else."""
    how = "make one by: lth-sweep stability SPEC --at '0 steps, 100 steps' --json > FILE"
    if source is None:
        raise ConfigError(f"the figure of stability is drawn from a file of its records; {how}", "--from")
    try:
        return [StabilityRecord.from_json(fields) for fields in json.loads(source.read_text())["records"]]
    except OSError as error:
        raise ConfigError(f"{source} cannot be read: {error.strerror}; {how}", "--from") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{source} does not have stability records; {how}", "--from") from error


def _curves(drawn: "Figure", sweep: Material) -> str:
    assert sweep.shown
    axes = drawn.subplots()
    levels, confidence = sweep.shown.levels, sweep.spec.verify.confidence
    dense = of_values(_accuracies(levels[0]), confidence)
    if not math.isnan(dense.upper):
        axes.axhspan(dense.lower, dense.upper, color=DENSE, alpha=0.15, lw=0)
    axes.axhline(dense.mean, color=DENSE, lw=1, label="dense")
    axes.axhline(dense.mean - sweep.spec.objective.match.margin, color=DENSE, lw=1, ls="--", label="dense − margin")
    _with_intervals(axes, [_density(level) for level in levels], [_accuracies(level) for level in levels], confidence,
                    TICKET, f"trial {sweep.shown.number}")  # fmt: skip
    axes.set(xlabel="weights kept", ylabel="accuracy (validation)")
    _density_scale(axes, [_density(level) for level in levels])
    axes.yaxis.set_major_formatter(_percent())
    axes.legend()
    return f"{sweep.shown_as}: {recipe(sweep.shown.picks)}. {_mean(levels, confidence)}"


def _front(drawn: "Figure", sweep: Material) -> str:
    points = [point for row in sweep.means.values() for point in row if math.isfinite(point.accuracy)]
    drawn.set_size_inches(7.2, 3.2)
    names = ("params", "flops")
    for axes, name in zip(drawn.subplots(1, 2, sharey=True), names, strict=True):
        for some, colour, label in (([point for point in points if not point.level], DENSE, "dense"),
                                    ([point for point in points if point.match], OTHER, "matches"),
                                    ([point for point in points if point.level and not point.match], FAINT,
                                     "does not match")):  # fmt: skip
            axes.plot([point.sizes[name] for point in some], [point.accuracy for point in some], "o", ms=2.5, alpha=0.6,
                      color=colour, label=label, mew=0)  # fmt: skip
        edge = smaller_front(points, name)
        axes.plot([point.sizes[name] for point in edge], [point.accuracy for point in edge], color=TICKET, lw=1.4,
                  drawstyle="steps-post", label="front")  # fmt: skip
        axes.set(xlabel=name, xscale="log")
        axes.invert_xaxis()
        axes.yaxis.set_major_formatter(_percent())
    axes.set_ylim(bottom=max(min((point.accuracy for point in points), default=0.0), sweep.target - 0.1))
    axes.legend(markerscale=2)
    drawn.axes[0].set_ylabel("accuracy (validation)")
    count = f"{len(sweep.means)} trials of {sweep.spec.name}, n = {len(points)}"
    return f"Levels of all {count}, each the mean over its seeds."


def _layers(drawn: "Figure", sweep: Material) -> str:
    assert sweep.ticket
    axes = drawn.subplots()
    names, confidence = list(sweep.ticket[0].layer_density), sweep.spec.verify.confidence
    drawn.set_size_inches(4.6, max(2.2, 1.2 + 0.22 * len(names)))
    found = [of_values([record.layer_density[name] for record in sweep.ticket], confidence) for name in names]
    reach = [0.0 if math.isnan(interval.upper) else interval.upper - interval.mean for interval in found]
    axes.barh(names, [interval.mean for interval in found], xerr=reach, color=OTHER, error_kw={"lw": 1, "capsize": 2})
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set(xlabel="weights kept", xlim=(0, None))
    axes.xaxis.set_major_formatter(_percent())
    return f"{sweep.shown_as}, level {sweep.ticket[0].level}. {_mean([sweep.ticket], confidence)}"


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
    axes.yaxis.set_major_formatter(_percent())
    axes.legend()
    density = fmean(record.density for record in records)
    what = "dense networks" if density == 1 else f"tickets with {density:.2%} of the weights"
    return f"Linear interpolation between twins ({what}). {_over(len({record.seed for record in records}), 0.95)}"


def _with_intervals(axes: "Axes", x: Sequence[float], values: Sequence[Sequence[float]], confidence: float, colour: str,
                    label: str) -> None:  # fmt: skip
    """A line of means with their intervals over the seeds; no interval for a single seed."""
    found = [of_values(some, confidence) for some in values]
    reach = [0.0 if math.isnan(interval.upper) else interval.upper - interval.mean for interval in found]
    axes.errorbar(x, [interval.mean for interval in found], yerr=reach, color=colour, marker="o", ms=3, lw=1.3,
                  elinewidth=0.9, capsize=2, label=label)  # fmt: skip


def _density_scale(axes: "Axes", densities: Sequence[float]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes.set_xscale("log")
    ticks = [digit * 10.0**power for power in range(0, -9, -1) for digit in (1, 0.5, 0.2)]
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if tick >= min(densities) * 0.9]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:.3g}%"))
    axes.invert_xaxis()


def _percent() -> Any:
    from matplotlib.ticker import FuncFormatter

    return FuncFormatter(lambda value, _: f"{value * 100:.3g}%")


def _mean(levels: Sequence[Level], confidence: float) -> str:
    counts = sorted({len(level) for level in levels})
    return _over(counts[0], confidence) if len(counts) == 1 else (
        f"Means over n = {counts[0]} to {counts[-1]} seeds, with {confidence:.0%} intervals of the mean."
    )  # fmt: skip


def _over(seeds: int, confidence: float) -> str:
    intervals = f", with {confidence:.0%} intervals of the mean" if seeds > 1 else ""
    return f"Mean over n = {seeds} seed{'s' * (seeds > 1)}{intervals}."


def _accuracies(level: Level) -> list[float]:
    return [record.metrics["accuracy"] for record in level]


def _density(level: Level) -> float:
    return fmean(record.density for record in level)
