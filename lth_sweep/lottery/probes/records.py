"""What a trial reports: one record per level and seed, plain numbers only."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True)
class CurvePoint:
    """One point of a training curve, after `step` optimizer steps of the run."""

    step: int
    train_loss: float
    """Mean over the steps since the point before."""
    accuracy: float
    """On the validation split, as is `loss`."""
    loss: float


@dataclass(frozen=True)
class LevelRecord:
    """One replica at the end of one level."""

    trial: str
    """Digest of the recipe."""
    level: int
    """0 is the dense network."""
    seed: int
    density: float
    """Kept weights / all prunable weights."""
    layer_density: dict[str, float]
    sizes: dict[str, int]
    """params (kept weights, and the biases and normalisation parameters that are left), flops (of one input, 2 per
    multiply-add with a kept weight), bytes (of the stored ticket)."""
    metrics: dict[str, float]
    """accuracy and loss (validation), train_accuracy and train_loss; NaN where training diverged. effective_density
    and, where they can be known, cut_units, dead_units and rare_units: see activity.py. barrier and train_barrier where
    a twin was trained, NaN where its training diverged: see twins.py."""
    curve: tuple[CurvePoint, ...]
    stage: str
    """Where the trained network is: "trajectory digest/step"."""
    steps_trained: int
    """Optimizer steps that were run for this record."""
    steps_reused: int
    """Optimizer steps that this record needed and found in the store."""
    seconds: float = field(compare=False, default=0.0)
    latency: float | None = field(compare=False, default=None)
    """Median milliseconds of the compact network on one batch, where it was measured."""
    memory: int | None = field(compare=False, default=None)
    """Most bytes in use while the level was trained, all its replicas: on a GPU by PyTorch's tensors, else by the
    process; None where that cannot be told."""
    finished: bool = True
    """Whether the network was trained to its end. If not, its metrics are those of the step that the next level's masks
    were drawn at, and it is no ticket that could match."""

    @property
    def place(self) -> tuple[str, int]:
        """`stage` as the store has it: trajectory digest, step."""
        trajectory, _, step = self.stage.partition("/")
        return trajectory, int(step)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Self:
        return cls(**{**fields, "curve": tuple(CurvePoint(**point) for point in fields["curve"])})

    def result(self) -> tuple[Any, ...]:
        """What was found, without what it cost: equal however the trials were scheduled."""
        return (
            self.trial,
            self.level,
            self.seed,
            self.density,
            tuple(self.layer_density.items()),
            tuple(self.sizes.items()),
            tuple(self.metrics.items()),
            self.curve,
            self.stage,
        )


Level = tuple[LevelRecord, ...]
"""The records of one level, one per seed, in the order of the trial's seeds."""
