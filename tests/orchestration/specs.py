"""Sweeps of simulated trials."""

from dataclasses import replace
from pathlib import Path

from lth_sweep.spec.sweep import Axis, Between, Choice, Resources, Search, SweepSpec
from tests.orchestration.simulated import DIES, DIVERGES, GOOD, RAISES

RATE = Axis("rate", Between(0.2, 0.6))
TROUBLE = Axis(
    "train.batch",
    Choice({**{f"good {n}": GOOD for n in range(37)}, "diverges": DIVERGES, "raises": RAISES, "dies": DIES}),
)
"""40 trials by grid."""


def sweep(trials: int = 6, *, space: tuple[Axis, ...] = (RATE,), cpu: float = 1, **search: object) -> SweepSpec:
    return SweepSpec(
        name="simulated",
        base={"levels": 8, "seeds": 2},
        space=space,
        search=replace(Search(sampler="random", trials=trials), **search),  # type: ignore[arg-type]
        resources=Resources(cpu=cpu),
        source=Path(__file__),
        text="name: simulated\n",
    )
