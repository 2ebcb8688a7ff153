"""Where the next level starts: whose weights, what is done to them, and from which step the schedule goes on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from lth_sweep.lottery.common.duration import Clock, Duration
from lth_sweep.lottery.common.errors import ConfigError, require
from lth_sweep.lottery.common.identity import derive
from lth_sweep.lottery.common.registry import Strategy
from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.state import State

START = Duration(0, "steps")


@dataclass(frozen=True)
class Start:
    """Where a level's training starts. It goes on from step `first` of the schedule and of the batches' order."""

    trained: bool
    """Whether from the weights that the level before has ended with, and not from the dense run's."""
    at: int
    """The step of the dense run that its state is taken from, where it is."""
    first: int
    last: int
    """The step at which the level's training ends; beyond the end of the dense run, the last learning rate stays."""
    change: "Rewind | None" = None
    """Whose `change` the state goes through. What is then left of it, or was trained under other masks, starts with a
    fresh optimizer; the dense run's state as it is keeps its own."""

    initial: bool = False
    """Whether these are initial weights, as they are drawn or loaded."""

    @property
    def length(self) -> int:
        """Optimizer steps of a level."""
        return self.last - self.first


class Rewind(Strategy):
    """A family of rewind rules."""

    family: ClassVar[str] = "rewind rule"
    for_units: ClassVar[bool] = False
    """Whether it makes sense only where whole units are pruned."""

    @property
    def from_initial(self) -> bool:
        """Whether tickets start from initial weights, as they are drawn or loaded."""
        return False

    @property
    def needs_training(self) -> bool:
        """Whether it starts from weights that were trained."""
        return True

    def start(self, clock: Clock) -> Start:
        """Where each level starts, in runs of this clock."""
        raise NotImplementedError

    def change(self, state: State, masks: Masks, seed: int, draw: Callable[..., State]) -> State:
        """The start, from the dense run's state at k. `draw(purpose)` gives initial weights from a stream of that name;
        with `masks=`, those of the smaller network that the masks leave.

        Whatever is drawn here differs from masks to masks: the same other weights at every level would be tickets of
        their own from the second on.
        """
        raise NotImplementedError

    def check_trial(self, trial: Any) -> None:
        if self.for_units and not trial.granularity.removes_units:
            raise ConfigError("rewind scratch draws the smaller network that is left when whole units go, and does not "
                              f"go with granularity {trial.granularity.kind}; use rewind reinit", "rewind")  # fmt: skip

    def check(self, clock: Clock) -> None:
        """Raise ConfigError where the rule does not fit a run of this length."""
        start = self.start(clock)
        require(start.first < clock.length, "rewind.at",
                f"must be before the end of training at {clock.length} steps, but is step {start.first}")  # fmt: skip

    def for_masks(self) -> "Rewind":
        """The rule by which other masks than the ticket's start: weights that were trained belong to its own."""
        return self


class _Early(Rewind):
    """Rules that start from the dense run at a step, and end where it does."""

    changes: ClassVar[bool] = False
    """Whether the state at k is changed."""
    at: Duration

    @property
    def needs_training(self) -> bool:
        return self.at.amount > 0

    def start(self, clock: Clock) -> Start:
        k = clock.steps(self.at)
        return Start(False, k, k, clock.length, self if self.changes else None, self.from_initial)


@dataclass(frozen=True)
class ToInit(_Early):
    """Back to the initial weights w_0 (Frankle & Carbin 2018), and so to pretrained ones, where training starts from
    such (Chen et al. 2020)."""

    at: ClassVar[Duration] = START  # type: ignore[misc]

    @property
    def from_initial(self) -> bool:
        return True


@dataclass(frozen=True)
class ToStep(_Early):
    """Back to the weights w_k of the dense run, k early in training (Frankle et al. 2019)."""

    at: Duration

    @property
    def from_initial(self) -> bool:
        return self.at.amount == 0


@dataclass(frozen=True)
class LearningRate(Rewind):
    """The weights stay; the schedule goes back to k (Renda et al. 2020, section 3)."""

    at: Duration = START

    def start(self, clock: Clock) -> Start:
        k = clock.steps(self.at)
        return Start(True, k, k, clock.length)

    def for_masks(self) -> Rewind:
        return ToStep(self.at)


@dataclass(frozen=True)
class FineTune(Rewind):
    """The weights stay; training goes on at the learning rate of the dense run's last step (Han et al. 2015; Renda et
    al. 2020, section 3). After a cosine that is next to nothing."""

    length: Duration | None = None
    """By default that of a whole run, which is what a level trains with the other rules and k = 0."""

    def start(self, clock: Clock) -> Start:
        end = clock.length
        return Start(True, end, end, 2 * end if self.length is None else end + clock.steps(self.length))

    def check_trial(self, trial: Any) -> None:
        if trial.mask_at is not None:
            raise ConfigError("mask_at does not go with rewind fine-tune, which trains on from the end of a run; use "
                              "another rewind", "mask_at")  # fmt: skip

    def check(self, clock: Clock) -> None:
        require(self.start(clock).length >= 1, "rewind.length", f"must be at least one step, but got {self.length}")

    def for_masks(self) -> Rewind:
        return ToInit()


@dataclass(frozen=True)
class Reinit(_Early):
    """A control: another draw of the initial weights (Frankle & Carbin 2018, section 2), from a stream of the seed and
    the masks. All that is trained is drawn, pretrained weights as well; what is frozen stays."""

    at: ClassVar[Duration] = START  # type: ignore[misc]
    changes: ClassVar[bool] = True

    @property
    def from_initial(self) -> bool:
        return True

    def change(self, state: State, masks: Masks, seed: int, draw: Callable[..., State]) -> State:
        return draw("reinit", masks.digest)


@dataclass(frozen=True)
class Scratch(_Early):
    """A control, where whole units are pruned: the smaller network from initial weights of its own, drawn for its own
    fan-in and fan-out (Li et al. 2016, "train from scratch"), pretrained ones as well. With reinit they are drawn for
    those of the whole one."""

    at: ClassVar[Duration] = START  # type: ignore[misc]
    changes: ClassVar[bool] = True
    for_units: ClassVar[bool] = True

    def change(self, state: State, masks: Masks, seed: int, draw: Callable[..., State]) -> State:
        return draw("scratch", masks.digest, masks=masks)


@dataclass(frozen=True)
class Signs(_Early):
    """Of w_k only the signs: all weights of a layer have the magnitude of their standard deviation in it (Zhou et al.
    2019, section 3). What cannot be pruned, such as biases, is as it was at k."""

    at: Duration = START

    changes: ClassVar[bool] = True

    def change(self, state: State, masks: Masks, seed: int, draw: Callable[..., State]) -> State:
        signs = {name: state.model[name].sign() * state.model[name].std(unbiased=False) for name in masks.weights}
        return State({**state.model, **signs})


@dataclass(frozen=True)
class Shuffle(_Early):
    """A control: in each layer, the kept weights of w_k change places among themselves, so that their distribution
    stays (Zhou et al. 2019, section 3, "reshuffle")."""

    at: Duration = START

    changes: ClassVar[bool] = True

    def change(self, state: State, masks: Masks, seed: int, draw: Callable[..., State]) -> State:
        shuffled = {
            name: _shuffled(state.model[name], mask, derive(seed, "shuffle", masks.digest, name))
            for name, mask in masks.weights.items()
        }
        return State({**state.model, **shuffled})


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
