"""A trial of no work: the records of three levels, made up. Run by benchmarks/orchestration.py."""

from collections.abc import Iterator

from lth_sweep.lottery.recipe.trial import Runtime, TrialConfig, trial_digest
from lth_sweep.lottery.records import CurvePoint, Level, LevelRecord
from lth_sweep.lottery.runs.stages import Store

WEIGHTS = 50_200
"""Of 64-300-100-10."""


def run(trial: TrialConfig, store: Store, runtime: Runtime) -> Iterator[Level]:
    for level in range(3):
        density = (1 - trial.rate) ** level
        curve = tuple(CurvePoint(step, 60 / step, {"accuracy": 0.95, "loss": 40 / step}) for step in (200, 400, 600))
        yield tuple(
            LevelRecord(
                trial=trial_digest(trial),
                level=level,
                seed=seed,
                density=density,
                layer_density={"1": density, "3": density, "5": density},
                sizes={"params": round(WEIGHTS * density), "flops": round(2 * WEIGHTS * density),
                       "bytes": round(4 * WEIGHTS * density)},
                metrics={"accuracy": 0.95, "loss": 0.1, "train_accuracy": 1.0, "train_loss": 0.01},
                curve=curve,
                stage=f"{level}/600",
                steps_trained=0,
                steps_reused=600,
            )
            for seed in trial.seed_list
        )  # fmt: skip
