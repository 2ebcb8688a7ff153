"""How tickets are found: the ladder of many levels, at once, before training, or by learning which weights to keep."""

from dataclasses import dataclass
from typing import ClassVar, Protocol

from lth_sweep.lottery.common.duration import Duration
from lth_sweep.lottery.common.errors import ConfigError, require
from lth_sweep.lottery.common.registry import Strategy
from lth_sweep.lottery.network.initial.initialization import Init
from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.structure import Network
from lth_sweep.lottery.pruning.criteria import Criterion, Magnitude
from lth_sweep.lottery.pruning.granularity import Granularity, Weight
from lth_sweep.lottery.pruning.selection import Pool, Scope, pools_of_density, pools_of_rate
from lth_sweep.lottery.recipe.rewinding import Rewind, ToInit
from lth_sweep.lottery.training.edge_popup import Supermask
from lth_sweep.lottery.training.mask_rules import MaskRule


class Trial(Protocol):
    """What a method reads of a recipe, which is a `TrialConfig`."""

    @property
    def init(self) -> Init: ...
    @property
    def criterion(self) -> Criterion: ...
    @property
    def granularity(self) -> Granularity: ...
    @property
    def scope(self) -> Scope: ...
    @property
    def rate(self) -> float: ...
    @property
    def layer_rates(self) -> dict[str, float]: ...
    @property
    def rewind(self) -> Rewind: ...
    @property
    def mask_rule(self) -> MaskRule: ...
    @property
    def mask_at(self) -> Duration | None: ...
    @property
    def levels(self) -> int: ...
    @property
    def stability(self) -> bool: ...


class Method(Strategy):
    """A family of methods. Level 0 is the dense network with all of them."""

    family: ClassVar[str] = "method"
    before_training: ClassVar[bool] = False
    """Whether it is the initial weights that are scored, and not those that the last level has trained."""
    trains_weights: ClassVar[bool] = True
    """Whether the weights of a ticket are trained."""
    goes_by_rate: ClassVar[bool] = False
    """Whether the trial's `rate` and `levels` say how much is removed; if not, the method has a density of its own."""

    @property
    def is_ladder(self) -> bool:
        """Whether its level 5 is the same, however many levels come after it. Of one's own method nobody knows."""
        return False

    def levels(self, trial: Trial) -> int:
        """How many pruned levels there are."""
        return 1

    def pools(self, trial: Trial, network: Network, masks: Masks) -> list[Pool]:
        """How much is to be removed next."""
        raise NotImplementedError

    def rule(self, trial: Trial, network: Network, pools: list[Pool]) -> MaskRule:
        """Whether and how masks change while a level is trained."""
        return trial.mask_rule


@dataclass(frozen=True)
class Iterative(Method):
    """Train, remove the share `rate`, rewind, `levels` times (Frankle & Carbin 2018, section 1)."""

    goes_by_rate: ClassVar[bool] = True

    @property
    def is_ladder(self) -> bool:
        return type(self) is Iterative

    def levels(self, trial: Trial) -> int:
        """One where the granularity has a density of its own, which all levels would share."""
        return trial.levels if trial.granularity.density is None else min(trial.levels, 1)

    def pools(self, trial: Trial, network: Network, masks: Masks) -> list[Pool]:
        return pools_of_rate(trial.rate, masks, network, trial.granularity, trial.scope, trial.layer_rates)


@dataclass(frozen=True)
class OneShot(Method):
    """Train, remove all but the share `density` at once, rewind (Frankle & Carbin 2018, section 1, "one-shot"). `rate`
    and `levels` do not apply, but where layers have different factors, their shares are those of a ladder with this
    rate."""

    density: float

    def __post_init__(self) -> None:
        require(0 < self.density < 1, "density", f"must be between 0 and 1 exclusive, but got {self.density:g}")

    def check_trial(self, trial: Trial) -> None:
        fixed = trial.granularity.density
        if fixed is not None and fixed != self.density:
            raise self.refused(f"granularity {trial.granularity.kind}", f"has a density of its own, {fixed:g}, and not "
                               f"the method's {self.density:g}; set method.density to {fixed:g}")  # fmt: skip

    def refused(self, field: str, reason: str) -> ConfigError:
        return ConfigError(f"method {self.kind} does not go with {field}, which {reason}", "method")

    def pools(self, trial: Trial, network: Network, masks: Masks) -> list[Pool]:
        return pools_of_density(
            self.density, masks, network, trial.granularity, trial.scope, trial.rate, trial.layer_rates
        )


@dataclass(frozen=True)
class BeforeTraining(OneShot):
    """Score the initial weights, remove all but the share `density`, then train once (Lee et al. 2019). `rate` and
    `levels` apply as with one-shot."""

    before_training: ClassVar[bool] = True

    def check_trial(self, trial: Trial) -> None:
        super().check_trial(trial)
        if trial.criterion.needs_training:
            raise self.refused(f"criterion {trial.criterion.kind}", "is 0 everywhere before training")
        if trial.rewind.needs_training:
            raise self.refused(f"rewind {trial.rewind.kind}", "needs weights that were trained; use init (the "
                               "default), reinit, scratch, signs or shuffle at 0 steps")  # fmt: skip
        if trial.mask_at is not None:
            raise self.refused("mask_at", "says when to draw masks from trained weights")


@dataclass(frozen=True)
class EdgePopup(OneShot):
    """Learn which of the random weights to keep, and never train them (Ramanujan et al. 2020); see edge_popup.py. With
    layer_rates {} all layers have the same density, as in the paper."""

    trains_weights: ClassVar[bool] = False

    def check_trial(self, trial: Trial) -> None:
        super().check_trial(trial)
        if trial.criterion != Magnitude():
            raise self.refused(f"criterion {trial.criterion.kind}", "scores weights once, while edge-popup learns "
                               "scores of its own; leave it at magnitude")  # fmt: skip
        if trial.granularity != Weight():
            raise self.refused(f"granularity {trial.granularity.kind}", "is not that of single weights; use weight")
        if trial.scope != "layer":
            raise self.refused(f"scope {trial.scope}", "lets layers compete, while edge-popup keeps the best of each "
                               "layer; use layer")  # fmt: skip
        if trial.rewind != ToInit():
            raise self.refused(f"rewind {trial.rewind.kind}", "says where training starts, while edge-popup keeps the "
                               "initial weights; leave it at init")  # fmt: skip
        if not trial.mask_rule.fixed:
            raise self.refused(f"mask_rule {trial.mask_rule.kind}", "changes masks of its own; leave it at fixed")
        if trial.mask_at is not None:
            raise self.refused("mask_at", "says when to draw masks from trained weights")
        if trial.stability:
            raise self.refused("stability", "looks between the trained weights of two runs, while edge-popup trains no "
                               "weights")  # fmt: skip

    def rule(self, trial: Trial, network: Network, pools: list[Pool]) -> MaskRule:
        return Supermask({pool.layers[0]: pool.remove for pool in pools}, network.weights, trial.init.scaled)


METHODS: dict[str, type[Method]] = {
    "iterative": Iterative,
    "one-shot": OneShot,
    "before-training": BeforeTraining,
    "edge-popup": EdgePopup,
}
Method.kinds = METHODS
