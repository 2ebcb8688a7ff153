"""Real, small sweeps, logged to a real server."""

from pathlib import Path

from lth_sweep.commands.run import attach_report
from lth_sweep.orchestration.running import run_sweep
from lth_sweep.orchestration.tickets import best_ticket
from lth_sweep.sweepfile.load import load_spec
from lth_sweep.sweepfile.spec import SweepSpec
from lth_sweep.tracking import MlflowListener
from tests.tracking.sweeps import fail

SWEEP = """\
name: {name}
trial:
  data: digits
  model: {{kind: mlp, hidden: [24, 16]}}
  train: {{length: 60 steps, optimizer: {{kind: adam, lr: 0.005}}}}
  levels: 2
  seeds: 2
  granularity: unit
space: {{rate: {{choice: [0.3, 0.4]}}}}
objective: {{match: {{margin: 0.9}}}}
search: {{sampler: grid, trials: {trials}}}
stop: {{race: null, hopeless: false}}
verify: {{top: {top}, seeds: 2, controls: []}}
tracking: {{uri: "{uri}"}}
"""


def sweep(folder: Path, name: str, uri: str, trials: int = 1, top: int = 1) -> SweepSpec:
    (folder / f"{name}.yaml").write_text(SWEEP.format(name=name, uri=uri, trials=trials, top=top))
    return load_spec(folder / f"{name}.yaml")


def run(spec: SweepSpec, runs: Path, bare: bool = True) -> MlflowListener:
    """With the report and the figures, unless it is `bare`."""
    listener = MlflowListener(fail, attach=None if bare else attach_report, ticket=best_ticket)
    assert run_sweep(spec, runs, serial=True, listeners=[listener]).ending == "finished"
    assert listener.missing == []
    return listener
