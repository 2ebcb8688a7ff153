"""A small version of benchmarks/verdict.py: the promise, and what validation alone would have said."""

import importlib.util
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "verdict.py"


@pytest.fixture(scope="module")
def benchmark() -> Any:
    spec = importlib.util.spec_from_file_location("benchmark_verdict", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_false_matches_are_as_rare_as_promised_where_every_ticket_is_just_beyond_the_margin(benchmark: Any) -> None:
    """With one candidate exactly as often as promised; with two, at most. Three standard errors either way."""
    n, edge = 1000, (-0.010001, -0.010001)
    error = 3 * math.sqrt(0.05 * 0.95 / n)
    one = benchmark.simulate(benchmark.World("", top=1, gaps=edge), n)
    assert abs(benchmark.false_matches(one) / n - 0.05) < error
    two = benchmark.simulate(benchmark.World("", top=2, gaps=edge), n)
    assert 0.02 < benchmark.false_matches(two) / n < 0.05 + error


def test_validation_alone_is_too_optimistic(benchmark: Any) -> None:
    found = benchmark.simulate(benchmark.World(""), 500)
    assert sum(one.searched - one.true for one in found) / 500 > 0.002
    assert sum(one.true < -0.01 for one in found) / 500 > 0.1
    assert benchmark.false_matches(found) / 500 < 0.02


def test_the_script_prints_each_world() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "--sweeps", "10"], capture_output=True, text=True, check=True)
    assert done.stdout.count("(n = 10 sweeps)") == 8
    assert done.stdout.count("points too optimistic") == 8
