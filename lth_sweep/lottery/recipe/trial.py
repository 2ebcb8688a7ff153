"""TrialConfig and its parts: what is computed. Runtime: how, which changes no result beyond float rounding."""

from dataclasses import dataclass, field, replace
from typing import Literal

from torch import nn

from lth_sweep.lottery.common.duration import Clock, Duration
from lth_sweep.lottery.common.errors import ConfigError, require
from lth_sweep.lottery.common.identity import digest
from lth_sweep.lottery.common.registry import Strategy
from lth_sweep.lottery.data import Data, Digits, load
from lth_sweep.lottery.network.initial.initialization import Default, Init
from lth_sweep.lottery.network.models import Mlp, Model
from lth_sweep.lottery.network.prunable import Prunable
from lth_sweep.lottery.network.structure import Network
from lth_sweep.lottery.pruning.criteria import Criterion, Magnitude
from lth_sweep.lottery.pruning.granularity import Granularity, Weight
from lth_sweep.lottery.pruning.selection import check_layer_rates, scored
from lth_sweep.lottery.recipe.methods import Iterative, Method
from lth_sweep.lottery.recipe.rewinding import Rewind, ToInit
from lth_sweep.lottery.task import Classification, Task
from lth_sweep.lottery.training.mask_rules import Fixed, MaskRule
from lth_sweep.lottery.training.train import Train

MOST_SEEDS = 1000


@dataclass(frozen=True)
class TrialConfig:
    """One lottery recipe: train, prune, rewind, repeat (Frankle & Carbin 2018, section 1)."""

    data: Data = field(default_factory=Digits)
    task: Task = field(default_factory=Classification)
    """What is learnt: the loss, and the metrics."""
    model: Model = field(default_factory=Mlp)
    prunable: Prunable = field(default_factory=Prunable)
    """Which of its parameters can be pruned."""
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
    mask_rule: MaskRule = field(default_factory=Fixed)
    """Whether and how masks change while a level is trained."""
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
        for part in (*vars(self).values(), *vars(self.train).values()):
            if isinstance(part, Strategy):
                part.check_trial(self)
        require(len(self.seed_list) >= 1, "seeds", "there must be at least one")
        require(len(set(self.seed_list)) == len(self.seed_list), "seeds", f"must differ, but got {self.seed_list}")

    @property
    def seed_list(self) -> tuple[int, ...]:
        return tuple(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds

    def build(self) -> nn.Module:
        """A network for its data and its task; its initial weights are not drawn yet. What it gives is what the task
        makes of the model's output. Reads the data set."""
        splits = load(self.data)
        module = self.model.build(splits.example, self.task.outputs(splits))
        return module if self.model.is_known else self.task.reading(module)

    def network(self, module: nn.Module | None = None) -> Network:
        """The structure of a module that `build` has made. Raises ConfigError where none of it can be pruned."""
        network = Network(self.build() if module is None else module, load(self.data).example, self.prunable)
        reasons = "".join(f"; {layer}: {reason}" for layer, reason in network.left.items())
        require(bool(network.layers), "prunable" if self.prunable.leave else "model", "there is no layer that can be "
                f"pruned (Linear, convolution, attention or recurrent){reasons}")  # fmt: skip
        return network

    def check(self, network: Network) -> None:
        """Raise ConfigError where the network is none that this recipe can prune."""
        check_layer_rates(self.layer_rates, network.layers)
        pools = self.method.pools(self, network, network.full)
        self.criterion.check(network, scored(pools, self.granularity, network))

    def clock(self, examples: int) -> Clock:
        """The clock of this trial's training runs on `examples` training examples.

        Raises ConfigError where a duration does not fit: a batch larger than the data, a rewind point beyond the end.
        """
        try:
            clock = self.train.clock(examples)
        except ConfigError as error:
            raise error.under("train") from error
        self.rewind.check(clock)
        if self.mask_at is not None:
            drawn, k = clock.steps(self.mask_at), self.rewind.start(clock).first
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


def trial_digest(trial: TrialConfig) -> str:
    """Stands for a recipe, however its seeds are written: 12 hexadecimal digits."""
    return digest(replace(trial, seeds=trial.seed_list))[:12]
