"""The training runs of a trial, by what determines them: dense ones, what branches off them, and twins."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from torch import nn

from lth_sweep.lottery.common.duration import Clock, Duration
from lth_sweep.lottery.common.identity import derive, digest
from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.state import State
from lth_sweep.lottery.recipe.rewinding import Rewind, Start, ToStep
from lth_sweep.lottery.recipe.trial import TrialConfig
from lth_sweep.lottery.training.mask_rules import Fixed, MaskRule


@dataclass(frozen=True)
class Trajectory:
    """One replica's training run with the trial's recipe: from initial weights, or from the state of another run."""

    digest: str
    """Of everything that determines its states, and of nothing else."""
    seed: int
    first: int
    """The step that it starts at; the schedule and the order of the batches go on from there."""
    last: int
    """The step that it ends after."""
    parent: "Trajectory | None" = field(default=None, repr=False, compare=False)
    """None for a dense run from initial weights, which others branch off."""
    at: int = field(default=0, repr=False, compare=False)
    """The step of the parent that it goes on from."""
    masks: Masks | None = field(default=None, repr=False, compare=False)
    """What it starts with; None: the parent's."""
    change: Rewind | None = field(default=None, repr=False, compare=False)
    """Whose `change` the parent's state goes through."""
    scaled: bool = field(default=False, repr=False, compare=False)
    fresh: bool = field(default=False, repr=False, compare=False)
    """Whether the optimizer starts anew."""
    rule: MaskRule = field(default_factory=Fixed, repr=False, compare=False)
    noise: int = 0
    """Which order of batches and augmentation: 0 for the run's own, others for its twins."""

    @property
    def noise_seed(self) -> int:
        return derive(self.seed, "twin", self.noise) if self.noise else self.seed

    def prepared(self, state: State, module: nn.Module, draw: Callable[..., State]) -> State:
        """What it starts from, of the parent's state. `draw` gives initial weights."""
        if self.change and self.masks:
            state = self.change.change(state, self.masks, self.seed, draw)
        if self.masks:
            state = state.masked(self.masks)
        if self.scaled:
            state = state.scaled()
        if self.fresh:
            state = state.fresh
        # A twin goes on from the middle of a run.
        return self.rule.start(module, state, self.seed) if self.rule.finds and not self.noise else state


@dataclass(frozen=True)
class Tree:
    """What runs a trial has, from what its training runs depend on."""

    trial: TrialConfig
    clock: Clock
    data: str
    """Digest of its examples."""
    loaded: str = ""
    """Checksum of the weights that the constructor of a network of the user's own loads."""

    @cached_property
    def start(self) -> Start:
        """Where the trial's levels start."""
        return self.trial.rewind.start(self.clock)

    def dense(self, seed: int) -> Trajectory:
        """The run from the initial weights, without masks. It does not depend on anything that pruning does."""
        trial, train = self.trial, self.trial.train
        init = replace(trial.init, scaled=False) if trial.init.scaled else trial.init  # type: ignore[type-var]
        parts = [self.data, trial.task, trial.model, init, train.batch, train.optimizer, train.schedule, train.augment,
                 train.precision, train.evaluate, *filter(None, (self.loaded, train.extras))]  # fmt: skip
        length = self.clock.length if train.schedule.needs_length else None
        return Trajectory(digest([*parts, length, seed], self.clock), seed, 0, self.clock.length)

    def level(self, dense: Trajectory, last: Trajectory, step: int, masks: Masks | None, rule: MaskRule) -> Trajectory:
        """The run of the next level: from the last one at `step`, or from the dense run, as the trial's rewind rule
        says. `masks`: None where the mask rule is what finds them."""
        source, at = (last, step) if self.start.trained else (dense, self.start.at)
        return self.branch(source, at, masks, self.start, rule)

    def branch(
        self, source: Trajectory, at: int, masks: Masks | None, start: Start | None = None, rule: MaskRule | None = None
    ) -> Trajectory:
        """The run that goes on from `source` after step `at`, under masks, as `start` says. By default it goes on as it
        is; with nothing pruned that is `source` itself."""
        start, rule = start or ToStep(Duration(at, "steps")).start(self.clock), rule or Fixed()
        as_it_is, moved = not start.trained and start.change is None, start.trained or start.first != at
        if masks and masks.is_full and as_it_is and not moved and rule.fixed:
            return source
        scaled = self.trial.init.scaled and start.initial and masks is not None
        identity: dict[str, Any] = {"from": [source.digest, at]}
        identity |= {"masks": masks.digest} if masks else {}
        identity |= {"at": start.first} if moved else {}
        identity |= {"start": start.change} if start.change else {}
        identity |= {"scaled": True} if scaled else {}
        # Masks that are found or changed in training can depend on how long it is.
        identity |= {} if rule.fixed else {"rule": rule, "end": start.last}
        return Trajectory(
            digest(identity, self.clock), source.seed, start.first, start.last, source, at, masks, start.change, scaled,
            fresh=not as_it_is, rule=rule,
        )  # fmt: skip

    def twin(self, path: Trajectory, step: int, noise: int) -> Trajectory:
        """The run that goes on from `path` at `step` with noise of its own: the order of the batches, augmentation, and
        whatever else the network draws while it trains (Frankle et al. 2019, section 2). Twin 0 is `path` itself."""
        if noise == 0:
            return path
        name = digest({"from": [path.digest, step], "noise": noise})
        return Trajectory(name, path.seed, step, path.last, path, step, rule=path.rule, noise=noise)
