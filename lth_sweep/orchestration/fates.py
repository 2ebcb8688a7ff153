"""What happens to each layer of a network when a sweep prunes it, said before it does."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod

from lth_sweep.lottery.common.identity import canonical
from lth_sweep.lottery.pruning.selection import layer_factor
from lth_sweep.lottery.recipe.forecast import Forecast
from lth_sweep.lottery.recipe.trial import TrialConfig

MOST = 10
"""Ways of pruning that are looked at: finding units takes a second or more."""
MOST_TOLD = 3
"""Ways that are told about in words."""


@dataclass(frozen=True)
class Fate:
    """Of one layer, or of a parameter that no layer of a known kind has."""

    layer: str
    weights: int
    """0 of what cannot be pruned."""
    fate: str
    """pruned, or spared or left out and why."""


@dataclass(frozen=True)
class Fates:
    """Of all layers of one network, by one way of pruning."""

    recipe: TrialConfig
    layers: tuple[Fate, ...]

    def to_json(self) -> dict[str, object]:
        recipe = self.recipe
        return {
            "model": canonical(recipe.model),
            "granularity": canonical(recipe.granularity),
            "layers": [vars(one) for one in self.layers],
        }

    @property
    def granularity(self) -> str:
        """With its options."""
        kind, *options = (f"{name}: {json.dumps(value)}" for name, value in canonical(self.recipe.granularity).items())
        return f"{{{', '.join([kind, *options])}}}" if options else self.recipe.granularity.kind

    @property
    def lines(self) -> list[str]:
        """One for each fate. Layers of equal blocks are told about once."""
        kinds: dict[tuple[str, str, int], list[str]] = {}
        for one in self.layers:
            block, _, name = one.layer.rpartition(".")
            kinds.setdefault((one.fate, f"{re.sub(r'[0-9]+', '#', block)}.{name}", one.weights), []).append(one.layer)
        lines: dict[str, list[str]] = {}
        weights: Counter[str] = Counter()
        for (fate, _, each), names in kinds.items():
            more = f" and {len(names) - 1} alike" if len(names) > 1 else ""
            lines.setdefault(fate, []).append(names[0] + more)
            weights[fate] += each * len(names)
        return [f"{', '.join(names)}{f' ({weights[fate]:,} weights)' if weights[fate] else ''}: {fate}"
                for fate, names in lines.items()]  # fmt: skip


def fates(forecasts: Sequence[Forecast]) -> list[Fates]:
    """One for each network and way of choosing among its layers that these recipes have; of many, the first ones."""
    ways: dict[str, Forecast] = {}
    for one in forecasts:
        trial = one.trial
        ways.setdefault(repr((trial.model, trial.prunable, trial.granularity, trial.layer_rates)), one)
    return [Fates(one.trial, tuple(_fates(one))) for one in list(ways.values())[:MOST]]


def _fates(forecast: Forecast) -> Iterable[Fate]:
    trial, network = forecast.trial, forecast.network
    spared = trial.granularity.spared(network)
    for layer, name in network.weights.items():
        weights = prod(network.shapes[name])
        factor = layer_factor(layer, trial.layer_rates, network)
        if factor == 0:
            yield Fate(layer, weights, "spared: layer_rates has 0 for it")
        elif layer in spared:
            yield Fate(layer, weights, f"spared: {spared[layer]}")
        else:
            yield Fate(layer, weights, "pruned" if factor == 1 else f"pruned at {factor:g} of the rate")
    for layer, reason in network.left.items():
        yield Fate(layer, 0, f"left out: {reason}")


def told(found: Sequence[Fates]) -> list[str]:
    """In words. Ways that come to the same are told about once."""
    same: dict[tuple[str, ...], list[str]] = {}
    for one in found:
        way = f"granularity {one.granularity} of {one.recipe.model.kind}"
        same.setdefault(tuple(one.lines), []).append(way)
    lines = []
    for said, ways in list(same.items())[:MOST_TOLD]:
        lines.append(f"  prunes  {'; '.join(dict.fromkeys(ways))}")
        lines += [f"            {line}" for line in said]
    if len(same) > MOST_TOLD:
        lines.append(f"          and in {len(same) - MOST_TOLD} ways more: see --json")
    return lines
