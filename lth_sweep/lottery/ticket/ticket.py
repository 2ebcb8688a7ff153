"""A trained network under its masks, taken out of the store."""

from dataclasses import dataclass
from functools import cached_property

from torch import nn

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.data import Splits, load
from lth_sweep.lottery.network.compaction import compact
from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.state import State
from lth_sweep.lottery.network.tracing import trace
from lth_sweep.lottery.network.units.resizing import fit
from lth_sweep.lottery.recipe.trial import TrialConfig
from lth_sweep.lottery.records import LevelRecord
from lth_sweep.lottery.runs.stages import Stages
from lth_sweep.lottery.ticket.plain import buffers_in_no_state, with_plain_output, with_plain_weights


@dataclass(frozen=True)
class Ticket:
    """One replica at the end of one level."""

    trial: TrialConfig
    level: int
    seed: int
    state: State
    """As it is evaluated: where the recipe takes averages, these."""

    @classmethod
    def load(cls, trial: TrialConfig, record: LevelRecord, store: Stages) -> "Ticket":
        """What `record`, one of this trial's, is about. ConfigError where its stage is no longer in the store."""
        stage = store.load(*record.place)
        if stage is None:
            raise ConfigError(f"the network of level {record.level}, seed {record.seed}, is not in {store} (stage "
                              f"{record.stage}); run the sweep again, which trains it")  # fmt: skip
        return cls(trial, record.level, record.seed, State.from_tensors(stage.tensors).averaged)

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

    @cached_property
    def masked(self) -> nn.Module:
        """`module`, but as it is exported: it gives all that the model gives, not what the task reads of it."""
        module = self._model()
        self.state.masked(self.masks).load(module)
        return module

    @cached_property
    def exported(self) -> nn.Module:
        """The smaller network, or, where it cannot be made smaller, `masked`; without parametrizations."""
        module = self._model()  # not a copy, as parametrizations are part of a class that a copy would share
        if self.why_masked:
            self.state.masked(self.masks).load(module)
        else:
            fit(module, {**State.of(self.compact).model, **buffers_in_no_state(self.compact)})
        return with_plain_weights(module)

    @cached_property
    def why_masked(self) -> str:
        """Why the network is exported at its full size; empty where it is a smaller one."""
        try:
            smaller = self.compact
        except Exception as error:  # whatever an unusual network makes of it: it is exported as it is
            return error.message if isinstance(error, ConfigError) else f"{type(error).__name__}: {error}"
        return "" if _params(smaller) < _params(self.module) else "no unit of it is without use"

    @property
    def exported_sizes(self) -> dict[str, int]:
        """Of the exported network, which stores its zeros: params; flops of one input; bytes of all its tensors."""
        seen = trace(self.exported, self.splits.example)
        tensors = {**State.of(self.exported).model, **buffers_in_no_state(self.exported)}
        return {
            "params": _params(self.exported),
            "flops": round(sum(seen.flops.values()) + seen.other_flops),
            "bytes": sum(tensor.nbytes for tensor in tensors.values()),
        }

    def _model(self) -> nn.Module:
        """What the recipe's model makes."""
        made = self.trial.model.build(self.splits.example, self.trial.task.outputs(self.splits))
        return with_plain_output(made).eval()


def _params(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
