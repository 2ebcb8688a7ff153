"""Run folders with flipped bytes, cut off and lost files, and mutated sweep files: no command ends in a traceback, no
finished result changes unseen, and `run` mends what was harmed."""

import json
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lth_sweep.cli import main
from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.orchestration.evidence import load
from lth_sweep.orchestration.plan import plan
from lth_sweep.orchestration.records import read
from lth_sweep.sweepfile.load import load_spec
from tests.orchestration.specs import trial
from tests.sweepfile.test_mutations import MUTATIONS
from tests.tracking.sweeps import store

SWEEP = (
    trial("whole", hidden="[8]", steps=20, levels=2, seeds=1)
    + """\
space:
  rate: {between: [0.3, 0.6]}
objective: {minimize: params, match: {margin: 0.9}}
search: {sampler: random, trials: 3}
stop: {race: null, hopeless: false, patience: null}
verify: {top: 1, seeds: 2, controls: [reinit]}
"""
)
FILES = [
    "whole/records/00?.jsonl", "whole/optuna.db", "whole/sweep.yaml", "whole/sweep.json", "whole/verification.json",
    "whole/sweep.origin", "whole/sweep-id", "whole/sweep-id.copy", "whole/levels.parquet", "whole/trials.parquet",
    "whole/lock", "stages/??/*/*/tensors.safetensors", "stages/??/*/*/stage.json", "mlflow.db",
]  # fmt: skip
COMMANDS = [
    ["status", "whole"],
    ["best", "whole"],
    ["report", "whole"],
    ["export", "whole", "--formats", "safetensors"],
]


