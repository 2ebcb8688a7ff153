"""What a sampler tries: its own picks, or a list of points that is fixed beforehand."""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.samplers import BaseSampler

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.common.identity import derive
from lth_sweep.lottery.recipe.trial import TrialConfig
from lth_sweep.sweepfile.axis import Axis, Choice, Pick
from lth_sweep.sweepfile.decode import decode
from lth_sweep.sweepfile.points import key
from lth_sweep.sweepfile.space import place
from lth_sweep.sweepfile.spec import SweepSpec


def sampler(spec: SweepSpec, number: int) -> BaseSampler:
    """The sampler of trial `number`.

    Each trial has a sampler with a seed of its own, so that what is picked depends on the trials told so far and on
    nothing else: a sweep that is interrupted and gone on with picks as one that ran through.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return spec.search.sampler.build(derive(spec.search.seed, "search", number) % 2**32)


def points(spec: SweepSpec) -> list[dict[str, Pick]] | None:
    """What a sampler with a fixed list of points tries, in this order; None for the others."""
    search = spec.search
    return search.sampler.points(spec.space, search.trials, search.seed, base_point(spec))


def points_left(spec: SweepSpec, tried: Sequence[Mapping[str, Pick]]) -> list[dict[str, Pick]] | None:
    """The points that trials have not taken, in their order. A list that was made anew, of a space that has grown, has
    some of its points at other places."""
    found = points(spec)
    if found is None:
        return None
    taken = Counter(key(picks) for picks in tried)
    left = []
    for picks in found:
        if taken[key(picks)] > 0:
            taken[key(picks)] -= 1
        else:
            left.append(picks)
    return left


def base_point(spec: SweepSpec) -> dict[str, Pick] | None:
    """The picks that make the base recipe, as the file has it; None where they are not in the space."""
    base = decode(TrialConfig, spec.base)
    picks: dict[str, Pick] = {}
    for index, axis in enumerate(spec.space):
        if axis.exists(picks):
            tried = [{**picks, axis.path: pick} for pick in _candidates(axis, base)]
            fitting = [some for some in tried if _makes(base, spec, spec.space[: index + 1], some)]
            if not fitting:
                return None
            picks = fitting[0]
    return picks


def _candidates(axis: Axis, base: TrialConfig) -> Sequence[Pick]:
    """Picks of an axis that may be the base's."""
    if isinstance(axis.domain, Choice):
        return list(axis.domain.options)
    value: Any = base
    for name in axis.path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
    number = getattr(value, "amount", value)  # of a duration
    if not isinstance(number, int | float) or not axis.domain.low <= number <= axis.domain.high:
        return []
    return [int(number) if axis.domain.integer else float(number)]


def _makes(base: TrialConfig, spec: SweepSpec, axes: Sequence[Axis], picks: Mapping[str, Pick]) -> bool:
    try:
        return bool(decode(TrialConfig, place(spec.base, axes, picks)) == base)
    except ConfigError:  # an option that only goes with another axis' options
        return False
