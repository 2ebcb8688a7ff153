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


def block(language: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert len(found) == 1
    return str(found[0])


def test_a_users_own_model_and_data_take_fifteen_lines_and_run(tmp_path: Path) -> None:
    module, sweep = block("python"), block("yaml")
    assert len([line for line in module.splitlines() if line.strip() and not line.startswith("#")]) <= 15
    (tmp_path / "shapes.py").write_text(module)
    (tmp_path / "shapes.yaml").write_text(sweep)
    command = [sys.executable, "-m", "lth_sweep.cli", "run", "shapes.yaml", "--trials", "2", "--serial", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert sum(result["trials"].values()) == 2
    assert "failed" not in result["trials"]


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
