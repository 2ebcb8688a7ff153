"""The answer of a sweep: in words, as `lth-sweep run` ends with it and `lth-sweep best` prints it, and as HTML.

In HTML every number is a `data` element that names where `lth-sweep best --json` has it, as a JSON pointer; of a ratio
or a difference it names both parts.
"""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from html import escape
from typing import Any

from lth_sweep.reporting.material import over
from lth_sweep.search.answer import Answer, AsExported
from lth_sweep.search.objective import as_number, none_matches
from lth_sweep.sweepfile.axis import Pick
from lth_sweep.sweepfile.spec import SweepSpec

CONTROLS = {
    "reinit": "the same masks, weights drawn anew",
    "scratch": "the same shape, from scratch",
    "shuffle": "masks shuffled within layers",
    "random": "masks of random weights",
}
Form = str | Callable[[Any], str]
"""A format, or what writes a value."""


class Numbers:
    """Writes the numbers of an answer, each by its JSON pointer into what `lth-sweep best --json` prints."""

    marks = False
    """Whether it is HTML."""

    def __init__(self, answer: Answer, spec: SweepSpec) -> None:
        self.values, self.metric = answer.to_json(), spec.objective.metric

    def __call__(self, path: str, form: Form = ",.0f") -> str:
        """The value at `path`; numbers that are not known are a dash."""
        return self._written(self.at(path), form, path=path)

    def over(self, path: str, other: str) -> str:
        return self._written(self.at(path) / max(self.at(other), 1e-12), ",.1f", path=path, over=other)

    def interval(self, path: str) -> str:
        """mean ± half its width; the mean alone where there are no bounds."""
        mean, upper, form = self.at(f"{path}/mean"), self.at(f"{path}/upper"), self.form()
        if upper is None:
            return self(f"{path}/mean", form)
        reach = self._written(upper - mean, form, path=f"{path}/upper", minus=f"{path}/mean")
        return f"{self(f'{path}/mean', form)} ± {reach}"

    def difference(self, path: str, mean: str = "mean") -> str:
        """With its bounds, where there are any."""
        show = self.metric.show_difference
        text = self(f"{path}/{mean}", show)
        if self.at(f"{path}/lower") is None:
            return text
        return f"{text} ({self(f'{path}/lower', show)} to {self(f'{path}/upper', show)})"

    def at(self, path: str) -> Any:
        value: Any = self.values
        for part in path.split("/")[1:]:
            value = value[int(part)] if isinstance(value, list) else value[part]
        return value

    def form(self) -> Form:
        """Of a value of the metric."""
        return lambda value: as_number(value, self.metric)

    def plain(self, words: str) -> str:
        """What is no number, as it stands in the text."""
        return words

    def _written(self, value: Any, form: Form, **where: str) -> str:
        if value is None:
            return "–"
        return value if isinstance(value, str) else form(value) if callable(form) else format(value, form)


class Marked(Numbers):
    """As `data` elements."""

    marks = True

    def form(self) -> Form:
        return self.metric.show

    def plain(self, words: str) -> str:
        return escape(words)

    def _written(self, value: Any, form: Form, **where: str) -> str:
        text = super()._written(value, form)
        if value is None:
            return text
        shown = "".join(f' data-{name}="{escape(path)}"' for name, path in where.items())
        return f'<data value="{escape(str(value))}"{shown}>{escape(text)}</data>'


def describe(answer: Answer | None, spec: SweepSpec, export: str) -> str:
    """A short table, the verdict, the recipe, the controls, and the command that exports the ticket, `export`."""
    if answer is None:
        return f"No {none_matches(spec.objective)}."
    number = Numbers(answer, spec)
    rows = [("", "dense", "ticket"), *(row[:3] for row in _rows(answer, number))]
    has_intervals = any("±" in text for row in rows for text in row)
    note = f"\n± {spec.verify.confidence:.0%} interval of the mean, over the seeds" if has_intervals else ""
    found = answer.verification
    exported = f"\n{_exported(found.exported, number)}" if found and found.exported else ""
    parts = [aligned(rows) + note + exported, _verdict(answer, number, spec)]
    if found and (found.controls or found.left_out):
        controls = [("controls, on the same seeds", "test", "difference to the ticket"), *_controls(answer, number)]
        reasons = [f"without {kind}: {reason}" for kind, reason in found.left_out.items()]
        parts.append("\n".join([aligned(controls)] * (len(controls) > 1) + reasons))
    parts.append(f"Trial {answer.trial}, level {answer.ticket.level}: {recipe(answer.picks)}\nexport: {export}")
    return "\n\n".join(parts)


