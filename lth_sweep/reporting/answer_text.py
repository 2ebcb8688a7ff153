"""The answer of a sweep in words: what `lth-sweep run` ends with and `lth-sweep best` prints."""

import math
from collections.abc import Container, Mapping, Sequence

from lth_sweep.search.answer import Answer, Verification
from lth_sweep.search.verdict import Interval
from lth_sweep.sweepfile.spec import Pick, SweepSpec

CONTROLS = {
    "reinit": "the same masks, re-initialised",
    "scratch": "the same shape, from scratch",
    "shuffle": "masks shuffled within layers",
    "random": "masks of random weights",
}


def describe(answer: Answer | None, spec: SweepSpec, export: str) -> str:
    """A short table, the verdict, the recipe, the controls, and the command that exports the ticket, `export`."""
    if answer is None:
        margin = spec.objective.match.margin
        return f"No trial found a network within {margin:g} of the dense one's {spec.objective.metric.name}."
    parts = [_table(answer, spec.verify.confidence), _verdict(answer, spec)]
    if answer.verification and (answer.verification.controls or answer.verification.left_out):
        parts.append(_controls(answer.verification))
    parts.append(f"Trial {answer.trial}, level {answer.ticket.level}: {recipe(answer.picks)}\nexport: {export}")
    return "\n\n".join(parts)


def recipe(picks: Mapping[str, Pick]) -> str:
    """On one line; numbers shortened."""
    return ", ".join(f"{path} {pick:.4g}" if isinstance(pick, float) else f"{path} {pick}"
                     for path, pick in picks.items())  # fmt: skip


def _table(answer: Answer, confidence: float) -> str:
    rows = [["", "dense", "ticket"]]
    rows.append(["density", f"{answer.dense.density:.2%}", f"{answer.ticket.density:.2%}"])
    for name in answer.dense.sizes:
        rows.append([name, f"{answer.dense.sizes[name]:,.0f}", f"{answer.ticket.sizes[name]:,.0f}"])
    if answer.dense.latency and answer.ticket.latency:
        rows.append(["ms for 1 input (the search)", f"{answer.dense.latency:.3f}", f"{answer.ticket.latency:.3f}"])
    found = answer.verification
    if found and found.latency:
        measured = found.latency
        threads = f"{measured.threads} thread{'s' * (measured.threads > 1)}"
        name = f"ms for {measured.batch} inputs ({measured.device}, {threads})"
        rows.append([name, f"{measured.dense:.3f}", f"{measured.ticket:.3f}"])
    seeds = f"{answer.seeds} seed{'s' * (answer.seeds > 1)}"
    validation = [_interval(network.interval) for network in (answer.dense, answer.ticket)]
    rows.append([f"{answer.metric}, validation ({seeds} of the search)", *validation])
    if found and found.examples:
        fresh = f"{len(found.seeds)} fresh seed{'s' * (len(found.seeds) > 1)}"
        rows.append([f"{answer.metric}, test ({fresh})", _interval(found.dense), _interval(found.ticket)])
    has_intervals = any("±" in text for row in rows for text in row)
    return aligned(rows) + (f"\n± {confidence:.0%} interval of the mean, over the seeds" if has_intervals else "")


def aligned(rows: Sequence[Sequence[str]], left: Container[int] = (0,)) -> str:
    """A table: the columns `left` to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(text.ljust(width) if column in left else text.rjust(width)
             for column, (text, width) in enumerate(zip(row, widths, strict=True))) for row in rows]  # fmt: skip
    return "\n".join(line.rstrip() for line in lines)


def _verdict(answer: Answer, spec: SweepSpec) -> str:
    size = f"{answer.ticket.density:.2%} of the weights"
    if answer.minimize in answer.dense.sizes:
        factor = answer.dense.sizes[answer.minimize] / max(1.0, answer.ticket.sizes[answer.minimize])
        size += f", {factor:.1f} times fewer {answer.minimize}"
    elif answer.dense.latency and answer.ticket.latency:
        size += f", {answer.dense.latency / answer.ticket.latency:.1f} times lower latency"
    seeds = f"mean of {answer.seeds} seed{'s' * (answer.seeds > 1)}"
    searched = f"{answer.difference:+.2%} {answer.metric} on validation in the search, {seeds}"
    found = answer.verification
    if found is None:
        why = "; fresh seeds and test data were not asked" if spec.verify.top == 0 else (
            "; not verified yet: run the sweep again to have it checked on fresh seeds and test data"
        )  # fmt: skip
        return f"The smallest network within {answer.margin:g} of dense has {size}: {searched}{why}."
    text = f"{found.verdict.sentence}\nIt has {size}: {searched}."
    others = [tried for tried in found.tried if (tried.trial, tried.level) != (answer.trial, answer.ticket.level)]
    if others:
        words = "; ".join(f"trial {tried.trial}, level {tried.level}: {tried.word}" for tried in others)
        text += f"\nTried, too: {words}."
    return text


def _controls(found: Verification) -> str:
    rows = [["controls, on the same seeds", "test", "difference to the ticket"]]
    for kind, control in found.controls.items():
        mean, lower, upper = control.difference
        difference = f"{mean:+.2%} ({lower:+.2%} to {upper:+.2%})"
        rows.append([f"{kind}: {CONTROLS[kind]}", _interval(control.accuracy), difference])
    reasons = [f"without {kind}: {reason}" for kind, reason in found.left_out.items()]
    return "\n".join([aligned(rows)] * (len(rows) > 1) + reasons)


def _interval(interval: Interval) -> str:
    reach = "" if math.isnan(interval.upper) else f" ± {interval.upper - interval.mean:.4f}"
    return f"{interval.mean:.4f}{reach}"
