"""How a network is trained, dense or not: the part of a recipe."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch

from lth_sweep.lottery.common.duration import Clock, Duration
from lth_sweep.lottery.common.errors import ConfigError, require
from lth_sweep.lottery.training.augmentation import Augment, NoAugment
from lth_sweep.lottery.training.averaging import Average, NoAverage
from lth_sweep.lottery.training.optimizers import Adam, Optimizer
from lth_sweep.lottery.training.schedules import Constant, Schedule

DEFAULT_LENGTH = Duration(600, "steps")
DEFAULT_EVALUATE = Duration(200, "steps")


@dataclass(frozen=True)
class Train:
    """How a network is trained, dense or not."""

    length: Duration = DEFAULT_LENGTH
    """Of a whole run, from the initial weights."""
    batch: int = 60
    """Examples a step. The last, smaller batch of an epoch is left out; each epoch has an order of its own."""
    accumulate: int = 1
    """Parts that a batch is computed in, one after the other, where it is too large for the memory: their gradients are
    added up to that of the whole batch. Where a network looks at several examples at once, as BatchNorm does, it looks
    at those of a part."""
    optimizer: Optimizer = field(default_factory=Adam)
    lr_factors: dict[str, float] = field(default_factory=dict)
    """Factors on the learning rate, by the name of a parameter or of a layer, or a pattern such as "head*"; the first
    that fits counts."""
    decay: Literal["all", "weights"] = "all"
    """What the optimizer's weight decay is for: all parameters, or weights alone, so neither biases and others of one
    dimension, nor those of normalisation layers."""
    clip_norm: float | None = None
    """The most that the norm of the gradient, of all parameters together, may be: a larger one is scaled down (Pascanu
    et al. 2013). What is pruned does not count."""
    schedule: Schedule = field(default_factory=Constant)
    augment: Augment = field(default_factory=NoAugment)
    average: Average = field(default_factory=NoAverage)
    """An average of the weights over the steps, which is then what is evaluated and exported."""
    precision: Literal["float32", "bf16", "float16"] = "float32"
    """Of the arithmetic; weights are float32. In float16, on a GPU alone, losses are scaled (Micikevicius et al. 2018,
    section 3.2) as torch.amp.GradScaler does: a step whose gradient is not finite changes nothing but the scale."""
    evaluate: Duration = DEFAULT_EVALUATE
    """Distance of the points of the training curve."""

    def __post_init__(self) -> None:
        require(self.length.amount > 0, "length", "must be above 0")
        require(self.length.unit != "%", "length", "must be in steps or epochs")
        require(self.batch >= 1, "batch", f"must be 1 or more, but got {self.batch}")
        require(self.evaluate.amount > 0, "evaluate", "must be above 0")
        require(self.accumulate >= 1 and self.batch % self.accumulate == 0, "accumulate", "must be 1 or more, and the "
                f"batch of {self.batch} a multiple of it, but got {self.accumulate}")  # fmt: skip
        require(self.clip_norm is None or self.clip_norm > 0, "clip_norm", f"must be above 0, but got {self.clip_norm}")
        for pattern, factor in self.lr_factors.items():
            require(factor > 0, f"lr_factors.{pattern}", f"must be above 0, but got {factor:g}; what is not to be "
                    "trained has requires_grad = False")  # fmt: skip
        if self.decay != "all":
            decays = "weight_decay" in self.optimizer.make([torch.zeros(1, requires_grad=True)]).defaults
            require(decays, "decay", f"optimizer {self.optimizer.kind} has no weight_decay; leave it at all")

    def check_device(self, device: str) -> None:
        """Raise ConfigError where this device cannot train so."""
        if self.precision == "float16" and not device.startswith("cuda"):
            raise ConfigError("float16 needs a GPU: set resources.gpu, or use bf16 or float32", "train.precision")

    @property
    def extras(self) -> dict[str, Any]:
        """Options that stages of early versions know nothing of, where they are not at their defaults. How masks are
        drawn is no part of training."""
        names = ("accumulate", "lr_factors", "decay", "clip_norm", "average")
        found = {name: getattr(self, name) for name in names if getattr(self, name) != getattr(_PLAIN, name)}
        if self.lr_factors:
            found["lr_factors"] = [*self.lr_factors.items()]  # their order counts
        return found | ({"average": replace(self.average, prune=False)} if self.average.prune else {})  # type: ignore[type-var]

    def clock(self, examples: int) -> Clock:
        """The clock of a run on so many training examples. Raises ConfigError where they are less than a batch, or a
        duration less than a step."""
        require(self.batch <= examples, "batch",
                f"must be at most the number of training examples, {examples}, but got {self.batch}")  # fmt: skip
        per_epoch = examples // self.batch
        clock = Clock(per_epoch, self.length.to_steps(per_epoch))
        require(clock.length >= 1, "length", f"must be at least one step, but got {self.length}")
        evaluate = clock.steps(self.evaluate)
        require(evaluate >= 1, "evaluate", f"must be one step or more, but got {self.evaluate}")
        return clock


_PLAIN = Train()
