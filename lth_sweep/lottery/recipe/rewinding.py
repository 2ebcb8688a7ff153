"""Where the next level starts: whose weights, what is done to them, and from which step the schedule goes on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lth_sweep.lottery.common.duration import Clock, Duration
from lth_sweep.lottery.common.errors import require
from lth_sweep.lottery.common.identity import derive
from lth_sweep.lottery.common.registry import Strategy
from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.state import State

START = Duration(0, "steps")


class Rewind(Strategy):
    """A family of rewind rules.

    A level trains from step k, where the schedule and the order of the batches go on, to the end of the run. The
    optimizer's state is that of step k where the dense run's weights at k are taken as they are; else it is fresh.
    """

    family: ClassVar[str] = "rewind rule"
    keeps_weights: ClassVar[bool] = False
    """Whether the weights that the level before ended with are kept, instead of the dense run's at k."""
    changes: ClassVar[bool] = False
    """Whether `change` does anything."""

    @property
    def from_initial(self) -> bool:
        """Whether tickets start from initial weights."""
        return False

    def step(self, clock: Clock) -> int:
        """k."""
        raise NotImplementedError

    def tail(self, clock: Clock) -> int:
        """How many steps a level trains beyond the end of the dense run, all at its last learning rate."""
        return 0

    def change(self, state: State, masks: Masks, seed: int, draw: Callable[..., State]) -> State:
        """The start, from the dense run's state at k. `draw(purpose)` gives initial weights from a stream of that name;
        with `masks=`, those of the smaller network that the masks leave.

        Whatever is drawn here differs from masks to masks: the same other weights at every level would be tickets of
        their own from the second on.
        """
        raise NotImplementedError

    def check(self, clock: Clock) -> None:
        """Raise ConfigError where the rule does not fit a run of this length."""
        require_before_end(self.step(clock), clock)


def require_before_end(k: int, clock: Clock) -> None:
    end = clock.length
    require(k < end, "rewind.at", f"must be before the end of training at {end} steps, but is step {k}")


@dataclass(frozen=True)
class ToInit(Rewind):
    """Back to the initial weights w_0 (Frankle & Carbin 2018)."""

    @property
    def from_initial(self) -> bool:
        return True

    def step(self, clock: Clock) -> int:
        return 0


@dataclass(frozen=True)
class ToStep(Rewind):
    """Back to the weights w_k of the dense run, k early in training (Frankle et al. 2019)."""

    at: Duration

    @property
    def from_initial(self) -> bool:
        return self.at.amount == 0

    def step(self, clock: Clock) -> int:
        return clock.steps(self.at)


@dataclass(frozen=True)
class LearningRate(Rewind):
    """The weights stay; the schedule goes back to k (Renda et al. 2020, section 3)."""

    at: Duration = START

    keeps_weights: ClassVar[bool] = True

    def step(self, clock: Clock) -> int:
        return clock.steps(self.at)


@dataclass(frozen=True)
class FineTune(Rewind):
    """The weights stay; training goes on at the learning rate of the dense run's last step (Han et al. 2015; Renda et
    al. 2020, section 3). After a cosine that is next to nothing."""

    length: Duration | None = None
    """By default that of a whole run, which is what a level trains with the other rules and k = 0."""

    keeps_weights: ClassVar[bool] = True

    def step(self, clock: Clock) -> int:
        return clock.length

    def tail(self, clock: Clock) -> int:
        return clock.length if self.length is None else clock.steps(self.length)

    def check(self, clock: Clock) -> None:
        require(self.tail(clock) >= 1, "rewind.length", f"must be at least one step, but got {self.length}")


@dataclass(frozen=True)
class Reinit(Rewind):
    """A control: another draw of the initial weights (Frankle & Carbin 2018, section 2), from a stream of the seed and
    the masks."""

    changes: ClassVar[bool] = True

    @property
    def from_initial(self) -> bool:
        return True

    def step(self, clock: Clock) -> int:
        return 0

    def change(self, state: State, masks: Masks, seed: int, draw: Callable[..., State]) -> State:
        return draw("reinit", masks.digest)


@dataclass(frozen=True)
class Scratch(Rewind):
    """A control, where whole units are pruned: the smaller network from initial weights of its own, drawn for its own
    fan-in and fan-out (Li et al. 2016, "train from scratch"). With reinit they are drawn for those of the whole one."""

    changes: ClassVar[bool] = True

    def step(self, clock: Clock) -> int:
        return 0

    def change(self, state: State, masks: Masks, seed: int, draw: Callable[..., State]) -> State:
        return draw("scratch", masks.digest, masks=masks)


@dataclass(frozen=True)
class Signs(Rewind):
    """Of w_k only the signs: all weights of a layer have the magnitude of their standard deviation in it (Zhou et al.
    2019, section 3). What cannot be pruned, such as biases, is as it was at k."""

    at: Duration = START

    changes: ClassVar[bool] = True

    def step(self, clock: Clock) -> int:
        return clock.steps(self.at)

    def change(self, state: State, masks: Masks, seed: int, draw: Callable[..., State]) -> State:
        signs = {name: state.model[name].sign() * state.model[name].std(unbiased=False) for name in masks.prunable}
        return State({**state.model, **signs}, {})


@dataclass(frozen=True)
class Shuffle(Rewind):
    """A control: in each layer, the kept weights of w_k change places among themselves, so that their distribution
    stays (Zhou et al. 2019, section 3, "reshuffle")."""

    at: Duration = START

    changes: ClassVar[bool] = True

    def step(self, clock: Clock) -> int:
        return clock.steps(self.at)

    def change(self, state: State, masks: Masks, seed: int, draw: Callable[..., State]) -> State:
        shuffled = {
            name: _shuffled(state.model[name], mask, derive(seed, "shuffle", masks.digest, name))
            for name, mask in masks.prunable.items()
        }
        return State({**state.model, **shuffled}, {})


def _shuffled(weight: Tensor, mask: Tensor, seed: int) -> Tensor:
    kept = weight[mask]
    changed = weight.clone()
    changed[mask] = kept[torch.randperm(len(kept), generator=torch.Generator().manual_seed(seed))]
    return changed


REWINDS: dict[str, type[Rewind]] = {
    "init": ToInit,
    "step": ToStep,
    "learning-rate": LearningRate,
    "fine-tune": FineTune,
    "reinit": Reinit,
    "scratch": Scratch,
    "signs": Signs,
    "shuffle": Shuffle,
}
Rewind.kinds = REWINDS
