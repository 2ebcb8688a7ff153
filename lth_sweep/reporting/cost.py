"""The charts of what a sweep has cost."""

from collections.abc import Sequence

from lth_sweep.reporting.charts import BAD, BEST, MATCH, OTHER, SERIES, Chart, Trace, axis, bars
from lth_sweep.reporting.material import Material
from lth_sweep.search.trial import Span, TrialRecord

COLOURS = {"finished": SERIES[2], "stopped": MATCH, "failed": BAD, "interrupted": OTHER}
OVERLAP = 1.0
"""Seconds by which two pieces of work of one worker may seem to overlap, or be apart: a level is written a little after
its end. Of short pieces at most half their length."""


def steps(sweep: Material) -> Chart:
    """Trained, reused, and saved by stopping, by trial."""
    parts = {"trained": ("steps_trained", BEST), "reused": ("steps_reused", MATCH),
             "saved by stopping": ("steps_saved", OTHER)}  # fmt: skip
    data = [bars(name, [trial.number for trial in sweep.trials], [getattr(trial, field) for trial in sweep.trials],
                 colour, f"trial %{{x}}: %{{y:,}} steps {name}")
            for name, (field, colour) in parts.items()]  # fmt: skip
    caption = "Reused steps were in the store already; of the saved ones, there are about so many."
    return _by_trial("Steps by trial", caption, data, "optimizer steps")


def seconds(sweep: Material) -> Chart:
    data = []
    for ending, colour in COLOURS.items():
        if some := [trial for trial in sweep.trials if _ending(trial) == ending]:
            data.append(bars(ending, [trial.number for trial in some], [trial.seconds for trial in some], colour,
                             "trial %{x}: %{y:,.3~g} s"))  # fmt: skip
    return _by_trial("Time by trial", "Work on its levels, without waiting.", data, "seconds")


def _by_trial(title: str, caption: str, data: Sequence[Trace], unit: str) -> Chart:
    layout = {"barmode": "stack", "xaxis": axis("trial", nticks=8), "yaxis": axis(unit)}
    return Chart(title, caption, data, layout, height=340, wide=False)


def _ending(trial: TrialRecord) -> str:
    return trial.ending or "interrupted"


def timeline(sweep: Material) -> Chart | None:
    """Which trial was worked on when; None where the records have no times."""
    lanes = workers(sweep.trials)
    pieces = [(f"worker {lane}", number, span) for lane, some in enumerate(lanes, 1) for number, span in some]
    if not pieces:
        return None
    endings = {trial.number: _ending(trial) for trial in sweep.trials}
    start = min(span.start for _, _, span in pieces)
    longest = max(span.end for _, _, span in pieces) - start
    unit, scale = ("hours", 3600) if longest > 7200 else ("minutes", 60) if longest > 120 else ("seconds", 1)
    data = []
    for ending, colour in COLOURS.items():
        if some := [piece for piece in pieces if endings[piece[1]] == ending]:
            data.append(bars(
                ending, [(span.end - span.start) / scale for _, _, span in some], [worker for worker, _, _ in some],
                colour, f"trial %{{customdata}}: %{{x:.3~g}} {unit} from %{{base:.3~g}}", orientation="h",
                base=[(span.start - start) / scale for _, _, span in some],
                customdata=[number for _, number, _ in some],
                marker={"color": colour, "line": {"width": 1, "color": "rgba(255,255,255,0.7)"}},
            ))  # fmt: skip
    layout = {"barmode": "overlay", "xaxis": axis(unit, rangemode="tozero"),
              "yaxis": axis("", type="category", categoryorder="array", ticksuffix=" ",
                            categoryarray=[f"worker {lane}" for lane in range(len(lanes), 0, -1)])}  # fmt: skip
    caption = (
        "Each bar is a trial at work, from the times at which its levels were written; which worker it was is not on "
        "record, so trials are laid into as few rows as they fit. The verification is not shown."
    )
    return Chart("Timeline", caption, data, layout, height=min(900, max(220, 130 + 24 * len(lanes))))


def workers(trials: Sequence[TrialRecord]) -> list[list[tuple[int, Span]]]:
    """The trials' work in as few rows as it fits, each row in order; a trial's levels without a pause are one piece."""
    pieces = sorted((piece.start, trial.number, piece) for trial in trials for piece in _joined(trial.spans))
    rows: list[list[tuple[int, Span]]] = []
    for _, number, piece in pieces:
        slack = min(OVERLAP, (piece.end - piece.start) / 2)
        row = next((row for row in rows if row[-1][1].end <= piece.start + slack), None)
        if row is None:
            rows.append(row := [])
        row.append((number, piece))
    return rows


def _joined(spans: Sequence[Span]) -> list[Span]:
    found: list[Span] = []
    for span in spans:
        if found and span.start - found[-1].end <= OVERLAP:
            found[-1] = Span(span.level, found[-1].start, span.end)
        else:
            found.append(span)
    return [span for span in found if span.end > span.start]
