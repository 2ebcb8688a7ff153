"""A whole sweep of each case, from its file to the exported ticket."""

import json
from pathlib import Path

import pytest

from lth_sweep.cli import main
from tests.cases.table import CASES, HERE, Case

SWEEP = """
name: case
trial:
  data: {{kind: "{data}"}}
  model: {model}
  train: {{length: 60 steps, batch: 32, optimizer: {{kind: adam, lr: 0.005, weight_decay: 0.0001}}, evaluate: 60 steps}}
  rate: 0.4
  levels: 3
  seeds: 1
{prunable}
space:
  granularity: {{choice: {{{choice}}}}}
objective: {{match: {{margin: 0.3}}}}
search: {{trials: 3, sampler: {{kind: grid, shuffle: false}}}}
stop: {{patience: null, race: null, hopeless: false}}
verify: {{top: 1, seeds: 2, controls: []}}
"""
GRANULARITIES = {"w": "weight", "u": "unit", "c": "{kind: unit, coupled: true}"}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_sweep(case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                 monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.syspath_prepend(str(Path.cwd()))
    monkeypatch.chdir(tmp_path)
    choice = ", ".join(f"{name}: {one}" for name, one in GRANULARITIES.items())
    model = json.dumps({"kind": f"{HERE}.{case.module}:{case.name}", **case.options})
    prunable = f"  prunable: {json.dumps(dict(case.prunable))}" if case.prunable else ""
    sweep = SWEEP.format(data=f"{HERE}.data:{case.data}", model=model, prunable=prunable, choice=choice)
    Path("case.yaml").write_text(sweep)
    assert main(["plan", "case.yaml"]) == 0, capsys.readouterr().err
    assert main(["run", "case.yaml", "--serial"]) == 0, capsys.readouterr().err
    capsys.readouterr()
    assert main(["best", "case", "--json"]) == 0
    best = json.loads(capsys.readouterr().out)
    assert best["verification"]["exported"]["params"] > 0
    for level in (0, 3):
        done = main(["export", "case", "--trial", "0", "--level", str(level), "--json"])
        printed = json.loads(capsys.readouterr().out)
        assert (done, [*printed["failed"]]) == ((1, ["pt2"]) if case.no_pt2 else (0, []))
        assert not any("\n" in reason for reason in printed["failed"].values())
