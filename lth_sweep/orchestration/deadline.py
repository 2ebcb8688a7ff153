"""How long a level may take before its worker counts as hung, from the pace of the others.

Generous: a worker that is only slow must not be lost, one that hangs costs a slot until then.
"""

import math
from collections import defaultdict
from collections.abc import Iterable

from lth_sweep.lottery.config import TrialConfig
from lth_sweep.lottery.identity import digest
from lth_sweep.lottery.records import Level

ALIKE, AT_LEAST = 10, 600.0
"""Times the slowest level of a recipe with the same data, network, length and batch; and seconds."""
OTHERS, AT_LEAST_OTHERS = 100, 3600.0
"""The same for a recipe that is the first of its kind."""


class Pace:
    """The slowest level so far, in seconds, by what makes a level slow."""

    def __init__(self) -> None:
        self._slowest: defaultdict[str, float] = defaultdict(float)

    def note(self, recipe: TrialConfig, levels: Iterable[Level]) -> None:
        kind = kind_of(recipe)
        for level in levels:
            self._slowest[kind] = max(self._slowest[kind], sum(record.seconds for record in level))

    def deadline(self, kind: str) -> float:
        """Seconds; infinity before the first level of a sweep has come to its end."""
        if kind in self._slowest:
            return max(AT_LEAST, ALIKE * self._slowest[kind])
        return max(AT_LEAST_OTHERS, OTHERS * max(self._slowest.values())) if self._slowest else math.inf


def kind_of(recipe: TrialConfig) -> str:
    """Recipes of one kind take about as long for a level."""
    return digest([recipe.data, recipe.model, recipe.train.length, recipe.train.batch, recipe.seed_list])
