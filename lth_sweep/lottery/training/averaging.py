"""Averages of weights over the steps of a run: what is evaluated and exported in their place."""

from dataclasses import dataclass
from typing import Any, ClassVar

from lth_sweep.lottery.common.errors import ConfigError, require
from lth_sweep.lottery.common.registry import Strategy


class Average(Strategy):
    """A family of averages (Polyak & Juditsky 1992). Metrics, curves, twins, tests and exports are of the averaged
    network, and so are the running statistics of BatchNorm and all other floating-point buffers. Training goes on from
    the weights themselves, and it is they that are pruned and rewound. An average starts with the optimizer: a rewind
    to an early step of the dense run takes over that of its first steps."""

    family: ClassVar[str] = "average"
    prune: bool = False
    """Whether it is the averaged weights that are scored."""

    def share(self, count: int) -> float | None:
        """How much the weights after the last step count in the average, the `count`-th that it is of. None: there is
        no average."""
        raise NotImplementedError

    def check_trial(self, trial: Any) -> None:
        if self.share(1) is not None and not trial.method.trains_weights:
            raise ConfigError(f"method {trial.method.kind} trains no weights that could be averaged; leave it at none",
                              "train.average")  # fmt: skip


@dataclass(frozen=True)
class NoAverage(Average):
    """The weights as they are."""

    def share(self, count: int) -> float | None:
        return None


@dataclass(frozen=True)
class Exponential(Average):
    """The exponential moving average, without the bias that it has at first (Kingma & Ba 2015, section 3): weights of
    t steps ago count decay^t times as much as the last ones."""

    decay: float = 0.999
    prune: bool = False
    """Whether it is the averaged weights that are scored."""

    def __post_init__(self) -> None:
        require(0 <= self.decay < 1, "decay", f"must be at least 0 and below 1, but got {self.decay:g}")

    def share(self, count: int) -> float | None:
        return (1 - self.decay) / (1 - self.decay**count)


AVERAGES: dict[str, type[Average]] = {"none": NoAverage, "ema": Exponential}
Average.kinds = AVERAGES
