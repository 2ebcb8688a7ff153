"""How small a trial can become, known before it is run."""

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, cast

import torch

from lth_sweep.lottery.network.sizes import sizes
from lth_sweep.lottery.pruning.granularity import NOfM, Unit, Weight
from lth_sweep.lottery.pruning.selection import remove
from lth_sweep.lottery.recipe.methods import METHODS, EdgePopup
from lth_sweep.lottery.recipe.trial import Runtime, TrialConfig
from lth_sweep.lottery.runs.stages import Store
from lth_sweep.lottery.runs.trajectory import Lab


def smallest(trial: TrialConfig, size: str) -> float:
    """No level of the trial has less of this size; 0 where nothing is known.

    How many items a level removes follows from the rate alone, and which of them go does not matter for params, nor for
    any size where the layers' counts are fixed (scope layer). Where weights compete across layers, flops are bounded as
    if the most expensive went first.
    """
    if type(trial.method) not in METHODS.values() or size not in ("params", "flops", "bytes"):
        return 0.0
    lab = Lab(trial, Store(Path()), Runtime(threads=torch.get_num_threads()))
    if type(trial.granularity) in (Weight, NOfM):
        return _of_weights(lab, size)
    if type(trial.granularity) is Unit and trial.scope == "layer":
        return _of_units(lab, size)
    return 0.0


def unknown(trial: TrialConfig, size: str) -> float:
    """For work of another kind than `lottery.loop.run`, which need not keep to the recipe's counts."""
    return 0.0


@dataclass
class _Counts:
    """Masks of which only the counts are known."""

    kept: dict[str, int]


def _of_weights(lab: Lab, size: str) -> float:
    network = lab.network
    whole = {name: prod(network.shapes[name]) for name in network.weights}
    counts = _Counts(dict(whole))
    for _ in range(lab.trial.method.levels(lab.trial)):
        for pool in lab.trial.method.pools(lab, cast(Any, counts)):
            remaining = pool.remove
            for layer in sorted(pool.layers, key=lambda layer: -network.positions[layer]):
                gone = min(remaining, counts.kept[f"{layer}.weight"])
                counts.kept[f"{layer}.weight"] -= gone
                remaining -= gone
    if size == "flops":
        return sum(2 * counts.kept[f"{layer}.weight"] * network.positions[layer] for layer in network.layers)
    others = sum(map(prod, network.shapes.values())) - sum(whole.values())
    if isinstance(lab.trial.method, EdgePopup):
        others = 0  # it has no biases
    params = others + sum(counts.kept.values())
    return params if size == "params" else 4 * params  # in whatever way a ticket is stored, at least its values are


def _of_units(lab: Lab, size: str) -> float:
    trial, network = lab.trial, lab.network
    masks = lab.network.full
    scores = {layer: torch.zeros(network.shapes[f"{layer}.weight"]) for layer in network.layers}
    for _ in range(trial.method.levels(trial)):
        masks = remove(lambda _: scores, masks, network, trial.granularity, trial.method.pools(lab, masks))
    return sizes(network, masks)[size]
