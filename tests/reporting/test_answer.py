"""Every number of the report's answer is one of `lth-sweep best --json`."""

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from benchmarks.many_trials import write
from lth_sweep.cli import main
from lth_sweep.lottery.records import Level
from lth_sweep.search import answer as search_answer
from lth_sweep.search.trial import Outcome
from lth_sweep.sweepfile.spec import Objective
from tests.reporting.conftest import trial


class Answer(HTMLParser):
    """The `data` elements in the answer's section, and the words outside them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[dict[str, Any], str]] = []
        self.sentences: dict[str, str] = {}
        self.words = ""
        self._open: list[dict[str, Any]] = []
        self.feed(re.search("<section class=answer>(.*?)</section>", html, re.DOTALL)[1])

    def handle_starttag(self, tag, attributes):
        if tag == "data" or (tag == "span" and dict(attributes).get("data-path")):
            self._open.append({"tag": tag, **dict(attributes), "text": ""})

    def handle_endtag(self, tag):
        if self._open and self._open[-1]["tag"] == tag:
            found = self._open.pop()
            if tag == "data":
                self.found.append((found, found["text"]))
            else:
                self.sentences[found["data-path"]] = found["text"]

    def handle_data(self, data):
        if self._open:
            self._open[-1]["text"] += data
        else:
            self.words += data


def at(answer: Any, path: str) -> Any:
    for part in path.split("/")[1:]:
        answer = answer[int(part)] if isinstance(answer, list) else answer[part]
    return answer


def test_what_is_not_a_number_is_null():
    """A twin of the ticket diverged, and so has no barrier; and a level that lacks a seed cannot be judged."""
    dense, ticket = trial(0, (0.9, 0.9), (0.9,)).levels
    ticket = Level([replace(ticket[0], metrics={**ticket[0].metrics, "barrier": math.nan})])
    found = search_answer.Answer.of(0, {}, (dense, ticket), Outcome(500, 0.0, 1), Objective())
    plain = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert plain["difference"] is None
    assert plain["ticket"]["metrics"] == {"accuracy": 0.9, "loss": pytest.approx(0.1), "barrier": None}
    assert plain["ticket"]["spread"]["accuracy"] is None
    assert plain["dense"]["spread"]["accuracy"] == 0


def expected(answer: Any, where: dict[str, str]) -> Any:
    value = at(answer, where["data-path"])
    if "data-over" in where:
        return value / at(answer, where["data-over"])
    return value - at(answer, where["data-minus"]) if "data-minus" in where else value


def shown(text: str) -> tuple[float, float]:
    """The number in a text, and half a unit of its last digit."""
    digits = text.replace(",", "").rstrip("%")
    scale = 0.01 if text.endswith("%") else 1.0
    decimals = len(digits.partition(".")[2])
    return float(digits) * scale, 0.5001 * 10**-decimals * scale


@pytest.fixture(scope="module", params=["verified", "one seed, not verified"])
def both(
    request,
    runs: Path,
    tmp_path_factory,
) -> tuple[Any, Answer]:
    """What `best --json` prints, and the answer in the report."""
    name = "many"
    if request.param != "verified":
        runs, name = tmp_path_factory.mktemp("single"), "single"
        write(runs, name, 5, seeds=1)
        (runs / name / "verification.json").unlink()
    with pytest.MonkeyPatch.context() as patch:
        printed: list[str] = []
        patch.setattr("builtins.print", lambda text, **_: printed.append(text))
        assert main(["best", name, "--json", "--runs", str(runs)]) == 0
        out = tmp_path_factory.mktemp("out") / "report.html"
        assert main(["report", name, "--runs", str(runs), "--out", str(out)]) == 0
    return json.loads(printed[0]), Answer(out.read_text())


def test_every_number_is_one_of_best(both: tuple[Any, Answer]) -> None:
    answer, report = both
    assert len(report.found) > 20
    for where, text in report.found:
        value = expected(answer, where)
        if isinstance(value, str):
            assert text == value
            continue
        assert float(where["value"]) == pytest.approx(value, rel=1e-12)
        number, half = shown(text)
        assert abs(number - value) <= max(half, 5e-4 * abs(value) if where["data-path"].startswith("/picks") else 0)
    assert not re.search(r"\d", report.words), report.words


def test_the_verdict_is_that_of_best(both: tuple[Any, Answer]) -> None:
    answer, report = both
    if answer["verification"] is None:
        assert report.sentences == {}
        assert "not verified on fresh seeds and test data" in report.words
        assert "±" not in report.words  # of one seed there is no interval
    else:
        assert report.sentences == {"/verification/verdict/sentence": answer["verification"]["verdict"]["sentence"]}
        assert f"{answer['verification']['verdict']['word']} " in report.words


def test_what_best_knows_is_there(both: tuple[Any, Answer]) -> None:
    answer, report = both
    paths = {where["data-path"] for where, _ in report.found}
    assert paths >= {"/trial", "/seeds", "/difference", "/ticket/level", "/dense/sizes/params", "/ticket/sizes/bytes"}
    assert paths >= {f"/picks/{path}" for path in answer["picks"]}
    if answer["verification"]:
        kinds = answer["verification"]["controls"]
        assert set(kinds) == {"reinit", "shuffle"}
        assert paths >= {f"/verification/controls/{kind}/{name}" for kind in kinds
                         for name in ("accuracy/mean", "difference/mean", "difference/lower")}  # fmt: skip
        assert paths >= {"/verification/test/ticket/mean", "/verification/verdict/lower", "/verification/latency/dense"}
