"""How long: "600 steps", "20 epochs", or "20%" of a training run."""

import re
from dataclasses import dataclass
from typing import Literal, Self

from lth_sweep.lottery.common.errors import ConfigError

_PATTERN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(steps?|epochs?|%)\s*")


@dataclass(frozen=True)
class Duration:
    """An amount with a unit. A step is one optimizer step. It becomes a number of steps in `to_steps`, nowhere else."""

    amount: float
    unit: Literal["steps", "epochs", "%"]

    def __post_init__(self) -> None:
        if self.amount < 0:
            raise ConfigError(f"a duration cannot be negative, but got {self.amount:g} {self.unit}")
        if self.unit == "steps" and self.amount != int(self.amount):
            raise ConfigError(f"steps must be a whole number, but got {self.amount:g}")
        if self.unit == "%" and self.amount > 100:
            raise ConfigError(f"a share must be between 0% and 100% inclusive, but got {self.amount:g}%")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "600 steps", "1 epoch", "1.5 epochs" or "20%"."""
        match = _PATTERN.fullmatch(text)
        if not match:
            raise ConfigError(f'expected a duration such as "600 steps", "20 epochs" or "20%", but got {text!r}')
        unit = match[2] if match[2] == "%" else match[2].rstrip("s") + "s"
        return cls(float(match[1]), unit)  # type: ignore[arg-type]

    def to_steps(self, steps_per_epoch: int, length: int | None = None) -> int:
        """Optimizer steps, rounded to the nearest; `length` (steps of the whole run) is what a share is taken of."""
        if self.unit == "steps":
            return int(self.amount)
        if self.unit == "epochs":
            return int(self.amount * steps_per_epoch + 0.5)
        if length is None:
            raise ConfigError(f"{self} is a share, and there is no length here to take a share of")
        return int(self.amount / 100 * length + 0.5)

    def __str__(self) -> str:
        amount = f"{self.amount:.9f}".rstrip("0").rstrip(".")  # not "1.23457e+06", which is another number
        return f"{amount}%" if self.unit == "%" else f"{amount} {self.unit}"


@dataclass(frozen=True)
class Clock:
    """Turns the durations of one training run into steps: `per_epoch` steps an epoch, `length` steps in all."""

    per_epoch: int
    length: int

    def steps(self, duration: Duration) -> int:
        return duration.to_steps(self.per_epoch, self.length)
