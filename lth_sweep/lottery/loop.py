"""The algorithm: train, prune, rewind, repeat (Frankle & Carbin 2018, section 1; Frankle et al. 2019, algorithm 2)."""

import time
from collections.abc import Iterator
from dataclasses import replace

from lth_sweep.lottery.config import Runtime, TrialConfig
from lth_sweep.lottery.data import Examples
from lth_sweep.lottery.evaluation import TRAIN_LIMIT, evaluate
from lth_sweep.lottery.identity import digest
from lth_sweep.lottery.records import Level, LevelRecord
from lth_sweep.lottery.sizes import density, sizes
from lth_sweep.lottery.state import State
from lth_sweep.lottery.store import Store
from lth_sweep.lottery.training import Trained
from lth_sweep.lottery.trajectory import Lab, Ticket


def run(trial: TrialConfig, store: Store, runtime: Runtime) -> Iterator[Level]:
    """Yield the records of level 0 (dense), 1, 2, ..., one per seed. Nothing is trained that the store already has.

    Ends after the last pruned level of the trial's method, or before where a replica's weights are no longer finite.
    Whoever drives it stops it by closing it.
    """
    lab = Lab(trial, store, runtime)
    lab.check()
    dense = [lab.dense(seed) for seed in trial.seed_list]
    tickets = [Ticket(path, lab.full) for path in dense]
    last = trial.method.levels(trial)
    for level in range(last + 1):
        started, before = time.monotonic(), dict(lab.trained)
        paths = [ticket.path for ticket in tickets]
        end = lab.end(paths[0])
        drawn_at = end if trial.mask_at is None or level == last else lab.clock.steps(trial.mask_at)
        drawn = lab.reach(paths, drawn_at)
        # The dense network is what tickets are compared with, and so always trained to its end.
        shown = lab.reach(paths, end) if level == 0 and drawn_at < end else drawn
        step = end if level == 0 else drawn_at
        tickets = [replace(each, masks=found.masks or each.masks) for each, found in zip(tickets, drawn, strict=True)]
        seconds = (time.monotonic() - started) / len(tickets)
        yield tuple(
            _record(lab, level, ticket, result, step, before[ticket.path.seed], seconds)
            for ticket, result in zip(tickets, shown, strict=True)
        )
        if not all(result.state.is_finite for result in (*drawn, *shown)):
            return
        if level < last:
            tickets = [
                trial.method.next(lab, path, ticket, result.state, drawn_at)
                for path, ticket, result in zip(dense, tickets, drawn, strict=True)
            ]


def trial_digest(trial: TrialConfig) -> str:
    """Stands for a recipe, as written: 12 hexadecimal digits."""
    return digest(trial)[:12]


def _record(
    lab: Lab, level: int, ticket: Ticket, trained: Trained, step: int, steps_before: int, seconds: float
) -> LevelRecord:
    path, masks = ticket.path, ticket.masks
    steps_trained = lab.trained[path.seed] - steps_before
    return LevelRecord(
        trial=trial_digest(lab.trial),
        level=level,
        seed=path.seed,
        density=masks.density,
        layer_density=density(masks),
        sizes=sizes(lab.network, masks),
        metrics=_metrics(lab, trained.state),
        curve=trained.curve,
        stage=f"{path.digest}/{step}",
        steps_trained=steps_trained,
        steps_reused=max(0, step - path.first - steps_trained),
        seconds=seconds,
        finished=step == lab.end(path),
    )


def _metrics(lab: Lab, state: State) -> dict[str, float]:
    module = lab.task.module
    module.load_state_dict(state.model)
    accuracy, loss = evaluate(module, lab.task.validation)
    train_accuracy, train_loss = evaluate(
        module, Examples(lab.task.train.x[:TRAIN_LIMIT], lab.task.train.y[:TRAIN_LIMIT])
    )
    return {"accuracy": accuracy, "loss": loss, "train_accuracy": train_accuracy, "train_loss": train_loss}
