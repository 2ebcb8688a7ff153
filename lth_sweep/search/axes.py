"""From the axes of a sweep to what a sampler sees: labels and numbers. Axes come parents first, as in a SweepSpec."""

from collections.abc import Sequence

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import BaseTrial

from lth_sweep.sweepfile.axis import Axis, Choice, Pick


def suggest(trial: BaseTrial, space: Sequence[Axis]) -> dict[str, Pick]:
    """Let the study's sampler pick a point of the space; axes whose condition does not hold are left out."""
    picks: dict[str, Pick] = {}
    for axis in space:
        if axis.exists(picks):
            picks[axis.path] = _suggest(trial, axis)
    return picks


def distribution(axis: Axis) -> BaseDistribution:
    """What `suggest` asks the sampler for."""
    domain = axis.domain
    if isinstance(domain, Choice):
        return CategoricalDistribution(list(domain.options))
    if domain.integer:
        return IntDistribution(int(domain.low), int(domain.high), log=domain.log)
    return FloatDistribution(domain.low, domain.high, log=domain.log)


def _suggest(trial: BaseTrial, axis: Axis) -> Pick:
    domain = axis.domain
    if isinstance(domain, Choice):
        return str(trial.suggest_categorical(axis.path, list(domain.options)))
    if domain.integer:
        return trial.suggest_int(axis.path, int(domain.low), int(domain.high), log=domain.log)
    return trial.suggest_float(axis.path, domain.low, domain.high, log=domain.log)
