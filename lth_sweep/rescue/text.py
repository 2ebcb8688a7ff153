"""The answer of a rescue in words: what `lth-sweep rescue` prints."""

import textwrap
from collections.abc import Sequence

from lth_sweep.reporting.answer import aligned
from lth_sweep.reporting.material import over
from lth_sweep.rescue.effects import ERROR, mean, scale_of, unit_of
from lth_sweep.rescue.result import Rescue, Row
from lth_sweep.search.objective import as_number

WIDTH = 100
SYMPTOMS = ("does not fit", "does not generalise", "within noise")
"""Findings that are no causes."""


def describe(done: Rescue) -> str:
    """What was looked at, what was found, what was tried, and what to do."""
    parts = [patient_words(done)]
    if done.matches:
        return parts[0] + "\nIt matches: nothing is wrong, and nothing was tried."
    parts.append("Found, the strongest first:\n" + "\n".join(
        _folded(f"{finding.score:.2f}  {finding.cause}: {finding.evidence}", "      ") for finding in done.findings
    ))  # fmt: skip
    tried = [row for row in done.rows if row.tried]
    if tried:
        unit = unit_of(done.seen.metric)
        head = ["remedy", "why", f"to patient, {unit}", f"to dense, {unit}", "density", "trained", "reused", "verdict"]
        table = aligned([head, *(line for row in tried for line in _lines(row))], left=(0, 1, len(head) - 1))
        parts.append(f"{table}\n{notes(done)}")
    left = [row.remedy.name for row in done.rows if not row.tried]
    if left:
        parts.append(_folded(f"Not tried: {', '.join(left)} (--all tries them all)."))
    parts.append(_folded(conclusion(done)))
    if done.best:
        parts.append(f"The recipe as a sweep file: {done.recipe}")
    return "\n\n".join(parts)


def notes(done: Rescue) -> str:
    """How to read the table."""
    metric = done.seen.metric
    words = (
        "Differences are paired by seed, on the validation split, with one-sided bounds; where a remedy was looked "
        f"at again, on fresh seeds, too. \"helped\" is said of remedies that do nothing in at most {ERROR:.0%} of "
        "rescues, all that are tried taken together. matches: the mean difference to the patient's dense network is at "
        f"least -{_margin(done)}."
    )  # fmt: skip
    if not metric.higher_is_better:
        words += f" {metric.name} is better where it is lower: a difference above 0 is an improvement."
    return _folded(words)


def conclusion(done: Rescue) -> str:
    """One paragraph in plain words. It claims no more than the runs show."""
    strongest = done.findings[0]
    says = [f'The strongest finding is "{strongest.cause}".']
    best = done.best
    if done.spent:
        says.append(f"The budget of {done.spent} is used up; with a larger one, the same command goes on.")
    if best is None or best.effect is None:
        says.append(f"None of the {sum(row.tried for row in done.rows)} remedies tried was better than the patient.")
        return " ".join(says)
    effect = best.effect
    seeds = f"{len(effect.seeds)} {'fresh ' if best.fresh else ''}seed{'s' * (len(effect.seeds) > 1)}"
    gain = f"{effect.to_patient} over {seeds}"
    to_dense = f"{effect.to_dense.number} {unit_of(done.seen.metric)} to dense"
    outcome = "the ticket then matches" if effect.matches else "the ticket still does not match"
    says.append(f"What to change: {best.remedy.words}. With that, {outcome} ({to_dense}); the gain is {gain}")
    if best.word == "helped":
        says[-1] += ", more than chance explains."
        if strongest.cause in SYMPTOMS:
            says.append("The finding is a symptom: it says how the ticket fails, and the runs do not say why.")
        elif strongest.cause in best.remedy.causes:
            says.append("That remedy addresses this finding, which makes it the likely cause.")
        else:
            says.append("It does not address this finding in particular: the runs do not say what the cause is.")
    else:
        says[-1] += ", which chance may explain: more seeds would tell."
    worse = [row.remedy.name for row in done.rows if row.word == "worse"]
    if worse:
        says.append(f"Worse than the patient: {', '.join(worse)}.")
    return " ".join(says)


def verdict(row: Row) -> str:
    return f"{row.word}{', matches' if row.matches else ''}{f': {row.reason}' if row.reason else ''}"


def _lines(row: Row) -> list[list[str]]:
    """One line for each look."""
    looks = [effect for effect in (row.first, row.fresh) if effect]
    costs = [f"{row.steps_trained:,}", f"{row.steps_reused:,}"]
    head, last = [row.remedy.name, row.remedy.why], [*costs, verdict(row)]
    if not looks:
        return [[*head, "", "", "", *last]]
    lines: list[list[str]] = []
    for effect in looks:
        own = f"; own dense {effect.to_own_dense.number}" if effect.to_own_dense else ""
        numbers = [effect.to_patient.words(), effect.to_dense.words() + own, f"{effect.density:.2%}"]
        lines.append([*(head if not lines else ["", f"fresh seeds {_span(effect.seeds)}"]), *numbers,
                      *(last if not lines else ["", "", ""])])  # fmt: skip
    return lines


def _span(seeds: Sequence[int]) -> str:
    return f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else str(seeds[0])


def patient_words(done: Rescue) -> str:
    seen, spec = done.seen, done.patient.spec
    metric, last = seen.metric, seen.ticket.number
    stopped = "" if last == done.patient.level else f" (its ladder ended at level {last})"
    ticket, dense = (as_number(mean(level, metric), metric) for level in (seen.ticket, seen.dense))
    return (
        f"{spec.name}, {done.patient.which}, level {done.patient.level}, {done.patient.density:.2%} of the weights"
        f"{stopped}:\n{metric.name} {ticket}, dense {dense}; difference {seen.difference}, 95%, "
        f"{over(len(seen.dense))}, validation; margin {_margin(done)}"
    )


def _margin(done: Rescue) -> str:
    metric = done.seen.metric
    return f"{scale_of(metric) * done.seen.margin:g} {unit_of(metric)}"


def _folded(text: str, indent: str = "") -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent=indent, break_long_words=False)
