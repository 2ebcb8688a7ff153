"""The answer of a rescue as one HTML file, with the page on how ReLU prunes (exercise 4-2)."""

from collections.abc import Sequence
from html import escape
from statistics import fmean

from lth_sweep.reporting.page import Page
from lth_sweep.rescue.charts import differences, means, relu
from lth_sweep.rescue.effects import Difference, Effect, unit_of
from lth_sweep.rescue.result import Rescue
from lth_sweep.rescue.text import conclusion, notes, patient_words, verdict


def page(done: Rescue) -> str:
    found = Page()
    title = f"Rescue of {done.patient.spec.name}, {done.patient.which}"
    found.add(f"<h1>{escape(title)}</h1><p class=lead>{escape(patient_words(done))}</p>")
    if done.matches:
        found.add("<p class='verdict matches'>It matches: nothing is wrong, and nothing was tried.</p>")
    else:
        word = "matches" if done.best and done.best.matches else "undecided"
        found.add(f"<p class='verdict {word}'>{escape(conclusion(done))}</p>")
        found.add(f"<h2>What was found</h2>{_findings(done)}")
        found.add(f"<h2>What was tried</h2>{_remedies(done)}<p class=note>{escape(notes(done))}</p>")
        found.charts([differences(done)])
        left = [row.remedy.name for row in done.rows if not row.tried]
        if left:
            found.add(f"<p class=note>Not tried: {escape(', '.join(left))}.</p>")
    if done.seen.silences:
        found.add(f"<h2>How ReLU prunes</h2><p>{escape(relu_words(done))}</p>")
        found.charts([relu(done)])
    if done.best and done.recipe.is_file():
        found.add(f"<h2>The recipe</h2><p>{escape(str(done.recipe))}</p><pre>{escape(done.recipe.read_text())}</pre>")
    return found.html(title)


def relu_words(done: Rescue) -> str:
    """What the figure shows, and what is left in effect."""
    seen, layers = done.seen, means(done.seen.silences).values()
    units, silent, cut, both, chance, dead, rare = (
        sum(one[name] for one in layers)
        for name in ("units", "silent", "cut", "both", "by_chance", "ticket_dead", "ticket_rare")
    )
    dense, ticket = (
        fmean(record.metrics.get("effective_density", record.density) for record in level)
        for level in (seen.dense, seen.ticket)
    )
    return (
        "A ReLU unit that is never active passes nothing forward and no gradient back: it is pruned in effect, with "
        f"all its weights. In the dense network {silent:.1f} of {units:.0f} hidden units are dead or rarely active, so "
        f"that {dense:.1%} of its weights are left in effect. Pruning to {seen.ticket.density:.2%} cuts {cut:.1f} "
        f"units off; {dead:.1f} more are dead and {rare:.1f} rarely active in the ticket, whose effective density is "
        f"{ticket:.2%}. {both:.1f} units are both silent in the dense network and cut off in the ticket; if the "
        f"two had nothing to do with each other, it would be {chance:.1f} (means of {len(seen.silences)} seeds)."
    )


def _findings(done: Rescue) -> str:
    rows = "".join(f"<tr><td>{escape(one.cause)}</td><td>{one.score:.2f}</td><td>{escape(one.evidence)}</td></tr>"
                   for one in done.findings)  # fmt: skip
    return ("<div class=scroll><table class=words><thead><tr><th>finding</th><th>strength</th><th>evidence</th></tr>"
            f"</thead><tbody>{rows}</tbody></table></div>")  # fmt: skip


def _remedies(done: Rescue) -> str:
    """What matters most comes first: a phone shows three columns, and the others by scrolling."""
    unit = unit_of(done.seen.metric)
    head = ("remedy", "verdict", f"to dense, {unit}", f"to patient, {unit}", "density", "steps")
    rows = []
    for row in done.rows:
        if row.tried:
            looks = [("", row.first), ("fresh\u00a0", row.fresh)]
            cells = [
                [row.remedy.name, row.remedy.words, row.remedy.why],
                [verdict(row)],
                [line for label, one in looks if one for line in _to_dense(label, one)],
                [line for label, one in looks if one for line in _difference(label, one.to_patient)],
                [f"{row.effect.density:.2%}" if row.effect else ""],
                [f"{row.steps_trained:,}", f"{row.steps_reused:,}\u00a0reused"],
            ]
            rows.append(f"<tr>{''.join(map(_cell, cells))}</tr>")
    heads = "".join(f"<th>{escape(name)}</th>" for name in head)
    table = f"<table class=words><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f"<div class=scroll>{table}</div>"


def _to_dense(label: str, effect: Effect) -> list[str]:
    own = [f"to its own {effect.to_own_dense.number}"] if effect.to_own_dense else []
    return [*_difference(label, effect.to_dense), *own]


def _difference(label: str, found: Difference) -> list[str]:
    """The mean, and, where there is more than one seed, the bounds in a line of their own that is not broken."""
    reach = found.bounds.replace(" ", "\u00a0")
    return [label + found.number, *([reach] if reach else [])]


def _cell(lines: Sequence[str]) -> str:
    """The first line, and notes below it."""
    notes = "".join(f"<br><span class=note>{escape(line)}</span>" for line in lines[1:])
    return f"<td>{escape(lines[0]) if lines else ''}{notes}</td>"
