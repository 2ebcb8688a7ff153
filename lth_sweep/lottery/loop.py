"""The algorithm: train, prune, rewind, repeat (Frankle & Carbin 2018, section 1; Frankle et al. 2019, algorithm 2)."""

from collections.abc import Iterator

from lth_sweep.lottery.probes.measuring import Measuring
from lth_sweep.lottery.probes.twins import between_twins, parting
from lth_sweep.lottery.pruning.granularity import NothingToRemove
from lth_sweep.lottery.pruning.prune import prune
from lth_sweep.lottery.pruning.view import View
from lth_sweep.lottery.recipe.trial import Runtime, TrialConfig
from lth_sweep.lottery.records import Level
from lth_sweep.lottery.runs.stages import Stages
from lth_sweep.lottery.runs.states import States
from lth_sweep.lottery.runs.tree import Trajectory
from lth_sweep.lottery.training.trainer import Replica


def run(trial: TrialConfig, store: Stages, runtime: Runtime) -> Iterator[Level]:
    """Yield level 0 (dense), 1, 2, ..., with a record for each seed. Nothing is trained that the store already has.

    Ends after the last pruned level of the trial's method, or before where a replica's weights are no longer finite;
    after the dense one, where the granularity finds nothing to remove.
    Whoever drives it stops it by closing it.
    """
    states = States(trial, store, runtime)
    try:
        trial.check(states.network)
        last = trial.method.levels(trial)
    except NothingToRemove:
        last = 0
    dense = [states.tree.dense(seed) for seed in trial.seed_list]
    paths = dense
    for number in range(last + 1):
        measuring, end = Measuring(states), paths[0].last
        part_at = parting(states.tree, paths[0]) if trial.stability else None
        drawn_at = end if trial.mask_at is None or number == last else states.clock.steps(trial.mask_at)
        drawn = states.at(paths, drawn_at, via=[] if part_at is None else [part_at])
        # The dense network is what tickets are compared with, and so always trained to its end.
        step = end if number == 0 else drawn_at
        shown = states.at(paths, step) if step > drawn_at else drawn
        finite = all(replica.state.is_finite for replica in (*drawn, *shown))
        twins = between_twins(states, paths, part_at, step) if part_at is not None and finite else []
        yield measuring.level(number, paths, shown, step, twins)
        if not finite:
            return
        if number < last:
            paths = [next_level(states, *each, drawn_at) for each in zip(dense, paths, drawn, strict=True)]


def next_level(states: States, dense: Trajectory, last: Trajectory, drawn: Replica, step: int) -> Trajectory:
    """Prune, and rewind. `drawn`: the last level's run after `step`, where the masks of the next are drawn."""
    trial, network, trainer = states.trial, states.network, states.trainer
    masks = network.full.replace(drawn.state.masks.tensors)
    pools = trial.method.pools(trial, network, masks)
    rule = trial.method.rule(trial, network, pools)
    if rule.finds:
        return states.tree.level(dense, last, step, None, rule)
    state = states.at([dense], 0)[0].state if trial.method.before_training else drawn.state
    state = state.averaged if trial.train.average.prune else state
    view = View(network, state, masks, dense.seed, lambda: states.initial(dense.seed), trial.task, trainer.train_split,
                trainer.device)  # fmt: skip
    return states.tree.level(dense, last, step, prune(view, pools, trial.criterion, trial.granularity), rule)
