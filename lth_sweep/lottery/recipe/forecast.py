"""What a trial will take, and how small it can become, known before it is run."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import cast

import torch

from lth_sweep.lottery.common.duration import Clock
from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.data import load
from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.sizes import sizes
from lth_sweep.lottery.network.structure import Network
from lth_sweep.lottery.pruning.granularity import NothingToRemove
from lth_sweep.lottery.pruning.selection import remove
from lth_sweep.lottery.recipe.rewinding import Start
from lth_sweep.lottery.recipe.trial import TrialConfig

HALVINGS = 30
CLOSE = 1.05
"""A level this much denser than was asked for has still reached that density."""


@dataclass(frozen=True)
class Forecast:
    """Steps and counts of one replica's ladder, if it is not stopped early."""

    trial: TrialConfig

    @cached_property
    def clock(self) -> Clock:
        return self.trial.clock(len(load(self.trial.data).train))

    @cached_property
    def start(self) -> Start:
        """Where each level starts, and how long it is."""
        return self.trial.rewind.start(self.clock)

    @property
    def levels(self) -> int:
        """Pruned ones."""
        return self.trial.method.levels(self.trial)

    @cached_property
    def network(self) -> Network:
        return self.trial.network()

    def level_steps(self, number: int) -> int:
        """Optimizer steps of a level; 0 is the dense one. Its twin's, where it has one, are on top."""
        return self.start.length if number else self.clock.length

    def twin_steps(self, number: int) -> int:
        """Optimizer steps of a level's twin, which parts from it at the rewind point, where that lies in its run."""
        if not self.trial.stability:
            return 0
        steps = self.level_steps(number)
        return steps - self.start.first if number == 0 and self.start.first < steps else steps

    def steps(self, levels: int | None = None) -> int:
        """Of the dense run and so many levels, by default all."""
        return self.clock.length + (self.levels if levels is None else levels) * self.start.length

    def levels_to(self, density: float) -> int:
        """Levels until this density, as if each kept exactly 1 - rate of all weights; at most all."""
        if self.levels < 2:
            return self.levels
        return min(self.levels, math.ceil(math.log(density) / math.log(1 - self.trial.rate)))

    @cached_property
    def weight_bytes(self) -> int:
        """Of all parameters, in float32: what a stage of a level takes, at most; one of a dense run, with what an
        optimizer keeps of two more numbers each, three times as much."""
        copies = 1 if self.trial.train.average.share(1) is None else 2
        return 4 * copies * sum(map(math.prod, self.network.shapes.values()))

    def like(self, trial: TrialConfig) -> "Forecast":
        """Of another recipe on the same data and network."""
        found = Forecast(trial)
        found.__dict__["network"] = self.network  # where cached_property keeps it
        return found

    def densities(self) -> list[float]:
        """Of levels 0, 1, ...; exact but where units compete across layers."""
        return [masks.density for masks in self._ladder()]

    def rate(self, density: float) -> float | None:
        """The rate that has the last level at this density, as nearly as counts allow; None if there is none, as where
        the layers that are spared are larger than that."""
        trial = self.trial
        low, high = 0.0, min([1.0, *(1 / factor for factor in trial.layer_rates.values() if factor > 0)]) - 1e-6
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            try:
                above = self.like(replace(trial, rate=middle)).densities()[-1] > density
            except ConfigError:  # layers that this granularity cannot treat
                return None
            low, high = (middle, high) if above else (low, middle)
        found = round(high, 6)
        reached = self.like(replace(trial, rate=found)).densities()[-1]
        return found if abs(reached / density - 1) < CLOSE - 1 else None

    def smallest(self, size: str) -> float:
        """No level has less of this size; 0 where nothing is known.

        How many items a level removes follows from the rate alone, and which of them go does not matter for params, nor
        for any size where the layers' counts are fixed (scope layer). Where weights compete across layers, flops are
        bounded as if the most expensive went first.
        """
        trial, network = self.trial, self.network
        known = trial.method.is_known and trial.granularity.is_known and trial.mask_rule.fixed
        if not known or size not in ("params", "flops", "bytes"):
            return 0.0
        if trial.granularity.removes_units:
            return sizes(network, self._units()[-1])[size] if trial.scope == "layer" else 0.0
        kept = self._ladder()[-1].kept
        if size == "flops":
            positions = network.positions
            used = sum(2 * kept[name] * positions[layer] for layer, name in network.weights.items())
            return used + network.other_flops
        others = sum(math.prod(shape) for name, shape in network.shapes.items() if name not in kept)
        params = sum(kept.values()) + (others if trial.method.trains_weights else 0)  # a supermask has no biases
        return params if size == "params" else 4 * params  # however a ticket is stored, at least its values are

    def _ladder(self) -> "list[Counts] | list[Masks]":
        """Masks of levels 0, 1, ... with the right counts."""
        return self._units() if self.trial.granularity.removes_units else self._weights()

    def _units(self) -> list[Masks]:
        """Of the dense network alone, where there is nothing to remove."""
        trial, network = self.trial, self.network
        found = [network.full]
        scores = {layer: torch.zeros(network.shapes[name]) for layer, name in network.weights.items()}
        for _ in range(self.levels):
            try:
                pools = trial.method.pools(trial, network, found[-1])
            except NothingToRemove:
                break
            found.append(remove(lambda _: scores, found[-1], network, trial.granularity, pools))
        return found

    def _weights(self) -> "list[Counts]":
        """Where layers compete, those whose weights are used most often lose first."""
        trial, network = self.trial, self.network
        found = [Counts({name: math.prod(network.shapes[name]) for name in network.weights.values()})]
        total = sum(found[0].kept.values())
        for _ in range(self.levels):
            kept = dict(found[-1].kept)
            for pool in trial.method.pools(trial, network, cast(Masks, found[-1])):
                remaining = pool.remove
                for layer in sorted(pool.layers, key=lambda layer: -network.positions[layer]):
                    gone = min(remaining, kept[network.weights[layer]])
                    kept[network.weights[layer]] -= gone
                    remaining -= gone
            found.append(Counts(kept, sum(kept.values()) / total))
        return found


@dataclass(frozen=True)
class Counts:
    """Masks of which only the counts are known."""

    kept: dict[str, int]
    density: float = 1.0


def smallest(trial: TrialConfig, size: str) -> float:
    """No level of the trial has less of this size; 0 where nothing is known."""
    return Forecast(trial).smallest(size)