def flip(file: Path, draw: random.Random) -> None:
    content = bytearray(file.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(7)
    file.write_bytes(content)


def truncate(file: Path, draw: random.Random) -> None:
    os.truncate(file, draw.randrange(file.stat().st_size))


def garble(file: Path, draw: random.Random) -> None:
    content = bytearray(file.read_bytes())
    at = draw.randrange(len(content))
    content[at : at + draw.randrange(200)] = draw.randbytes(draw.randrange(200))
    file.write_bytes(content)


def remove(file: Path, draw: random.Random) -> None:
    file.unlink()


HARMS: list[Callable[[Path, random.Random], None]] = [flip, truncate, garble, remove]


@dataclass
class Whole:
    """A sweep that is finished, and what came of it."""

    folder: Path
    results: Any
    best: Any


def results(runs: Path) -> Any:
    trials = [(trial.number, dict(trial.picks), trial.ending, trial.outcome, trial.reason,
               [record.result() for level in trial.levels for record in level])
              for trial in read(runs / "whole")]  # fmt: skip
    return trials, load(runs / "whole")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("damage")
    (folder / "whole.yaml").write_text(SWEEP)
    assert main(["run", str(folder / "whole.yaml"), "--runs", str(folder / "runs"), "--serial"]) == 0
    found = results(folder / "runs")
    assert [trial[2] for trial in found[0]] == ["finished"] * 3
    assert len(found[1]) == 1
    return Whole(folder, found, None)


def share(count: int, stride: int) -> list[object]:
    return [pytest.param(n, marks=[] if n % stride == 0 else pytest.mark.slow) for n in range(count)]


@pytest.mark.parametrize("seed", share(200, 27))
def test_a_harmed_run_folder(whole: Whole, tmp_path: Path, capsys: pytest.CaptureFixture[str], seed: int) -> None:
    draw, runs, harmed = random.Random(seed), tmp_path / "runs", list[Path]()
    shutil.copytree(whole.folder / "runs", runs)
    first = divmod(seed, len(FILES))  # each harm to each kind of file
    for n in range(1 if first[0] < len(HARMS) else draw.randint(1, 4)):
        pattern = FILES[first[1]] if first[0] < len(HARMS) else draw.choice(FILES)
        harm = HARMS[first[0]] if first[0] < len(HARMS) else draw.choice(HARMS)
        files = [file for file in sorted(runs.glob(pattern)) if file.stat().st_size]
        if files:
            file = draw.choice(files)
            harm(file, draw)
            harmed.append(file)
            print(n, harm.__name__, file.relative_to(runs))

    def command(*arguments: str) -> tuple[int, str, str]:
        code = main([*arguments, "--runs", str(runs)])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return code, captured.out, captured.err

    capsys.readouterr()
    codes = {tuple(arguments): command(*arguments)[0] for arguments in COMMANDS}
    assert set(codes.values()) <= {0, 1, 2}
    code, output, errors = command("best", "whole", "--json")
    if code == 0 and not errors:
        best = json.loads(output)
        verified, trials = best.pop("verification") is not None, results(runs)[0]
        if verified and len(trials) == 3 and all(trial[2] for trial in trials):
            original = json.loads(best_of(whole, capsys))
            original.pop("verification")
            assert best == original

    code, output, errors = command("run", str(whole.folder / "whole.yaml"), "--serial")
    names = {file.name for file in harmed}
    if {"sweep.yaml", "sweep.json"} <= names and code == 2:
        assert "put one of the two back" in errors
        return
    assert code == 0
    assert results(runs) == whole.results
    for arguments in COMMANDS:
        assert command(*arguments)[::2] == (0, ""), arguments
    if "mlflow.db" in names:  # which has no checksums: a value may have become another
        assert errors == "" or errors.startswith("MLflow")
    else:
        assert errors == ""
    if {"sweep-id", "sweep-id.copy"} <= names:  # then MLflow cannot know it for the same sweep
        return
    if errors == "" or "a new one gets all" in errors:
        assert runs_in_mlflow(runs) == ["0", "1", "2", "sweep"]


def best_of(whole: Whole, capsys: pytest.CaptureFixture[str]) -> str:
    if whole.best is None:
        capsys.readouterr()
        assert main(["best", "whole", "--json", "--runs", str(whole.folder / "runs")]) == 0
        whole.best = capsys.readouterr().out
    return whole.best


def runs_in_mlflow(runs: Path) -> list[str]:
    import mlflow

    client = mlflow.MlflowClient(store(runs))
    experiment = client.get_experiment_by_name("whole")
    assert experiment
    found = client.search_runs([experiment.experiment_id])
    assert {run.info.status for run in found} == {"FINISHED"}
    return sorted(run.data.tags.get("lth.trial_number", "sweep") for run in found)


@pytest.mark.parametrize("seed", share(500, 25))
def test_a_mutated_sweep_file(whole: Whole, tmp_path: Path, capsys: pytest.CaptureFixture[str], seed: int) -> None:
    """Where it can be run, and would not take long, it is: on the folder of the finished sweep."""
    draw, lines = random.Random(seed), SWEEP.splitlines()
    for _ in range(draw.randint(1, 3)):
        if lines:
            draw.choice(MUTATIONS)(draw, lines)
    file, runs = tmp_path / "mutated.yaml", tmp_path / "runs"
    file.write_bytes("\n".join(lines).encode(errors="replace"))
    code = main(["plan", str(file)])
    assert code in (0, 2)
    if code:
        assert capsys.readouterr().err.startswith(f"lth-sweep: {file}")
        return
    spec = load_spec(file)
    try:
        planned = plan(spec, 2)
    except ConfigError:
        return
    if planned.steps + planned.verification_steps > 2000:
        return
    shutil.copytree(whole.folder / "runs", runs)
    code = main(["run", str(file), "--runs", str(runs), "--serial"])
    assert code in (0, 1, 2)
    assert main(["status", "whole", "--runs", str(runs)]) == 0
    kept = {trial[0]: trial for trial in results(runs)[0]}
    if code == 2 or spec.name != "whole":
        assert results(runs) == whole.results
    more = code == 0 and spec.base.get("levels", 0) > 2  # then a rule that was added may end a trial that goes on
    for number, _, ending, _, _, records in whole.results[0]:
        assert kept[number][2] == ending or more
        assert set(records) <= set(kept[number][5])
