"""How a network is trained, dense or not: the part of a recipe."""

from dataclasses import dataclass, field
from typing import Literal

from lth_sweep.lottery.common.duration import Clock, Duration
from lth_sweep.lottery.common.errors import require
from lth_sweep.lottery.training.augmentation import Augment, NoAugment
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
    optimizer: Optimizer = field(default_factory=Adam)
    schedule: Schedule = field(default_factory=Constant)
    augment: Augment = field(default_factory=NoAugment)
    precision: Literal["float32", "bf16"] = "float32"
    evaluate: Duration = DEFAULT_EVALUATE
    """Distance of the points of the training curve."""

    def __post_init__(self) -> None:
        require(self.length.amount > 0, "length", "must be above 0")
        require(self.length.unit != "%", "length", "must be in steps or epochs")
        require(self.batch >= 1, "batch", f"must be 1 or more, but got {self.batch}")
        require(self.evaluate.amount > 0, "evaluate", "must be above 0")

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
