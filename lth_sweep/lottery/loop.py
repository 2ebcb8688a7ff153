"""The algorithm: train, prune, rewind, repeat (Frankle & Carbin 2018, section 1; Frankle et al. 2019, algorithm 2)."""

import time
from collections.abc import Iterator

from lth_sweep.lottery.config import Runtime, TrialConfig
from lth_sweep.lottery.data import Examples
from lth_sweep.lottery.evaluation import TRAIN_LIMIT, evaluate
from lth_sweep.lottery.identity import digest
from lth_sweep.lottery.masks import Masks
from lth_sweep.lottery.pruning import prune
from lth_sweep.lottery.records import Level, LevelRecord
from lth_sweep.lottery.sizes import density, sizes
from lth_sweep.lottery.state import State
from lth_sweep.lottery.store import Store
from lth_sweep.lottery.training import Trained
from lth_sweep.lottery.trajectory import Lab, Trajectory


def run(trial: TrialConfig, store: Store, runtime: Runtime) -> Iterator[Level]:
    """Yield the records of level 0 (dense), 1, 2, ..., one per seed. Nothing is trained that the store already has.

    Ends after `trial.levels` pruned levels, or before where a replica's weights are no longer finite. Whoever drives it
    stops it by closing it.
    """
    lab = Lab(trial, store, runtime)
    dense = [lab.dense(seed) for seed in trial.seed_list]
    paths, masks = dense, [Masks.full({name: lab.network.shapes[name] for name in lab.network.weights})] * len(dense)
    for level in range(trial.levels + 1):
        started, before = time.monotonic(), dict(lab.trained)
        trained = lab.reach(paths, lab.clock.length)
        seconds = (time.monotonic() - started) / len(paths)
        yield tuple(
            _record(lab, level, *each, before[each[0].seed], seconds)
            for each in zip(paths, masks, trained, strict=True)
        )
        if not all(result.state.is_finite for result in trained):
            return
        if level < trial.levels:
            masks = [_prune(lab, *each) for each in zip(trained, masks, strict=True)]
            rewound = trial.rewind.step(lab.clock)
            paths = [lab.branch(path, rewound, left) for path, left in zip(dense, masks, strict=True)]


def trial_digest(trial: TrialConfig) -> str:
    """Stands for a recipe, as written: 12 hexadecimal digits."""
    return digest(trial)[:12]


def _prune(lab: Lab, trained: Trained, masks: Masks) -> Masks:
    trial = lab.trial
    weights = {layer: trained.state.model[f"{layer}.weight"] for layer in lab.network.layers}
    scores = trial.criterion.scores(weights)
    return prune(scores, masks, lab.network, trial.granularity, trial.scope, trial.rate, trial.layer_rates)


def _record(
    lab: Lab, level: int, path: Trajectory, masks: Masks, trained: Trained, steps_before: int, seconds: float
) -> LevelRecord:
    steps_trained = lab.trained[path.seed] - steps_before
    needed = lab.clock.length - path.first
    return LevelRecord(
        trial=trial_digest(lab.trial),
        level=level,
        seed=path.seed,
        density=masks.density,
        layer_density=density(masks),
        sizes=sizes(lab.network, masks),
        metrics=_metrics(lab, trained.state),
        curve=trained.curve,
        stage=f"{path.digest}/{lab.clock.length}",
        steps_trained=steps_trained,
        steps_reused=max(0, needed - steps_trained),
        seconds=seconds,
    )


def _metrics(lab: Lab, state: State) -> dict[str, float]:
    module = lab.task.module
    module.load_state_dict(state.model)
    accuracy, loss = evaluate(module, lab.task.validation)
    train_accuracy, train_loss = evaluate(
        module, Examples(lab.task.train.x[:TRAIN_LIMIT], lab.task.train.y[:TRAIN_LIMIT])
    )
    return {"accuracy": accuracy, "loss": loss, "train_accuracy": train_accuracy, "train_loss": train_loss}
