"""The patient: one recipe at one density, where its ticket does not match."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lth_sweep.lottery.common.errors import ConfigError, require
from lth_sweep.lottery.common.identity import digest
from lth_sweep.lottery.recipe.forecast import CLOSE, Forecast
from lth_sweep.lottery.recipe.trial import TrialConfig
from lth_sweep.lottery.records import Level
from lth_sweep.search.trial import TrialRecord
from lth_sweep.sweepfile.check import check_trial
from lth_sweep.sweepfile.decode import decode
from lth_sweep.sweepfile.space import changed, place
from lth_sweep.sweepfile.spec import SweepSpec

DENSITY = 0.05


@dataclass(frozen=True)
class Patient:
    spec: SweepSpec
    """The sweep that it is from."""
    trial: int | None
    """Its number in there; None for the base recipe."""
    written: Mapping[str, Any]
    """The `trial` section of a sweep file that is it; its last level is the one that is looked at."""
    level: int
    density: float
    """Of that level."""

    @property
    def recipe(self) -> TrialConfig:
        return decode(TrialConfig, self.written)

    @property
    def name(self) -> str:
        """Of its rescue, which is a sweep beside the one that it is from: another one where the recipe, its seeds or
        what is asked of it have changed since."""
        key = digest([self.spec.name, self.recipe, self.spec.objective.written])[:6]
        return f"{self.spec.name[:50]}-rescue-{self.which.replace(' ', '-')}-level-{self.level}-{key}"

    @property
    def which(self) -> str:
        return "base" if self.trial is None else f"trial {self.trial}"


def choose(
    spec: SweepSpec, trials: Sequence[TrialRecord], trial: int | None = None, density: float = DENSITY
) -> Patient:
    """The trial of this number; else the one that is best at this density; the base recipe where none is on record.

    The level is the last one whose density is at least `density`. Raises ConfigError for a trial that is not there, for
    a density that is none, and for a recipe without a pruned level.
    """
    require(0 < density < 1, "--density", f"must be between 0 and 1 exclusive, but got {density:g}")
    known = {one.number: one for one in trials}
    if trial is not None and trial not in known:
        raise ConfigError(f"there is no trial {trial} on record; there are: {', '.join(map(str, known)) or 'none'}",
                          "--trial")  # fmt: skip
    if trial is None:
        judged = [one for one in trials if len(one.levels) > 1]
        best = max(judged, key=lambda one: _worth(one, density, spec), default=None)
        trial = best.number if best else None
    written = dict(place(spec.base, spec.space, known[trial].picks) if trial is not None else spec.base)
    recipe = decode(TrialConfig, written)
    densities = Forecast(recipe).densities()
    level = max((level for level, found in enumerate(densities) if found >= density * (1 - 1e-9)), default=0)
    if len(densities) < 2:
        raise ConfigError("the recipe has no pruned level, and so no ticket; set levels to 1 or more", "levels")
    level = max(level, 1)
    if recipe.method.levels(recipe) > 1:
        written["levels"] = level
    return Patient(spec, trial, written, level, densities[level])


def changed_recipe(written: Mapping[str, Any], change: Mapping[str, Any]) -> TrialConfig | None:
    """A recipe as a file has it, with other values at these dotted paths; None where it could not run."""
    try:
        trial: TrialConfig = decode(TrialConfig, changed(written, change))
        check_trial(trial)
    except ConfigError:
        return None
    return trial


def nothing_found(spec: SweepSpec, trials: Sequence[TrialRecord], density: float) -> bool:
    """Whether no trial has come down to this density with a ticket that matches there."""
    return not any(_reached(trial, density) and spec.objective.matches(_last(trial, density), trial.levels[0])
                   for trial in trials)  # fmt: skip


def _reached(trial: TrialRecord, density: float) -> bool:
    return any(level.density <= density * CLOSE for level in trial.levels[1:])


def _last(trial: TrialRecord, density: float) -> Level:
    """Its last pruned level of at least this density; its first where all are below."""
    return [trial.levels[1], *(level for level in trial.levels[1:] if level.density >= density * (1 - 1e-9))][-1]


def _worth(trial: TrialRecord, density: float, spec: SweepSpec) -> tuple[bool, float]:
    """Whether it has come down to this density, and its mean gain over dense there."""
    found = spec.objective.gain(_last(trial, density), trial.levels[0])
    return _reached(trial, density), -math.inf if math.isnan(found) else found
