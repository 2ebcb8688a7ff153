"""How the learning rate changes over a run, as a factor of its peak."""

import math
from dataclasses import dataclass
from typing import ClassVar

from lth_sweep.lottery.common.duration import Clock, Duration
from lth_sweep.lottery.common.errors import require
from lth_sweep.lottery.common.registry import Strategy

NO_WARMUP = Duration(0, "steps")


class Schedule(Strategy):
    """A family of schedules. All can warm up: the factor rises linearly from 1/warmup to 1 over the first steps."""

    family: ClassVar[str] = "schedule"
    needs_length: ClassVar[bool] = True
    """Whether the factor at a step depends on how long the whole run is, other than by durations among the options,
    which are known in steps; if not, longer runs share the stages. A class says so for itself and no subclass."""
    warmup: Duration

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.needs_length = vars(cls).get("needs_length", True)

    def factor(self, step: int, clock: Clock) -> float:
        """The factor that step number `step` (from 0) trains with."""
        warmup = clock.steps(self.warmup)
        if step < warmup:
            return (step + 1) / warmup
        return self.after_warmup(step, warmup, clock)

    def after_warmup(self, step: int, warmup: int, clock: Clock) -> float:
        raise NotImplementedError


@dataclass(frozen=True)
class Constant(Schedule):
    """The same learning rate throughout."""

    needs_length: ClassVar[bool] = False
    warmup: Duration = NO_WARMUP

    def after_warmup(self, step: int, warmup: int, clock: Clock) -> float:
        return 1.0


@dataclass(frozen=True)
class Step(Schedule):
    """Multiplied by `gamma` at each of the `milestones`."""

    needs_length: ClassVar[bool] = False
    milestones: tuple[Duration, ...] = (Duration(50, "%"), Duration(75, "%"))
    gamma: float = 0.1
    warmup: Duration = NO_WARMUP

    def __post_init__(self) -> None:
        require(self.gamma > 0, "gamma", f"must be above 0, but got {self.gamma:g}")

    def after_warmup(self, step: int, warmup: int, clock: Clock) -> float:
        return self.gamma ** sum(step >= clock.steps(milestone) for milestone in self.milestones)


@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine from 1 down to 0 at the end of the run (Loshchilov & Hutter 2017)."""

    warmup: Duration = NO_WARMUP

    def after_warmup(self, step: int, warmup: int, clock: Clock) -> float:
        progress = (step - warmup) / max(1, clock.length - warmup)
        return 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class Linear(Schedule):
    """A straight line from 1 down to 0 at the end of the run; with `warmup`, as transformers are trained (Devlin et al.
    2018, appendix A.2)."""

    warmup: Duration = NO_WARMUP

    def after_warmup(self, step: int, warmup: int, clock: Clock) -> float:
        return (clock.length - step) / max(1, clock.length - warmup)


SCHEDULES: dict[str, type[Schedule]] = {"constant": Constant, "step": Step, "cosine": Cosine, "linear": Linear}
Schedule.kinds = SCHEDULES
