"""Two sweeps of no work, as if they had been run."""

from pathlib import Path

import pytest

from benchmarks.many_trials import write
from lth_sweep.lottery.records import Level, LevelRecord
from lth_sweep.orchestration.evidence import answer
from lth_sweep.orchestration.records import read
from lth_sweep.reporting.material import Material
from lth_sweep.search.trial import TrialRecord
from lth_sweep.sweepfile.load import load_spec


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sweeps "many", of 30 trials, and "few", of 4 with 2 failed."""
    runs = tmp_path_factory.mktemp("runs")
    write(runs, "many", 30)
    write(runs, "few", 4, fail_every=2)
    return runs


@pytest.fixture(scope="session")
def many(runs: Path) -> Material:
    return material(runs / "many")


@pytest.fixture(scope="session")
def few(runs: Path) -> Material:
    return material(runs / "few")


def material(folder: Path) -> Material:
    spec = load_spec(folder / "sweep.yaml")
    export = f"lth-sweep export {spec.name}"
    return Material(spec, read(folder), answer(spec, folder), {"the ticket as a smaller network": export})


def record(level: int, seed: int = 0, accuracy: float = 0.9, **fields: object) -> LevelRecord:
    """Half of the weights at each level, 100 steps, 2 seconds."""
    density = 0.5**level
    sizes = {"params": round(1000 * density), "flops": round(2000 * density), "bytes": round(4000 * density)}
    plain = {"trial": "made", "level": level, "seed": seed, "density": density, "layer_density": {"fc": density},
             "sizes": sizes, "metrics": {"accuracy": accuracy, "loss": 1 - accuracy}, "curve": (),
             "stage": f"{seed}/{level}", "steps_trained": 100, "steps_reused": 10 * level, "seconds": 2.0}  # fmt: skip
    return LevelRecord(**{**plain, **fields})  # type: ignore[arg-type]


def trial(number: int, *accuracies: tuple[float, ...], **fields: object) -> TrialRecord:
    """A trial with these accuracies, by level and seed."""
    levels = tuple(Level(record(level, seed, accuracy) for seed, accuracy in enumerate(some))
                   for level, some in enumerate(accuracies))  # fmt: skip
    return TrialRecord(number, **{"picks": {}, "levels": levels, "ending": "finished", **fields})  # type: ignore[arg-type]