def recipe(picks: Mapping[str, Pick]) -> str:
    """On one line; numbers shortened."""
    return ", ".join(f"{path} {pick:.4g}" if isinstance(pick, float) else f"{path} {pick}"
                     for path, pick in picks.items())  # fmt: skip


def aligned(rows: Sequence[Sequence[str]], left: Container[int] = (0,)) -> str:
    """A table: the columns `left` to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(text.ljust(width) if column in left else text.rjust(width)
             for column, (text, width) in enumerate(zip(row, widths, strict=True))) for row in rows]  # fmt: skip
    return "\n".join(line.rstrip() for line in lines)


def _verdict(answer: Answer, number: Numbers, spec: SweepSpec) -> str:
    size, searched, found = _size(answer, number), _searched(answer, number), answer.verification
    if found is None:
        why = "; fresh seeds and test data were not asked" if spec.verify.top == 0 else (
            "; not verified yet: run the sweep again to have it checked on fresh seeds and test data"
        )  # fmt: skip
        return f"The smallest network within {answer.margin:g} of dense has {size}: {searched}{why}."
    text = f"{found.verdict.sentence}\nIt has {size}: {searched}."
    others = [index for index, tried in enumerate(found.tried)
              if (tried.trial, tried.level) != (answer.trial, answer.ticket.level)]  # fmt: skip
    return text + (f"\nTried, too: {_tried(answer, number, others)}." if others else "")


def answer_section(answer: Answer | None, spec: SweepSpec) -> str:
    """The same as HTML."""
    if answer is None:
        words = none_matches(spec.objective).replace("'", "’")
        return f"<p class=verdict>No {words}.</p>"
    number, found = Marked(answer, spec), answer.verification
    if found is None:
        margin = number("/margin", spec.objective.metric.show)
        verdict = f"The smallest network within {margin} of dense has {number('/ticket/density', '.2%')} of the weights"
        verdict += ": by the search alone, not verified on fresh seeds and test data."
    else:
        verdict = f"<b class='{found.verdict.word.replace(' ', '-')}'>{found.verdict.word}</b> "
        verdict += f"<span data-path='/verification/verdict/sentence'>{escape(found.verdict.sentence)}</span>"
    what = f"It is trial {number('/trial')}, level {number('/ticket/level')}: {_size(answer, number)}; "
    what += f"{_searched(answer, number)}."
    if found and len(found.tried) > 1:
        what += f" Tried on fresh seeds, in this order: {_tried(answer, number, range(len(found.tried)))}."
    answers = html_table(("", "dense", "ticket", "ticket against dense"), _rows(answer, number))
    means = "± is the interval of the mean over the seeds; " if "±" in answers else ""
    parts = [f"<p class=verdict>{verdict}</p>", f"<p>{what}</p>",
             f"{answers}<p class=note>{means}differences are ticket minus dense, by pairs of seeds.</p>"]  # fmt: skip
    if found and found.exported:
        parts.append(f"<p class=note>{_exported(found.exported, number)}.</p>")
    if found and found.controls:
        parts.append(html_table(("controls, on the same seeds", "test", "control minus ticket"),
                                _controls(answer, number)))  # fmt: skip
    if found:
        parts += [f"<p class=note>without {kind}: {escape(why)}</p>" for kind, why in found.left_out.items()]
    if answer.picks:
        picks = [(f"<code>{escape(path)}</code>", number(f"/picks/{path}", ".4g")) for path in answer.picks]
        parts.append(html_table(("recipe", "picked"), picks))
    return "\n".join(parts)


def html_table(head: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """Of cells that are HTML; `kind` is the table's class."""

    def row(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(row(cells, "td") for cells in rows)
    opened = f"<table class={kind}>" if kind else "<table>"
    return f"<div class=scroll>{opened}<thead>{row(head, 'th')}</thead><tbody>{body}</tbody></table></div>"


def _size(answer: Answer, number: Numbers) -> str:
    """How small the ticket is, for itself and against dense."""
    words, size = f"{number('/ticket/density', '.2%')} of the weights", answer.minimize
    if size in answer.dense.sizes:
        return f"{words}, {number.over(f'/dense/sizes/{size}', f'/ticket/sizes/{size}')} times fewer {size}"
    if answer.dense.latency and answer.ticket.latency:
        return f"{words}, {number.over('/dense/latency', '/ticket/latency')} times lower latency"
    return words


def _searched(answer: Answer, number: Numbers) -> str:
    difference = number("/difference", number.metric.show_difference)
    seeds = f"{number('/seeds')} seed{'s' * (answer.seeds > 1)}"
    return f"{difference} {answer.metric} on validation in the search, mean of {seeds}"


def _exported(found: AsExported, number: Numbers) -> str:
    """How large the file is, which stores the zeros that are left."""
    sizes = [f"{number(f'/verification/exported/{size}')} {size}" for size in ("params", "flops", "bytes")]
    why = f"at its full size: {number.plain(found.masked)}" if found.masked else "compacted"
    return f"as exported, with the zeros that are left: {', '.join(sizes)} ({why})"


def _tried(answer: Answer, number: Numbers, which: Iterable[int]) -> str:
    assert answer.verification
    base = "/verification/tried"
    return "; ".join(f"trial {number(f'{base}/{one}/trial')}, level {number(f'{base}/{one}/level')}: "
                     f"{answer.verification.tried[one].word}" for one in which)  # fmt: skip


def _rows(answer: Answer, number: Numbers) -> list[tuple[str, ...]]:
    """What is known of both networks: its name, dense, ticket, and the ticket against dense."""

    def latency(name: str, path: str, dense: str, ticket: str) -> tuple[str, ...]:
        dense, ticket = f"{path}{dense}", f"{path}{ticket}"
        return name, number(dense, ".3f"), number(ticket, ".3f"), f"{number.over(dense, ticket)} times faster"

    kept = [number(f"/{who}/density", ".2%") for who in ("dense", "ticket")]
    rows: list[tuple[str, ...]] = [("weights kept" if number.marks else "density", *kept, "")]
    for name in answer.dense.sizes:
        dense, ticket = f"/dense/sizes/{name}", f"/ticket/sizes/{name}"
        rows.append((name, number(dense), number(ticket), f"{number.over(dense, ticket)} times smaller"))
    if answer.dense.latency and answer.ticket.latency:
        one = "one input" if number.marks else "1 input"
        rows.append(latency(f"ms for {one} (the search)", "", "/dense/latency", "/ticket/latency"))
    found, verified = answer.verification, "/verification"
    if found and found.latency:
        threads = f"{number(f'{verified}/latency/threads')} thread{'s' * (found.latency.threads > 1)}"
        where = f"{number.plain(found.latency.device)}, {threads}"
        name = f"ms for {number(f'{verified}/latency/batch')} inputs ({where})"
        rows.append(latency(name, f"{verified}/latency", "/dense", "/ticket"))
    means = [number.interval(f"/{who}/interval") for who in ("dense", "ticket")]
    seeds = "" if number.marks else f" ({over(answer.seeds)} of the search)"
    difference = number("/difference", number.metric.show_difference)
    rows.append((f"{answer.metric}, validation{seeds}", *means, difference))
    if found and found.examples:
        means = [number.interval(f"{verified}/test/{who}") for who in ("dense", "ticket")]
        fresh = f"{len(found.seeds)} fresh seed{'s' * (len(found.seeds) > 1)}"
        if number.marks:
            fresh = f"{number(f'{verified}/verdict/seeds')} fresh, {number(f'{verified}/examples')} examples"
        rows.append(
            (f"{answer.metric}, test ({fresh})", *means, number.difference(f"{verified}/verdict", "difference"))
        )
    return rows


def _controls(answer: Answer, number: Numbers) -> list[tuple[str, ...]]:
    assert answer.verification
    base = "/verification/controls"
    return [(f"{kind}: {CONTROLS[kind]}", number.interval(f"{base}/{kind}/{answer.metric}"),
             number.difference(f"{base}/{kind}/difference")) for kind in answer.verification.controls]  # fmt: skip
