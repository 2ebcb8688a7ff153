"""Whether and how masks change while a network is trained."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from lth_sweep.lottery.common.duration import Clock
from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.common.registry import Strategy
from lth_sweep.lottery.network.state import State


class MaskRule(Strategy):
    """A family of rules. One that changes masks in training overrides `due` and `update`; one that trains something
    else than the weights, to find masks, overrides `module`, `start` and `end`."""

    family: ClassVar[str] = "mask rule"
    fixed: ClassVar[bool] = False
    """Whether masks stay as they are, so that units of which nothing is left need not be trained."""
    finds: ClassVar[bool] = False
    """Whether masks are known only once training has come to its end."""

    def check_trial(self, trial: Any) -> None:
        if self.finds:
            raise ConfigError(f"{self.kind} finds masks, and how many weights they keep is for a method to say, as "
                              "edge-popup does", "mask_rule")  # fmt: skip

    def due(self, step: int, clock: Clock) -> bool:
        """Whether masks change after `step` optimizer steps of the run."""
        return False

    def update(
        self, weights: Mapping[str, Tensor], masks: Mapping[str, Tensor], gradients: Mapping[str, Tensor],
        step: int, seed: int,
    ) -> Mapping[str, Tensor]:  # fmt: skip
        """The new masks, bool and shaped as the weights, true = kept, of those of `masks` that change: all prunable
        weights by name. `gradients` are of the last step, also for weights that are gone; what is random is derived
        from (seed, step)."""
        raise NotImplementedError

    def module(self, network: nn.Module) -> nn.Module:
        """What is trained in the network's place."""
        return network

    def start(self, module: nn.Module, state: State, seed: int) -> State:
        """The state of `module` that training starts from; `state` is the network's."""
        return state

    def end(self, module: nn.Module, state: State) -> State:
        """The network's state, of `module`'s last one."""
        return state


@dataclass(frozen=True)
class Fixed(MaskRule):
    """Masks stay as they are."""

    fixed: ClassVar[bool] = True


MASK_RULES: dict[str, type[MaskRule]] = {"fixed": Fixed}
MaskRule.kinds = MASK_RULES
