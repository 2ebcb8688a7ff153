"""The answer of a sweep as HTML.

Every number is a `data` element that names where `lth-sweep best --json` has it, as a JSON pointer; of a ratio or a
difference it names both parts.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from lth_sweep.reporting.answer_text import CONTROLS
from lth_sweep.search.answer import Answer
from lth_sweep.sweepfile.spec import SweepSpec


class Numbers:
    """Writes the numbers of an answer."""

    def __init__(self, answer: Answer) -> None:
        self.values = answer.to_json()

    def __call__(self, path: str, form: str = ",.0f") -> str:
        """The value at `path`, with a format; numbers that are not known are a dash."""
        return _data(self.at(path), form, path=path)

    def over(self, path: str, other: str, form: str = ",.1f") -> str:
        return _data(self.at(path) / max(self.at(other), 1e-12), form, path=path, over=other)

    def interval(self, path: str, form: str = ".2%") -> str:
        """mean ± half its width; the mean alone where there are no bounds."""
        mean, upper = self.at(f"{path}/mean"), self.at(f"{path}/upper")
        text = self(f"{path}/mean", form)
        if upper is None:
            return text
        return text + " ± " + _data(upper - mean, form, path=f"{path}/upper", minus=f"{path}/mean")

    def difference(self, mean: str, lower: str, upper: str) -> str:
        text = self(mean, "+.2%")
        return text if self.at(lower) is None else f"{text} ({self(lower, '+.2%')} to {self(upper, '+.2%')})"

    def at(self, path: str) -> Any:
        value: Any = self.values
        for part in path.split("/")[1:]:
            value = value[int(part)] if isinstance(value, list) else value[part]
        return value


def answer_section(answer: Answer | None, spec: SweepSpec) -> str:
    if answer is None:
        margin, metric = f"{spec.objective.match.margin:g}", spec.objective.metric.name
        return f"<p class=verdict>No trial found a network within {margin} of the dense one’s {metric}.</p>"
    number = Numbers(answer)
    parts = [f"<p class=verdict>{_verdict(answer, number)}</p>", f"<p>{_found(answer, number)}</p>"]
    parts.append(_table(answer, number))
    if answer.verification and (answer.verification.controls or answer.verification.left_out):
        parts.append(_controls(answer, number))
    parts.append(_picks(answer, number))
    return "\n".join(parts)


def _verdict(answer: Answer, number: Numbers) -> str:
    found = answer.verification
    if found is None:
        return (
            f"The smallest network within {number('/margin', '.2%')} of dense has {number('/ticket/density', '.2%')} "
            "of the weights: by the search alone, not verified on fresh seeds and test data."
        )
    return (
        f"<b class='{found.verdict.word.replace(' ', '-')}'>{found.verdict.word}</b> "
        f"<span data-path='/verification/verdict/sentence'>{escape(found.verdict.sentence)}</span>"
    )


def _found(answer: Answer, number: Numbers) -> str:
    size = answer.minimize
    ratio = ""
    if size in answer.dense.sizes:
        ratio = f", {number.over(f'/dense/sizes/{size}', f'/ticket/sizes/{size}')} times fewer {size}"
    elif answer.dense.latency and answer.ticket.latency:
        ratio = f", {number.over('/dense/latency', '/ticket/latency')} times lower latency"
    text = (
        f"It is trial {number('/trial')}, level {number('/ticket/level')}: {number('/ticket/density', '.2%')} of the "
        f"weights{ratio}; {number('/difference', '+.2%')} {answer.metric} on validation in the search, mean of "
        f"{number('/seeds')} seed{'s' * (answer.seeds > 1)}."
    )
    tried = answer.verification.tried if answer.verification else ()
    if len(tried) > 1:
        base = "/verification/tried"
        words = [
            f"trial {number(f'{base}/{index}/trial')}, level {number(f'{base}/{index}/level')}: {one.word}"
            for index, one in enumerate(tried)
        ]
        text += f" Tried on fresh seeds, in this order: {'; '.join(words)}."
    return text


def _table(answer: Answer, number: Numbers) -> str:
    rows: list[tuple[str, ...]] = [
        ("weights kept", number("/dense/density", ".2%"), number("/ticket/density", ".2%"), "")
    ]
    for name in answer.dense.sizes:
        dense, ticket = f"/dense/sizes/{name}", f"/ticket/sizes/{name}"
        rows.append((name, number(dense), number(ticket), f"{number.over(dense, ticket)} times smaller"))
    if answer.dense.latency and answer.ticket.latency:
        dense, ticket = "/dense/latency", "/ticket/latency"
        faster = f"{number.over(dense, ticket)} times faster"
        rows.append(("ms for one input (the search)", number(dense, ".3f"), number(ticket, ".3f"), faster))
    found = answer.verification
    if found and found.latency:
        dense, ticket = "/verification/latency/dense", "/verification/latency/ticket"
        name = (
            f"ms for {number('/verification/latency/batch')} inputs ({escape(found.latency.device)}, "
            f"{number('/verification/latency/threads')} thread{'s' * (found.latency.threads > 1)})"
        )
        rows.append((name, number(dense, ".3f"), number(ticket, ".3f"), f"{number.over(dense, ticket)} times faster"))
    intervals = [number.interval(f"/{who}/interval") for who in ("dense", "ticket")]
    rows.append((f"{answer.metric}, validation", *intervals, number("/difference", "+.2%")))
    if found and found.examples:
        tested = [number.interval(f"/verification/test/{who}") for who in ("dense", "ticket")]
        verdict = "/verification/verdict"
        difference = number.difference(f"{verdict}/difference", f"{verdict}/lower", f"{verdict}/upper")
        name = f"{answer.metric}, test ({number('/verification/verdict/seeds')} fresh, "
        name += f"{number('/verification/examples')} examples)"
        rows.append((name, *tested, difference))
    table = _html_table(("", "dense", "ticket", "ticket against dense"), rows)
    means = "± is the interval of the mean over the seeds; " if "±" in table else ""
    return f"{table}<p class=note>{means}differences are ticket minus dense, by pairs of seeds.</p>"


def _controls(answer: Answer, number: Numbers) -> str:
    assert answer.verification
    rows = []
    for kind in answer.verification.controls:
        base = f"/verification/controls/{kind}"
        difference = number.difference(*(f"{base}/difference/{name}" for name in ("mean", "lower", "upper")))
        rows.append((f"{kind}: {CONTROLS[kind]}", number.interval(f"{base}/accuracy"), difference))
    table = _html_table(("controls, on the same seeds", "test", "control minus ticket"), rows) if rows else ""
    reasons = [f"<p class=note>without {kind}: {escape(reason)}</p>"
               for kind, reason in answer.verification.left_out.items()]  # fmt: skip
    return table + "".join(reasons)


def _picks(answer: Answer, number: Numbers) -> str:
    if not answer.picks:
        return ""
    rows = [(f"<code>{escape(path)}</code>", number(f"/picks/{path}", ".4g")) for path in answer.picks]
    return _html_table(("recipe", "picked"), rows)


def _html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(row(cells, "td") for cells in rows)
    return f"<div class=scroll><table><thead>{row(head, 'th')}</thead><tbody>{body}</tbody></table></div>"


def _data(value: Any, form: str, **where: str) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    attributes: Mapping[str, str] = {f"data-{name}": path for name, path in where.items()}
    text = escape(value) if isinstance(value, str) else format(value, form)
    shown = "".join(f' {name}="{escape(path)}"' for name, path in attributes.items())
    return f'<data value="{escape(str(value))}"{shown}>{text}</data>'
