"""Who picks the next point."""

import random
import warnings

import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from lth_sweep.lottery.identity import derive
from lth_sweep.search.axes import grid
from lth_sweep.spec.sweep import Pick, SweepSpec


def sampler(spec: SweepSpec, number: int) -> BaseSampler:
    """The sampler of trial `number`.

    Each trial has a sampler with a seed of its own, so that what is picked depends on the trials told so far and on
    nothing else: a sweep that is interrupted and gone on with picks as one that ran through.
    """
    seed = derive(spec.search.seed, "search", number) % 2**32
    if spec.search.sampler == "tpe":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            # Grouped, so that axes with a condition are modelled together with the others, and not one by one.
            return TPESampler(seed=seed, multivariate=True, group=True)
    return RandomSampler(seed=seed)


def points(spec: SweepSpec) -> list[dict[str, Pick]] | None:
    """What a sampler with a fixed list of points tries, in this order; None for the others.

    The grid is shuffled, so that a sweep of fewer trials than points covers all of the space thinly.
    """
    if spec.search.sampler != "grid":
        return None
    combinations = grid(spec.space)
    random.Random(spec.search.seed).shuffle(combinations)
    return combinations
