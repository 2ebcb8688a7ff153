"""The examples: each module is short, and each sweep runs, in small, from its file to an exported ticket."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs.examples import NAMES, PAGE
from lth_sweep import Sweep, load_ticket
from lth_sweep.cli import main
from tests.test_sweeps import mnist_folder

EXAMPLES = Path(__file__).parent.parent / "examples"
MODULES = sorted(EXAMPLES.glob("*.py"))
LINES = 60


def in_small(name: str, folder: Path) -> dict[str, Any]:
    """The sweep of this name: all that it varies, for 40 steps and one level, on few examples."""
    sweep: dict[str, Any] = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())
    trial = sweep["trial"]
    trial["train"] |= {"length": "40 steps", "evaluate": "40 steps", "batch": 16}
    trial |= {"levels": 1, "seeds": 2}
    few: dict[str, dict[str, Any]] = {
        "gpt:Text": {"path": str(PAGE), "context": 16},
        "tagger:Letters": {"path": str(PAGE), "context": 16},
        "table:Friedman": {"n": 300},
        "unet:Shapes": {"n": 100},
        "fashion-mnist": {"limit": 500, "root": str(folder), "download": False},
    }
    data = trial["data"] if isinstance(trial["data"], dict) else {"kind": trial["data"]}
    trial["data"] = data | few.get(data["kind"], {})
    sweep["objective"]["match"]["margin"] = 0.9
    sweep["stop"] = {"patience": None, "race": None, "hopeless": False}
    sweep["verify"] = {"top": 0}
    return sweep


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all, whose database of MLflow takes seconds to make."""
    return tmp_path_factory.mktemp("runs")


@pytest.mark.parametrize("name", NAMES)
def test_an_example_runs_and_its_ticket_is_exported(
    name: str, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path
    monkeypatch.syspath_prepend(str(tmp_path))
    for module in MODULES:
        shutil.copy(module, tmp_path)
    if name == "transfer":
        data = mnist_folder()
        steps = "import transfer; transfer.save_model(transfer.pretrain(5), 'digits.safetensors')"
        monkeypatch.setenv("LTH_SWEEP_DATA", str(data))
        subprocess.run([sys.executable, "-c", steps], cwd=tmp_path, check=True)
    file = tmp_path / f"{name}.yaml"
    file.write_text(yaml.safe_dump(in_small(name, data)))
    assert main(["run", str(file), "--serial", "--runs", str(runs)]) == 0, capsys.readouterr().err
    for trial in Sweep.open(runs / name).records:
        assert trial.ending == "finished", trial.reason
        out = tmp_path / f"ticket-{trial.number}"
        command = ["export", name, "--runs", str(runs), "--trial", str(trial.number), "--level", "1", "--out", str(out)]
        assert main(command) == 0, capsys.readouterr().err
        assert {file.suffix for file in out.iterdir()} >= {".safetensors", ".pt2"}
        load_ticket(out)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.stem)
def test_a_module_is_short_and_asks_nothing_of_this_package(module: Path) -> None:
    text = module.read_text()
    assert len(text.splitlines()) < LINES
    assert "import lth_sweep" not in text


@pytest.mark.parametrize("name", NAMES)
def test_the_page_says_what_each_example_finds(name: str) -> None:
    assert f"<!-- {name} -->\n" in PAGE.read_text()
