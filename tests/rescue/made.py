"""A small patient, and records as if one had been run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lth_sweep.lottery.probes.twins import ALPHAS, StabilityRecord
from lth_sweep.lottery.records import Level, LevelRecord
from lth_sweep.lottery.task import Metric
from lth_sweep.rescue.examine import Examination
from lth_sweep.sweepfile.load import load_spec
from lth_sweep.sweepfile.objective import Match, Objective
from lth_sweep.sweepfile.spec import SweepSpec

LEVELS, LENGTH, SEEDS = 2, 40, 2
PATIENT = f"""\
name: poor
trial:
  model: {{kind: mlp, hidden: [40, 20]}}
  train: {{length: {LENGTH} steps, optimizer: {{kind: adam, lr: 0.01}}, evaluate: 40 steps}}
  rewind: reinit
  rate: 0.6
  levels: {LEVELS}
  seeds: {SEEDS}
space: {{rate: {{choice: [0.6]}}}}
objective: {{match: {{margin: 0.005}}}}
verify: {{top: 0}}
"""
LADDER = (1 + LEVELS) * LENGTH * SEEDS


def spec_of(folder: Path, text: str = PATIENT) -> SweepSpec:
    file = folder / "poor.yaml"
    file.write_text(text)
    return load_spec(file)


WEIGHTS = {"fc1": 6400, "fc2": 5000, "output": 500}


RMSE = Metric("rmse", higher_is_better=False, format="number")
POINT = Objective(match=Match(margin=0.01))
ERRORS = Objective(match=Match(margin=0.1), metric=RMSE)


def level(number: int, values: Sequence[float], density: float = 1.0, first: int = 0, stage: str = "",
          metric: str = "accuracy", layer_density: dict[str, float] | None = None, **more: float) -> Level:  # fmt: skip
    """One record a seed, from seed `first` on."""
    return Level(
        LevelRecord(
            trial="made", level=number, seed=seed, density=density,
            layer_density=layer_density or dict.fromkeys(WEIGHTS, density),
            sizes={"params": round(12000 * density), "flops": 1, "bytes": 1},
            metrics={metric: value, "loss": 0.1, f"train_{metric}": 0.99, "train_loss": 0.1, **more},
            curve=(), stage=f"{stage or number}-{seed}/300", steps_trained=300, steps_reused=0,
        )
        for seed, value in enumerate(values, first)
    )  # fmt: skip


def seen(ticket: Level, dense: Level | None = None, objective: Objective = POINT, **more: Any) -> Examination:
    """A ticket beside a dense network of 97%, on 1,000 examples; the margin is 1 point."""
    fields: dict[str, Any] = {"examples": 1000, "said": "class", "weights": WEIGHTS, "units": 150, "rewinds_to": 0}
    fields |= more
    fields.setdefault("connected", tuple(record.density for record in ticket))
    return Examination((dense or level(0, [0.97] * len(ticket)), ticket), objective, **fields)


def twin(step: int, barrier: float, seed: int = 0) -> StabilityRecord:
    """Both ends without an error, and the highest on the line between them."""
    errors = tuple(barrier if alpha == ALPHAS[10] else 0.0 for alpha in ALPHAS)
    return StabilityRecord(step, seed, 1.0, errors, errors, 300)
