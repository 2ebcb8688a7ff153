"""What the README shows works as it stands there."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from lth_sweep.cli import parser
from lth_sweep.lottery.network.models import Mlp
from lth_sweep.sweepfile.load import load_spec

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(title: str) -> tuple[str, str]:
    """The module and the sweep file of a section."""
    section = README.split(f"## {title}\n")[1].split("\n## ")[0]
    [module], [sweep] = (re.findall(rf"```{name}\n(.*?)```", section, re.DOTALL) for name in ("python", "yaml"))
    return module, sweep


def lines(text: str) -> int:
    return len([line for line in text.splitlines() if line.strip() and not line.startswith("#")])


def test_a_users_own_model_and_data_take_fifteen_lines_and_run(tmp_path: Path) -> None:
    module, sweep = blocks("Your own model and data")
    assert lines(module) <= 15
    run("shapes", module, sweep, tmp_path)


def test_a_users_own_loss_metric_splits_collate_and_weights_take_25_lines(tmp_path: Path) -> None:
    module, sweep = blocks("Your own loss, metric, splits, batches and start")
    assert lines(module) + lines(sweep) <= 25
    torch.save(Mlp((32,)).build(torch.zeros(2, 12), 1).state_dict(), tmp_path / "start.pt")
    best = run("walks", module, sweep, tmp_path)["best"]
    assert best["metric"] == "pinball"
    assert "R2Score" in best["dense"]["metrics"]


def run(name: str, module: str, sweep: str, tmp_path: Path) -> dict[str, Any]:
    (tmp_path / f"{name}.py").write_text(module)
    (tmp_path / f"{name}.yaml").write_text(sweep)
    command = [sys.executable, "-m", "lth_sweep.cli", "run", f"{name}.yaml", "--trials", "2", "--serial", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert sum(result["trials"].values()) == 2
    assert "failed" not in result["trials"]
    return dict(result)


def test_the_sweep_file_that_is_shown_loads(tmp_path: Path) -> None:
    text = README.split("## A sweep file")[1].split("\n\n")[1]
    (tmp_path / "mine.yaml").write_text("\n".join(line.removeprefix("    ") for line in text.splitlines()))
    assert load_spec(tmp_path / "mine.yaml").name == "mine"


def test_every_command_is_documented_and_exists() -> None:
    [commands] = [action.choices for action in parser()._subparsers._group_actions if action.choices]  # type: ignore[union-attr]
    documented = set(re.findall(r"^\| `lth-sweep ([a-z]+)", README, re.MULTILINE))
    assert documented == set(commands)


@pytest.mark.parametrize("path", re.findall(r"\]\(([^)#:]+)\)", README))
def test_links_lead_somewhere(path: str) -> None:
    assert (ROOT / path).exists()
