"""How tickets are found: the ladder of many levels, at once, before training, or by learning which weights to keep."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lth_sweep.lottery.common.errors import ConfigError, require
from lth_sweep.lottery.common.registry import Strategy
from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.state import State
from lth_sweep.lottery.pruning.criteria import Magnitude, MagnitudeIncrease
from lth_sweep.lottery.pruning.granularity import Weight
from lth_sweep.lottery.pruning.selection import Pool, pools_of_density, pools_of_rate
from lth_sweep.lottery.recipe.rewinding import Scratch, Shuffle, Signs, ToInit

if TYPE_CHECKING:
    from lth_sweep.lottery.recipe.trial import TrialConfig
    from lth_sweep.lottery.runs.trajectory import Lab, Rung, Trajectory


class Method(Strategy):
    """A family of methods. Level 0 is the dense network with all of them."""

    family: ClassVar[str] = "method"
    goes_by_rate: ClassVar[bool] = False
    """Whether the trial's `rate` and `levels` say how much is removed; if not, the method has a density of its own."""
    trains_weights: ClassVar[bool] = True
    """Whether the weights of a ticket are trained."""

    def levels(self, trial: "TrialConfig") -> int:
        """How many pruned levels there are."""
        return 1

    def check(self, trial: "TrialConfig") -> None:
        """Raise ConfigError for other fields of the trial that do not go with this method."""

    def pools(self, lab: "Lab", masks: Masks) -> list[Pool]:
        """How much is to be removed next."""
        raise NotImplementedError

    def next(self, lab: "Lab", dense: "Trajectory", last: "Rung", state: State, step: int) -> "Rung":
        """The rung of the next level. `state` is that of the last one at `step`, where masks are drawn from it."""
        raise NotImplementedError


@dataclass(frozen=True)
class Iterative(Method):
    """Train, remove the share `rate`, rewind, `levels` times (Frankle & Carbin 2018, section 1)."""

    goes_by_rate: ClassVar[bool] = True

    def levels(self, trial: "TrialConfig") -> int:
        """One where the granularity has a density of its own, which all levels would share."""
        return trial.levels if trial.granularity.density is None else min(trial.levels, 1)

    def pools(self, lab: "Lab", masks: Masks) -> list[Pool]:
        trial = lab.trial
        return pools_of_rate(trial.rate, masks, lab.network, trial.granularity, trial.scope, trial.layer_rates)

    def next(self, lab: "Lab", dense: "Trajectory", last: "Rung", state: State, step: int) -> "Rung":
        masks = lab.without(self.pools(lab, last.masks), state, last.masks, dense.seed)
        return lab.rewound(dense, last.path, step, masks)


@dataclass(frozen=True)
class _ToDensity(Method):
    """One pruned level, at `density`. `rate` and `levels` do not apply, but where layers have different factors, their
    shares are those of a ladder with this rate."""

    density: float

    def __post_init__(self) -> None:
        require(0 < self.density < 1, "density", f"must be between 0 and 1 exclusive, but got {self.density:g}")

    def check(self, trial: "TrialConfig") -> None:
        fixed = trial.granularity.density
        if fixed is not None and fixed != self.density:
            raise self.refused(f"granularity {trial.granularity.kind}", f"has a density of its own, {fixed:g}, and not "
                               f"the method's {self.density:g}; set method.density to {fixed:g}")  # fmt: skip

    def refused(self, field: str, reason: str) -> ConfigError:
        return ConfigError(f"method {self.kind} does not go with {field}, which {reason}", "method")

    def pools(self, lab: "Lab", masks: Masks) -> list[Pool]:
        trial = lab.trial
        return pools_of_density(
            self.density, masks, lab.network, trial.granularity, trial.scope, trial.rate, trial.layer_rates
        )


@dataclass(frozen=True)
class OneShot(_ToDensity):
    """Train, remove all but the share `density` at once, rewind (Frankle & Carbin 2018, section 1, "one-shot")."""

    def next(self, lab: "Lab", dense: "Trajectory", last: "Rung", state: State, step: int) -> "Rung":
        masks = lab.without(self.pools(lab, last.masks), state, last.masks, dense.seed)
        return lab.rewound(dense, last.path, step, masks)


@dataclass(frozen=True)
class BeforeTraining(_ToDensity):
    """Score the initial weights, remove all but the share `density`, then train once (Lee et al. 2019)."""

    def check(self, trial: "TrialConfig") -> None:
        super().check(trial)
        rewind = trial.rewind
        if isinstance(trial.criterion, MagnitudeIncrease):
            raise self.refused("criterion magnitude-increase", "is 0 everywhere before training")
        if not (
            rewind.from_initial
            or isinstance(rewind, Scratch)
            or (isinstance(rewind, Signs | Shuffle) and rewind.at.amount == 0)
        ):
            raise self.refused(f"rewind {rewind.kind}", "needs weights that were trained; use init (the default), "
                               "reinit, scratch, signs or shuffle at 0 steps")  # fmt: skip
        if trial.mask_at is not None:
            raise self.refused("mask_at", "says when to draw masks from trained weights")

    def next(self, lab: "Lab", dense: "Trajectory", last: "Rung", state: State, step: int) -> "Rung":
        initial = lab.reach([dense], 0)[0].state
        masks = lab.without(self.pools(lab, last.masks), initial, last.masks, dense.seed)
        return lab.rewound(dense, dense, 0, masks)


@dataclass(frozen=True)
class EdgePopup(_ToDensity):
    """Learn which of the random weights to keep, and never train them (Ramanujan et al. 2020); see edge_popup.py. With
    layer_rates {} all layers have the same density, as in the paper."""

    trains_weights: ClassVar[bool] = False

    def check(self, trial: "TrialConfig") -> None:
        super().check(trial)
        if trial.criterion != Magnitude():
            raise self.refused(f"criterion {trial.criterion.kind}", "scores weights once, while edge-popup learns "
                               "scores of its own; leave it at magnitude")  # fmt: skip
        if type(trial.granularity) is not Weight:
            raise self.refused(f"granularity {trial.granularity.kind}", "is not that of single weights; use weight")
        if trial.scope != "layer":
            raise self.refused(f"scope {trial.scope}", "lets layers compete, while edge-popup keeps the best of each "
                               "layer; use layer")  # fmt: skip
        if trial.rewind != ToInit():
            raise self.refused(f"rewind {trial.rewind.kind}", "says where training starts, while edge-popup keeps the "
                               "initial weights; leave it at init")  # fmt: skip
        if trial.mask_at is not None:
            raise self.refused("mask_at", "says when to draw masks from trained weights")
        if trial.stability:
            raise self.refused("stability", "looks between the trained weights of two runs, while edge-popup trains no "
                               "weights")  # fmt: skip

    def next(self, lab: "Lab", dense: "Trajectory", last: "Rung", state: State, step: int) -> "Rung":
        return lab.popup(dense, {pool.layers[0]: pool.remove for pool in self.pools(lab, last.masks)})


METHODS: dict[str, type[Method]] = {
    "iterative": Iterative,
    "one-shot": OneShot,
    "before-training": BeforeTraining,
    "edge-popup": EdgePopup,
}
Method.kinds = METHODS
