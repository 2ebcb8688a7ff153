"""How long a level may take before its worker counts as hung, from the pace of the others.

Generous: a worker that is only slow must not be lost, one that hangs costs a slot until then.
"""

import math
from collections import defaultdict
from collections.abc import Iterable
from statistics import fmean
from typing import Self

from lth_sweep.lottery.common.identity import digest
from lth_sweep.lottery.recipe.trial import TrialConfig
from lth_sweep.lottery.records import Level
from lth_sweep.search.trial import TrialRecord
from lth_sweep.sweepfile.spec import SweepSpec

ALIKE, AT_LEAST = 10, 600.0
"""Times the slowest level of a recipe with the same data, network, length and batch; and seconds."""
OTHERS, AT_LEAST_OTHERS = 100, 3600.0
"""The same for a recipe that is the first of its kind."""


class Pace:
    """The slowest level so far, in seconds, by what makes a level slow."""

    def __init__(self) -> None:
        self._slowest: defaultdict[str, float] = defaultdict(float)

    @classmethod
    def of(cls, spec: SweepSpec, trials: Iterable[TrialRecord]) -> Self:
        """Of a sweep with these trials on record."""
        pace = cls()
        for trial in trials:
            pace.note(spec.recipe(trial.picks), trial.levels)
        return pace

    def note(self, recipe: TrialConfig, levels: Iterable[Level]) -> None:
        """By what was trained of them: what is found in the store takes no time, wherever it comes from."""
        kind = kind_of(recipe)
        for level in levels:
            whole = [
                record.seconds * (1 + record.steps_reused / record.steps_trained)
                for record in level
                if record.steps_trained
            ]
            if whole:
                self._slowest[kind] = max(self._slowest[kind], fmean(whole) * len(level))

    def deadline(self, kind: str) -> float:
        """Seconds; infinity before the first level of a sweep has come to its end."""
        if kind in self._slowest:
            return max(AT_LEAST, ALIKE * self._slowest[kind])
        return max(AT_LEAST_OTHERS, OTHERS * max(self._slowest.values())) if self._slowest else math.inf


def kind_of(recipe: TrialConfig) -> str:
    """Recipes of one kind take about as long for a level."""
    return digest([recipe.data, recipe.model, recipe.train.length, recipe.train.batch, recipe.seed_list])
