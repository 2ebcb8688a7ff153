"""One trial's work, the same in a Ray worker and in this process."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lth_sweep.lottery.config import Runtime, TrialConfig
from lth_sweep.lottery.records import Level
from lth_sweep.lottery.registry import import_object
from lth_sweep.lottery.store import Store
from lth_sweep.spec.sweep import Pick, SweepSpec

LOOP = "lth_sweep.lottery.loop:run"


@dataclass(frozen=True)
class Work:
    """What a worker needs to run any trial. Plain data: the user's modules are imported where they are used."""

    spec: SweepSpec
    stages: Path
    """Absolute, and the same on every machine of a cluster."""
    run: str = LOOP
    """What yields a trial's levels, as "module:function": simulated trials put their own here."""

    def levels(self, picks: Mapping[str, Pick]) -> Iterator[Level]:
        """Run the trial of these picks. Nothing happens, and nothing fails, before the first level is pulled."""
        folder = self.spec.import_folder
        if folder and str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
        recipe = self.spec.recipe(picks)
        resources = self.spec.resources
        runtime = Runtime(
            device="cuda" if resources.gpu > 0 else "cpu",
            threads=max(1, int(resources.cpu)),
            snapshots=self._snapshots(recipe),
        )
        yield from import_object(self.run)(recipe, Store(self.stages), runtime)

    def _snapshots(self, recipe: TrialConfig) -> tuple[int, ...]:
        fields = {*self.spec.base, *(axis.path.split(".")[0] for axis in self.spec.space)}
        if not fields & {"rewind", "mask_at"}:
            return ()
        from lth_sweep.lottery.data import load

        return self.spec.snapshots(recipe.clock(len(load(recipe.data).train.y)))
