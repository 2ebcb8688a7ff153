"""Each benchmark runs, and prints its ratio. What the ratio is, is for people to look at."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
NUMBER = r"\d+\.\d+"


@pytest.mark.parametrize(
    ("script", "ratios"),
    [
        ("loop", ["ours / barest", "ours / plain", "ours / common"]),
        ("orchestration", ["ray / serial"]),
        ("replicas", [f"lenet {precision} 2 together / one by one" for precision in ("float32", "bf16")]),
        pytest.param("sweep", ["by hand / ours"], marks=pytest.mark.slow),
    ],
)
def test_quick(script: str, ratios: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / f"{script}.py"), "--quick"],
        capture_output=True, text=True, cwd=tmp_path, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    printed = re.findall(rf"^ratio (.+): {NUMBER} \({NUMBER} to {NUMBER}\)", done.stdout, re.MULTILINE)
    assert printed == ratios
    assert not any(tmp_path.iterdir())  # all traces go to temporary folders
