"""How dense a recipe's levels are, counted before anything is trained, and the rate that leads to a given density."""

from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, cast

import torch

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.pruning.selection import remove
from lth_sweep.lottery.recipe.trial import Runtime, TrialConfig
from lth_sweep.lottery.runs.stages import Store
from lth_sweep.lottery.runs.trajectory import Lab

HALVINGS = 30
CLOSE = 1.05
"""A level this much denser than was asked for has still reached that density."""


@dataclass
class _Counts:
    """Masks of which only the counts are known."""

    kept: dict[str, int]


class Ladder:
    """The levels of a recipe's network, under any rates. Exact but where units compete across layers."""

    def __init__(self, trial: TrialConfig) -> None:
        self._lab = Lab(trial, Store(Path()), Runtime(threads=torch.get_num_threads()))
        self.clock = self._lab.clock
        shapes = self._lab.network.shapes
        self.weights = {layer: prod(shapes[f"{layer}.weight"]) for layer in self._lab.network.layers}
        """Weights of each layer."""

    def densities(self, trial: TrialConfig) -> list[float]:
        """Of levels 0, 1, ... of a trial on this network."""
        self._lab.trial = trial
        levels = trial.method.levels(trial)
        return self._of_units(levels) if trial.granularity.removes_units else self._of_weights(levels)

    def rate(self, trial: TrialConfig, density: float) -> float | None:
        """The rate that has the trial's last level at this density, as nearly as counts allow; None if there is none,
        as where the layers that are spared are larger than that."""
        low, high = 0.0, min([1.0, *(1 / factor for factor in trial.layer_rates.values() if factor > 0)]) - 1e-6
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            try:
                above = self.densities(replace(trial, rate=middle))[-1] > density
            except ConfigError:  # layers that this granularity cannot treat
                return None
            low, high = (middle, high) if above else (low, middle)
        found = round(high, 6)
        reached = self.densities(replace(trial, rate=found))[-1]
        return found if abs(reached / density - 1) < CLOSE - 1 else None

    def _of_weights(self, levels: int) -> list[float]:
        kept, total = {f"{layer}.weight": count for layer, count in self.weights.items()}, sum(self.weights.values())
        found = [1.0]
        for _ in range(levels):
            for pool in self._lab.trial.method.pools(self._lab, cast(Any, _Counts(dict(kept)))):
                left = sum(kept[f"{layer}.weight"] for layer in pool.layers)
                for layer in pool.layers:  # which of them go does not matter for the sum
                    gone = min(kept[f"{layer}.weight"], pool.remove - (left - _sum(kept, pool.layers)))
                    kept[f"{layer}.weight"] -= gone
            found.append(sum(kept.values()) / total)
        return found

    def _of_units(self, levels: int) -> list[float]:
        lab = self._lab
        masks = lab.network.full
        scores = {layer: torch.zeros(lab.network.shapes[f"{layer}.weight"]) for layer in lab.network.layers}
        found = [1.0]
        for _ in range(levels):
            pools = lab.trial.method.pools(lab, masks)
            masks = remove(lambda _: scores, masks, lab.network, lab.trial.granularity, pools)
            found.append(masks.density)
        return found


def _sum(kept: dict[str, int], layers: tuple[str, ...]) -> int:
    return sum(kept[f"{layer}.weight"] for layer in layers)
