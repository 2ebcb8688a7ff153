"""TrialConfig and its parts: what is computed. Runtime: how, which changes no result beyond float rounding."""

from dataclasses import dataclass, field
from typing import Literal

from lth_sweep.lottery.common.duration import Clock, Duration
from lth_sweep.lottery.common.errors import ConfigError, require
from lth_sweep.lottery.data import Data, Digits
from lth_sweep.lottery.network.initialization import Default, Init
from lth_sweep.lottery.network.models import Mlp, Model
from lth_sweep.lottery.pruning.criteria import BnScale, Criterion, Magnitude
from lth_sweep.lottery.pruning.granularity import Granularity, Unit, Weight
from lth_sweep.lottery.recipe.methods import Iterative, Method
from lth_sweep.lottery.recipe.rewinding import FineTune, Rewind, Scratch, ToInit
from lth_sweep.lottery.training.augmentation import Augment, NoAugment
from lth_sweep.lottery.training.optimizers import Adam, Optimizer
from lth_sweep.lottery.training.schedules import Constant, Schedule

DEFAULT_LENGTH = Duration(600, "steps")
DEFAULT_EVALUATE = Duration(200, "steps")
MOST_SEEDS = 1000


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


@dataclass(frozen=True)
class TrialConfig:
    """One lottery recipe: train, prune, rewind, repeat (Frankle & Carbin 2018, section 1)."""

    data: Data = field(default_factory=Digits)
    model: Model = field(default_factory=Mlp)
    train: Train = field(default_factory=Train)
    init: Init = field(default_factory=Default)
    method: Method = field(default_factory=Iterative)
    criterion: Criterion = field(default_factory=Magnitude)
    granularity: Granularity = field(default_factory=Weight)
    scope: Literal["layer", "global"] = "layer"
    """Whether weights compete within their layer or across all layers."""
    rate: float = 0.2
    """Share of the surviving weights (or units) that a level removes."""
    layer_rates: dict[str, float] = field(default_factory=lambda: {"output": 0.5})
    """Factors on the rate, by layer: a name, a pattern such as "conv*", or "output" for the last layer. 0 spares the
    layer. With scope global, only 0 has an effect."""
    rewind: Rewind = field(default_factory=ToInit)
    mask_at: Duration | None = None
    """Draw the masks of the next level from the state at this step of a level's training, not at its end (You et al.
    2020, "early-bird tickets"). Then only the dense network and the last level are trained to the end; the records of
    the others say so in `finished`."""
    levels: int = 12
    """Levels after the dense one (level 0)."""
    stability: bool = False
    """Whether each level also trains a twin of every replica, which parts from it at the rewind point (or where the
    level's training starts, if that is later) with other noise, and reports the error barrier on the line between the
    two. It doubles the steps and changes nothing else. Twins of the dense network part at the same step."""
    seeds: int | tuple[int, ...] = 3
    """How many replicas (seeds 0, 1, ...), or which seeds."""

    def __post_init__(self) -> None:
        require(0 < self.rate < 1, "rate", f"must be between 0 and 1 exclusive, but got {self.rate:g}")
        require(self.levels >= 0, "levels", f"must be 0 or more, but got {self.levels}")
        for layer, factor in self.layer_rates.items():
            require(factor >= 0, f"layer_rates.{layer}", f"must be 0 or more, but got {factor:g}")
            require(
                self.rate * factor < 1,
                f"layer_rates.{layer}",
                f"rate * factor must be below 1, but {self.rate:g} * {factor:g} = {self.rate * factor:g}",
            )
        require(self.seeds <= MOST_SEEDS if isinstance(self.seeds, int) else True, "seeds",
                f"must be at most {MOST_SEEDS}, but got {self.seeds}")  # fmt: skip
        if self.granularity.density is not None and self.scope == "global":
            raise ConfigError(f"scope global does not go with granularity {self.granularity.kind}, which keeps the "
                              "same share of each layer; use scope layer", "scope")  # fmt: skip
        if isinstance(self.criterion, BnScale) and not isinstance(self.granularity, Unit):
            raise ConfigError(f"criterion bn-scale scores whole units and does not go with granularity "
                              f"{self.granularity.kind}; use granularity unit", "criterion")  # fmt: skip
        if self.init.scaled and not self.rewind.from_initial:
            raise ConfigError("init.scaled is about tickets that start from initial weights and does not go with "
                              f"rewind {self.rewind.kind}; use rewind init", "init.scaled")  # fmt: skip
        if isinstance(self.rewind, Scratch) and not isinstance(self.granularity, Unit):
            raise ConfigError("rewind scratch draws the smaller network that is left when whole units go, and does not "
                              f"go with granularity {self.granularity.kind}; use rewind reinit", "rewind")  # fmt: skip
        if self.mask_at is not None and isinstance(self.rewind, FineTune):
            raise ConfigError("mask_at does not go with rewind fine-tune, which trains on from the end of a run; use "
                              "another rewind", "mask_at")  # fmt: skip
        self.method.check(self)
        require(len(self.seed_list) >= 1, "seeds", "there must be at least one")
        require(len(set(self.seed_list)) == len(self.seed_list), "seeds", f"must differ, but got {self.seed_list}")

    @property
    def seed_list(self) -> tuple[int, ...]:
        return tuple(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds

    def clock(self, examples: int) -> Clock:
        """The clock of this trial's training runs on `examples` training examples.

        Raises ConfigError where a duration does not fit: a batch larger than the data, a rewind point beyond the end.
        """
        require(
            self.train.batch <= examples,
            "train.batch",
            f"must be at most the number of training examples, {examples}, but got {self.train.batch}",
        )
        per_epoch = examples // self.train.batch
        clock = Clock(per_epoch, self.train.length.to_steps(per_epoch))
        require(clock.length >= 1, "train.length", f"must be at least one step, but got {self.train.length}")
        require(clock.steps(self.train.evaluate) >= 1, "train.evaluate",
                f"must be one step or more, but got {self.train.evaluate}")  # fmt: skip
        self.rewind.check(clock)
        if self.mask_at is not None:
            drawn, k = clock.steps(self.mask_at), self.rewind.step(clock)
            require(
                k < drawn <= clock.length,
                "mask_at",
                f"must be after the rewind point, step {k}, and by the end of training at {clock.length} steps, but "
                f"{self.mask_at} is step {drawn}",
            )
        return clock


@dataclass(frozen=True)
class Runtime:
    """How a trial is run."""

    device: str = "cpu"
    threads: int = 1
    """CPU threads of PyTorch; one thread gives results that are equal bit by bit."""
    batched: bool = False
    """Train the replicas of a trial in one batched call (torch.func.vmap) where the network and the optimizer allow it,
    as many as there is memory for on the GPU. On a CPU one by one is as fast or faster: 64-300-100-10, 3 replicas, one
    core: 2,420 steps/s batched, 2,500 one by one; 784-300-100-10: 480 and 930."""
    compile: bool = False
    """With torch.compile, which needs a C compiler."""
    snapshots: tuple[int, ...] = ()
    """Steps at which the dense run is stored in passing, because some trial will rewind to them."""
