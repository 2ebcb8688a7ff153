from collections.abc import Callable
from pathlib import Path

import pytest

from lth_sweep.sweepfile.load import load_spec
from lth_sweep.sweepfile.spec import SweepSpec

BASE = """\
name: small
trial:
  data: digits
  model: {kind: mlp, hidden: [20]}
  train:
    length: 600 steps
    batch: 60
    optimizer: {kind: adam, lr: 0.0012}
  levels: 3
space:
  rate: {between: [0.2, 0.6]}
  rewind:
    choice:
      init: init
      early: {kind: step, at: 50 steps}
  granularity: {choice: [weight, unit]}
"""

Load = Callable[[str], SweepSpec]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Writes the text to a file and loads that."""

    def write_and_load(text: str) -> SweepSpec:
        file = tmp_path / "sweep.yaml"
        file.write_text(text, encoding="utf-8")
        return load_spec(file)

    return write_and_load
