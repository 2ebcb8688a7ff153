"""The algorithm: train, prune, rewind, repeat (Frankle & Carbin 2018, section 1; Frankle et al. 2019, algorithm 2)."""

import math
import time
from collections.abc import Iterator
from dataclasses import replace

from lth_sweep.lottery.common.identity import digest
from lth_sweep.lottery.data import Examples
from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.sizes import density, sizes
from lth_sweep.lottery.network.state import State
from lth_sweep.lottery.probes.activity import activity, counted
from lth_sweep.lottery.probes.twins import StabilityRecord, between_twins, parting
from lth_sweep.lottery.recipe.trial import Runtime, TrialConfig
from lth_sweep.lottery.records import Level, LevelRecord
from lth_sweep.lottery.runs.stages import Stages
from lth_sweep.lottery.runs.trajectory import Lab, Rung
from lth_sweep.lottery.training import memory
from lth_sweep.lottery.training.evaluation import TRAIN_LIMIT, evaluate, is_constant
from lth_sweep.lottery.training.trainer import Trained


def run(trial: TrialConfig, store: Stages, runtime: Runtime) -> Iterator[Level]:
    """Yield the records of level 0 (dense), 1, 2, ..., one per seed. Nothing is trained that the store already has.

    Ends after the last pruned level of the trial's method, or before where a replica's weights are no longer finite.
    Whoever drives it stops it by closing it.
    """
    lab = Lab(trial, store, runtime)
    lab.check()
    dense = [lab.dense(seed) for seed in trial.seed_list]
    rungs = [Rung(path, lab.network.full) for path in dense]
    last = trial.method.levels(trial)
    for level in range(last + 1):
        started, before = time.monotonic(), dict(lab.trained)
        memory.reset(runtime.device)
        paths = [rung.path for rung in rungs]
        end = lab.end(paths[0])
        part_at = parting(lab, paths[0])
        if trial.stability:
            lab.reach(paths, part_at)  # before what lies behind it, so that it is trained once
        drawn_at = end if trial.mask_at is None or level == last else lab.clock.steps(trial.mask_at)
        drawn = lab.reach(paths, drawn_at)
        # The dense network is what tickets are compared with, and so always trained to its end.
        shown = lab.reach(paths, end) if level == 0 and drawn_at < end else drawn
        step = end if level == 0 else drawn_at
        finite = all(result.state.is_finite for result in (*drawn, *shown))
        twins = between_twins(lab, paths, part_at, step) if trial.stability and finite else [None] * len(paths)
        rungs = [rung.found(result) for rung, result in zip(rungs, drawn, strict=True)]
        seconds = (time.monotonic() - started) / len(rungs)
        records = [
            measure(lab, level, rung, result, step, before[rung.path.seed], seconds, twin)
            for rung, result, twin in zip(rungs, shown, twins, strict=True)
        ]
        peak = memory.peak(runtime.device)
        yield Level(replace(record, memory=peak) for record in records)
        if not finite:
            return
        if level < last:
            rungs = [
                trial.method.next(lab, path, rung, result.state, drawn_at)
                for path, rung, result in zip(dense, rungs, drawn, strict=True)
            ]


def trial_digest(trial: TrialConfig) -> str:
    """Stands for a recipe, however its seeds are written: 12 hexadecimal digits."""
    return digest(replace(trial, seeds=trial.seed_list))[:12]


def measure(
    lab: Lab,
    level: int,
    rung: Rung,
    trained: Trained,
    step: int,
    steps_before: int,
    seconds: float,
    twin: StabilityRecord | None = None,
) -> LevelRecord:
    """The record of a rung that was trained to `step`; `steps_before`: the lab's count for its seed before that.
    `twin`: what lies between it and its twin, where that was trained, too."""
    path, masks = rung.path, rung.masks
    steps_trained = lab.trained[path.seed] - steps_before
    steps_needed = step - path.first + (step - twin.step if twin else 0)
    return LevelRecord(
        trial=trial_digest(lab.trial),
        level=level,
        seed=path.seed,
        density=masks.density,
        layer_density=density(lab.network, masks),
        sizes=sizes(lab.network, masks),
        metrics=_metrics(lab, trained.state, masks) | (twin.metrics if twin else {}),
        curve=trained.curve,
        stage=f"{path.digest}/{step}",
        steps_trained=steps_trained,
        steps_reused=max(0, steps_needed - steps_trained),
        seconds=seconds,
        finished=step == lab.end(path),
    )


def _metrics(lab: Lab, state: State, masks: Masks) -> dict[str, float]:
    module, train = lab.task.module.to(lab.task.train.x.device), lab.task.train
    state.load(module)
    accuracy, loss = evaluate(module, lab.task.validation)
    with counted(lab.network) as counts:
        train_accuracy, train_loss = evaluate(module, Examples(train.x[:TRAIN_LIMIT], train.y[:TRAIN_LIMIT]))
    found = {"accuracy": accuracy, "loss": loss, "train_accuracy": train_accuracy, "train_loss": train_loss}
    if math.isnan(loss):
        return found
    found["constant"] = float(is_constant(module, lab.task.validation))
    return found | activity(lab.network, masks, counts).metrics
