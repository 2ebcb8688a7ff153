"""A trained network under its masks, taken out of the store."""

from dataclasses import dataclass
from functools import cached_property

from torch import nn

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.data import Splits, load
from lth_sweep.lottery.network.compaction import compact
from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.state import State
from lth_sweep.lottery.recipe.trial import TrialConfig
from lth_sweep.lottery.records import LevelRecord
from lth_sweep.lottery.runs.stages import Stages


@dataclass(frozen=True)
class Ticket:
    """One replica at the end of one level."""

    trial: TrialConfig
    level: int
    seed: int
    state: State

    @classmethod
    def load(cls, trial: TrialConfig, record: LevelRecord, store: Stages) -> "Ticket":
        """What `record`, one of this trial's, is about. ConfigError where its stage is no longer in the store."""
        stage = store.load(*record.place)
        if stage is None:
            raise ConfigError(f"the network of level {record.level}, seed {record.seed}, is not in {store} (stage "
                              f"{record.stage}); run the sweep again, which trains it")  # fmt: skip
        return cls(trial, record.level, record.seed, State.from_tensors(stage.tensors))

    @property
    def masks(self) -> Masks:
        """None of the dense network."""
        return self.state.masks

    @property
    def splits(self) -> Splits:
        return load(self.trial.data)

    @cached_property
    def module(self) -> nn.Module:
        """The network at its full size, with zeros where nothing is kept; in evaluation mode, on the CPU."""
        module = self.trial.build()
        self.state.masked(self.masks).load(module)
        return module.eval()

    @cached_property
    def compact(self) -> nn.Module:
        """The smaller network that computes the same; see `compact`."""
        return compact(self.module, self.masks, self.splits.example)
