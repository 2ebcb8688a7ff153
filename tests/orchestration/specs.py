"""Sweeps of simulated trials."""

from dataclasses import replace
from pathlib import Path

from lth_sweep.sweepfile.axis import Axis, Between, Choice
from lth_sweep.sweepfile.samplers import SAMPLERS
from lth_sweep.sweepfile.spec import Objective, Resources, Search, Stop, SweepSpec
from tests.orchestration.simulated import DIES, DIVERGES, GOOD, RAISES

RATE = Axis("rate", Between(0.2, 0.6))
TROUBLE = Axis(
    "train.batch",
    Choice({**{f"good {n}": GOOD for n in range(37)}, "diverges": DIVERGES, "raises": RAISES, "dies": DIES}),
)
"""40 trials by grid."""

PATIENT = Stop(race=None, hopeless=False, duplicates=False)
"""Without the rules that look at other trials, whose records depend on which trials run at the same time."""


def sweep(trials: int = 6, *, space: tuple[Axis, ...] = (RATE,), cpu: float = 1, sampler: str = "random",
          stop: Stop = PATIENT, minimize: str | tuple[str, ...] = "params", **search: object) -> SweepSpec:  # fmt: skip
    return SweepSpec(
        name="simulated",
        base={"levels": 8, "seeds": 2},
        space=space,
        search=replace(Search(sampler=SAMPLERS[sampler](), trials=trials), **search),  # type: ignore[arg-type]
        stop=stop,
        objective=Objective(minimize),  # type: ignore[arg-type]
        resources=Resources(cpu=cpu),
        source=Path(__file__),
        text="name: simulated\n",
    )


SIMULATED = """\
name: NAME
trial: {levels: 3, seeds: 2}
space: {rate: {between: [0.2, 0.6]}}
search: {sampler: random, trials: 3}
stop: {race: null, hopeless: false}
verify: {top: 0}
"""
"""The same as a sweep file."""


def trial(name: str, *, hidden: str, steps: int, levels: int, seeds: int) -> str:
    """The beginning of a sweep file: up to the end of the trial's section, where more of its fields can be added."""
    return f"""\
name: {name}
trial:
  data: digits
  model: {{kind: mlp, hidden: {hidden}}}
  train: {{length: {steps} steps, optimizer: {{kind: adam, lr: 0.005}}}}
  levels: {levels}
  seeds: {seeds}
"""
