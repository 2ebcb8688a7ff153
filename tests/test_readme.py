"""What the README shows works as it stands there."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lth_sweep.cli import parser
from lth_sweep.sweepfile.load import load_spec

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def block(language: str, section: str) -> str:
    text = README.split(f"\n## {section}\n")[1].split("\n## ")[0]
    [found] = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return str(found)


def lines(text: str) -> int:
    return len([line for line in text.splitlines() if line.strip() and not line.startswith("#")])


def run(folder: Path, sweep: str) -> None:
    """The sweep of this name, with two trials."""
    command = [sys.executable, "-m", "lth_sweep.cli", "run", f"{sweep}.yaml", "--trials", "2", "--serial", "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert sum(result["trials"].values()) == 2
    assert "failed" not in result["trials"]


OWN = "Your own model and data"
MORE = "Your own loss, metric, splits and padding"


def test_a_users_own_model_and_data_take_fifteen_lines_and_run(tmp_path: Path) -> None:
    module = block("python", OWN)
    assert lines(module) <= 15
    (tmp_path / "shapes.py").write_text(module)
    (tmp_path / "shapes.yaml").write_text(block("yaml", OWN))
    run(tmp_path, "shapes")


def test_a_users_own_loss_metric_splits_collate_and_pretrained_file_take_25_lines_and_run(tmp_path: Path) -> None:
    module, sweep = block("python", MORE), block("yaml", MORE)
    assert lines(module) + lines(sweep) <= 25
    (tmp_path / "shapes.py").write_text(block("python", OWN))
    (tmp_path / "mine.py").write_text(module)
    (tmp_path / "mine.yaml").write_text(sweep)
    save = 'import torch, shapes; torch.save(shapes.Net().state_dict(), "shapes.pt")'
    subprocess.run([sys.executable, "-c", save], cwd=tmp_path, check=True)
    run(tmp_path, "mine")


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
