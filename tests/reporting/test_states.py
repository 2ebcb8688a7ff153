"""Every state that a sweep can be in: each command has a page, a figure or a plain message for it."""

import json
import math
from pathlib import Path

import pytest

from lth_sweep.cli import main
from lth_sweep.lottery.experiments import verification
from lth_sweep.lottery.records import CurvePoint, Level
from lth_sweep.orchestration.evidence import Evidence, candidates, save
from lth_sweep.orchestration.records import Records, read
from lth_sweep.reporting.report import attachments
from lth_sweep.search.objective import judge
from lth_sweep.sweepfile.load import load_spec
from tests.reporting.conftest import material, record

NAN = math.nan
SWEEP = """\
name: some
trial: {levels: 2, seeds: 3}
space: {rate: {choice: [0.4, 0.5]}}
"""
Trials = list[tuple[list[tuple[float, ...]], str | None]]
GOOD = [(0.90, 0.92, 0.91), (0.90, 0.92, 0.91)]
STATES: dict[str, Trials] = {
    "no trial": [],
    "only started": [([], None)],
    "dense only": [([(0.9,)], None)],
    "the first trials run": [([(0.9,), (0.9,)], None), ([(0.91,)], None)],
    "one waits": [([(0.9,), (0.9,)], "waits")],
    "one level of one seed": [([(0.9,), (0.9,)], "finished")],
    "all failed at once": [([], "failed"), ([], "failed")],
    "all failed after dense": [([(0.9,)], "failed"), ([(0.9,)], "failed")],
    "all failed after a match": [(GOOD, "failed")],
    "all diverged": [([(NAN, NAN, NAN)], "stopped"), ([(NAN, NAN, NAN)], "stopped")],
    "a dense seed diverged everywhere": [([(0.9, NAN, 0.9)], "stopped"), ([(0.9, NAN, 0.9)], "stopped")],
    "and others went on": [([(0.9, NAN, 0.9), (0.4, NAN, 0.5)], "stopped")],
    "the first diverged": [([(NAN, NAN, NAN)], "stopped"), (GOOD, "finished")],
    "a ticket diverged": [([(0.9, 0.9, 0.9), (0.9, NAN, 0.9)], "stopped")],
    "all below the view": [([(0.9, 0.9, 0.9), (0.2, 0.2, 0.2)], "finished")],
    "all matching": [(GOOD, "finished"), (GOOD, "finished")],
    "its candidate diverged": [(GOOD, "finished")],
}


def level(number: int, accuracies: tuple[float, ...]) -> Level:
    curve = (CurvePoint(50, 0.5, {"accuracy": 0.95, "loss": 0.05}),)
    return Level(record(number, seed, accuracy, curve=curve) for seed, accuracy in enumerate(accuracies))


@pytest.fixture(params=STATES)
def runs(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """With the sweep "some" in this state."""
    folder = tmp_path / "some"
    folder.mkdir()
    (folder / "sweep.yaml").write_text(SWEEP)
    spec, records = load_spec(folder / "sweep.yaml"), Records(folder)
    for number, (levels, ending) in enumerate(STATES[request.param]):
        trial = records.start(number, {"rate": ("0.4", "0.5")[number]})
        for index, accuracies in enumerate(levels):
            trial = records.put_level(trial, level(index, accuracies))
        outcome = judge(trial.levels, spec.objective) if levels else trial.outcome
        if ending == "waits":
            records.wait(trial, outcome)
        elif ending:
            records.end(trial, str(number), ending, outcome, "as made up")  # type: ignore[arg-type]
    if request.param == "its candidate diverged":
        problem = Evidence(verification.Tested((), {}, "training diverged on fresh seed 3, level 0"))
        save(folder, {one.key: problem for one in candidates(spec, read(folder))})
    return tmp_path


def test_each_command_has_an_answer(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def code(*arguments: str) -> int:
        """Of the command, which says what is wrong where it is 2."""
        capsys.readouterr()
        found = main([*arguments, "--runs", str(runs)])
        assert capsys.readouterr().err.startswith("lth-sweep: ") == (found == 2)
        return found

    sweep = material(runs / "some")
    drawn = bool(sweep.shown and sweep.dense)
    assert code("status", "some") == 0
    assert code("best", "some") == (0 if sweep.answer else 1)
    assert code("report", "some") == 0
    assert len(attachments(sweep)) == (4 if drawn else 1)
    if not drawn:
        assert code("figure", "some", "--kind", "curves", "--out", str(runs / "curves.svg")) == 2
    if sweep.answer is None:
        assert code("export", "some") == 2
    for command in ("status", "best"):
        main([command, "some", "--json", "--runs", str(runs)])
        json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
