"""What a trial reports: one record per level and seed, plain numbers only."""

import dataclasses
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any, Self

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.task import Metric


@dataclass(frozen=True)
class CurvePoint:
    """One point of a training curve, after `step` optimizer steps of the run."""

    step: int
    train_loss: float
    """Mean over the steps since the point before."""
    metrics: Mapping[str, float]
    """On the validation split: those of the task, and `loss`."""

    def to_json(self) -> dict[str, Any]:
        return {"step": self.step, "train_loss": self.train_loss, **self.metrics}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        metrics = {name: value for name, value in fields.items() if name not in ("step", "train_loss")}
        return cls(fields["step"], fields["train_loss"], metrics)


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
    """Of the whole network: params (kept weights, and what else is left), flops (of one input, 2 per multiply-add, with
    weights as far as they are kept), bytes (of the stored ticket). Of level 0: of all there is."""
    metrics: dict[str, float]
    """Those of the task and `loss`, on the validation split, and on the training split with `train_` before their
    names; NaN where training diverged. constant: 1 where the network says the same of all examples. effective_density
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
        return {**dataclasses.asdict(self), "curve": [point.to_json() for point in self.curve]}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """Raises ConfigError for what another version of this package has written."""
        known = {one.name: one.default is dataclasses.MISSING for one in dataclasses.fields(cls)}
        if more := fields.keys() - known:
            raise ConfigError(f"a level has fields that are not known here: {', '.join(sorted(more))}")
        if less := {name for name, needed in known.items() if needed} - fields.keys():
            raise ConfigError(f"a level lacks the fields {', '.join(sorted(less))}")
        return cls(**{**fields, "curve": tuple(map(CurvePoint.from_json, fields["curve"]))})

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
            tuple(tuple(point.to_json().items()) for point in self.curve),
            self.stage,
        )


class Level(tuple[LevelRecord, ...]):
    """The records of one level, one per seed, in the order of the trial's seeds."""

    __slots__ = ()

    @property
    def number(self) -> int:
        """0 is the dense network."""
        return self[0].level

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(record.seed for record in self)

    @property
    def density(self) -> float:
        """Mean over the seeds."""
        return fmean(record.density for record in self)

    @property
    def finished(self) -> bool:
        """Whether all were trained to their end."""
        return all(record.finished for record in self)

    @property
    def is_finite(self) -> bool:
        """Whether all metrics are numbers; if not, training has diverged."""
        return not any(math.isnan(value) for record in self for value in record.metrics.values())

    @property
    def is_constant(self) -> bool:
        """Whether a network of it says the same of all examples: it has learnt nothing."""
        return any(record.metrics.get("constant") for record in self)

    @property
    def steps_trained(self) -> int:
        return sum(record.steps_trained for record in self)

    @property
    def steps_reused(self) -> int:
        return sum(record.steps_reused for record in self)

    def mean(self, metric: str) -> float:
        """Of a metric, over the seeds."""
        return fmean(record.metrics[metric] for record in self)

    def spread(self, metric: str) -> float:
        """Of a metric, sample standard deviation over the seeds; NaN for one seed, and where one is not finite."""
        values = [record.metrics[metric] for record in self]
        return stdev(values) if len(self) > 1 and all(map(math.isfinite, values)) else math.nan

    def size(self, name: str) -> float:
        """Of a size, mean over the seeds."""
        return fmean(record.sizes[name] for record in self)

    @property
    def latency(self) -> float | None:
        """Milliseconds, mean over the seeds; None where it was not measured."""
        found = [record.latency for record in self if record.latency is not None]
        return fmean(found) if len(found) == len(self) else None

    def of(self, seeds: Collection[int]) -> "Level":
        """The records of these seeds alone."""
        return Level(record for record in self if record.seed in seeds)

    def gains(self, dense: Iterable[LevelRecord], metric: Metric) -> list[float]:
        """By pairs, in the order of the seeds: how much better than the dense network of the same seed; NaN where there
        is none."""
        reference = {record.seed: record.metrics[metric.name] for record in dense}
        return [metric.gain(record.metrics[metric.name], reference.get(record.seed, math.nan)) for record in self]
