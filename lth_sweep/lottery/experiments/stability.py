"""From which step k on is training stable to its noise? Twins that part at each k (Frankle et al. 2019, section 2).

A ticket that rewinds to k matches where its training is stable from k on; earlier is too early to rewind to.
"""

import dataclasses
from collections.abc import Sequence

from lth_sweep.lottery.common.duration import Duration
from lth_sweep.lottery.common.errors import ConfigError, require
from lth_sweep.lottery.loop import run
from lth_sweep.lottery.probes.twins import Split, StabilityRecord, between_twins
from lth_sweep.lottery.recipe.rewinding import ToStep
from lth_sweep.lottery.recipe.trial import Runtime, TrialConfig
from lth_sweep.lottery.runs.stages import Stages
from lth_sweep.lottery.runs.states import States
from lth_sweep.lottery.runs.tree import Trajectory
from lth_sweep.lottery.ticket.ticket import Ticket

STABLE = 0.02
"""Training is stable where the barrier is below this (Frankle et al. 2019, section 2)."""


def stable_from(records: Sequence[StabilityRecord], limit: float = STABLE, split: Split = "validation") -> int | None:
    """The first step from which the barrier, as a mean over the seeds, is below `limit` and stays there; None if there
    is none among those of the records."""
    stable = None
    for step in sorted({record.step for record in records}, reverse=True):
        barriers = [record.barriers[split] for record in records if record.step == step]
        if not sum(barriers) / len(barriers) < limit:  # neither where it is NaN
            break
        stable = step
    return stable


def stability(
    trial: TrialConfig, store: Stages, runtime: Runtime, at: Sequence[Duration], level: int = 0
) -> list[StabilityRecord]:
    """A record for each step in `at`, rising, and each seed of the trial.

    Level 0: dense twins that part at k. Another level: twins of the ticket that the trial's ladder finds there when it
    rewinds to k, whatever the trial itself rewinds to (Frankle et al. 2019, section 4); that ladder is run for each k.

    Raises ConfigError for a k that is not before the end of training, and for a level that no ticket reaches.
    """
    states = States(trial, store, runtime)
    clock = states.clock
    require(level >= 0, "level", f"must be 0 or more, but got {level}")
    for duration in at:
        require(
            clock.steps(duration) < clock.length,
            "at",
            f"must be before the end of training at {clock.length} steps, but {duration} is step "
            f"{clock.steps(duration)}",
        )
    steps = sorted({clock.steps(duration) for duration in at})
    states.runtime = dataclasses.replace(runtime, snapshots=(*runtime.snapshots, *steps))
    records = []
    for step in steps:
        before = dict(states.trained)
        paths = _tickets(states, step, level) if level else [states.tree.dense(seed) for seed in trial.seed_list]
        for record in between_twins(states, paths, step):
            steps_trained = states.trained[record.seed] - before[record.seed]
            records.append(dataclasses.replace(record, steps_trained=steps_trained))
    return records


def _tickets(states: States, step: int, level: int) -> list[Trajectory]:
    """The runs of level `level`, one per seed, of the trial's ladder with rewinding to `step`."""
    if not states.trial.mask_rule.fixed:
        raise ConfigError("twins of tickets need masks that stay as they are; leave it at fixed, or look at the dense "
                          "network, level 0", "mask_rule")  # fmt: skip
    trial = dataclasses.replace(states.trial, rewind=ToStep(Duration(step, "steps")), levels=level, stability=False)
    levels = list(run(trial, states.store, states.runtime))
    for record in (record for records in levels for record in records):
        states.trained[record.seed] += record.steps_trained
    if len(levels) <= level:
        diverged = not levels[-1].is_finite
        raise ConfigError(
            f"there is no ticket at level {level} with rewinding to step {step}: the ladder ends at level "
            f"{len(levels) - 1}{', where training diverged' if diverged else ''}; choose a level up to there",
            "level",
        )
    return [
        states.tree.branch(states.tree.dense(record.seed), step, Ticket.load(trial, record, states.store).masks)
        for record in levels[level]
    ]
