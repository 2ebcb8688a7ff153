"""Where the next level starts."""

from dataclasses import dataclass
from typing import ClassVar

from lth_sweep.lottery.duration import Clock, Duration
from lth_sweep.lottery.errors import require
from lth_sweep.lottery.registry import Strategy


class Rewind(Strategy):
    """A family of rewind rules."""

    family: ClassVar[str] = "rewind rule"

    def step(self, clock: Clock) -> int:
        """The step of the dense run whose weights, optimizer state and schedule the next level starts from."""
        raise NotImplementedError

    def check(self, clock: Clock) -> None:
        """Raise ConfigError where the rule does not fit a run of this length."""


@dataclass(frozen=True)
class ToInit(Rewind):
    """Back to the initial weights w_0 (Frankle & Carbin 2018)."""

    def step(self, clock: Clock) -> int:
        return 0


@dataclass(frozen=True)
class ToStep(Rewind):
    """Back to the weights w_k of the dense run, k early in training (Frankle et al. 2019)."""

    at: Duration

    def step(self, clock: Clock) -> int:
        return clock.steps(self.at)

    def check(self, clock: Clock) -> None:
        k = self.step(clock)
        require(
            k < clock.length,
            "rewind.at",
            f"must be before the end of training at {clock.length} steps, but {self.at} is step {k}",
        )


REWINDS: dict[str, type[Rewind]] = {"init": ToInit, "step": ToStep}
Rewind.kinds = REWINDS
