"""Trials of no work, named by import path in the tests. What a trial does is told by its batch size."""

import math
import os
import time
from collections.abc import Iterator

from lth_sweep.lottery.recipe.trial import Runtime, TrialConfig, trial_digest
from lth_sweep.lottery.records import CurvePoint, Level, LevelRecord
from lth_sweep.lottery.runs.stages import Store

GOOD, DIVERGES, RAISES, DIES = 60, 61, 62, 63
DENSE = 1000


def run(trial: TrialConfig, store: Store, runtime: Runtime) -> Iterator[Level]:
    """Accuracy is kept down to a density of 10%, then lost. Trouble comes at level 2, in every attempt."""
    for level in range(trial.levels + 1):
        count(store, "levels")
        if level == 2 and trial.train.batch == RAISES:
            raise RuntimeError("broken layer")
        if level == 2 and trial.train.batch == DIES:
            os._exit(1)
        diverged = level == 2 and trial.train.batch == DIVERGES
        yield Level(record(trial, level, seed, diverged) for seed in trial.seed_list)
        if diverged:
            return


def slow(trial: TrialConfig, store: Store, runtime: Runtime) -> Iterator[Level]:
    """The same, with time to be interrupted in."""
    for level in run(trial, store, runtime):
        time.sleep(0.3)
        yield level


def fails_twice(trial: TrialConfig, store: Store, runtime: Runtime) -> Iterator[Level]:
    """Each trial's first two attempts fail after level 1."""
    attempt = count(store, f"attempts-{trial_digest(trial)}")
    for level in run(trial, store, runtime):
        if level[0].level == 2 and attempt <= 2:
            raise OSError("the disk was away")
        yield level


def record(trial: TrialConfig, level: int, seed: int, diverged: bool = False) -> LevelRecord:
    density = (1 - trial.rate) ** level
    loss = math.nan if diverged else 0.1 / density
    accuracy = math.nan if diverged else 0.95 + 0.001 * seed - max(0.0, 0.1 - density)
    return LevelRecord(
        trial=trial_digest(trial),
        level=level,
        seed=seed,
        density=density,
        layer_density={"output": density},
        sizes={
            "params": round(DENSE * density),
            "flops": round(2 * DENSE * density),
            "bytes": round(4 * DENSE * density),
        },
        metrics={"accuracy": accuracy, "loss": loss},
        curve=(CurvePoint(100, 0.5, {"accuracy": accuracy, "loss": loss}),),
        stage=f"{seed}/{level}",
        steps_trained=100,
        steps_reused=50 if level else 0,
    )


def count(store: Store, name: str) -> int:
    """Count up in a file that all processes share; appending a byte is atomic."""
    store.root.mkdir(parents=True, exist_ok=True)
    with (store.root / name).open("ab") as file:
        file.write(b".")
        file.flush()
        return file.tell()
