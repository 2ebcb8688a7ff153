"""The default sampler: most expected improvement per training step (Snoek, Larochelle & Adams 2012).

A Gaussian process models the logarithm of the smallest matching size over all axes together. Its hyperparameters are
not fitted but averaged over (section 3.1): drawn from a prior, and weighted by how well they explain the trials, so
that four trials are not explained by a single story. Of many points the one is taken whose expected improvement,
divided by the steps that it would take to become the smallest, is largest (section 3.2). Those steps need no model: the
rate says how many levels lead to a density, and the rewind point how long each is.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.recipe.forecast import Forecast
from lth_sweep.sweepfile.axis import Axis, Between, Choice, Pick
from lth_sweep.sweepfile.points import key, point
from lth_sweep.sweepfile.samplers import Frugal
from lth_sweep.sweepfile.spec import SweepSpec

Array = NDArray[np.float64]
Picks = Mapping[str, Pick]

MODELS = 64
"""Draws of hyperparameters."""
MODELLED = 128
"""Trials that a model is made of, at most: the best half and the latest half. Its work grows with their cube."""
FIRST = 16
"""Points drawn for each trial before there is a model. More would make the first trials nearly the same in all sweeps
of a space, and what they find a matter of luck that the recorded table could not tell from merit."""
COSTED = 32
"""Points, the most promising, of which the steps are counted: that takes most of a millisecond each."""


@dataclass(frozen=True)
class Known:
    """What is known of a trial that has ended, or waits with its other seeds."""

    picks: Picks
    size: float | None
    """Smallest matching size, else that of the level nearest to matching; None of a trial that failed."""
    violation: float
    """0 or less where it matches."""
    density: float | None = None
    """Of that level."""


def pick(spec: SweepSpec, told: Sequence[Known], running: Sequence[Picks], seed: int) -> dict[str, Pick]:
    """The next point: far from the others until enough trials are told, then the most promising per step."""
    assert isinstance(spec.search.sampler, Frugal)
    draw = np.random.default_rng(seed)
    known = [one for one in told if one.size is not None]
    if len(known) < spec.search.sampler.startup:
        return _farthest(spec.space, [*(one.picks for one in told), *running], _points(spec.space, {}, draw, FIRST))
    best = min(known, key=lambda one: (one.violation > 0, one.violation if one.violation > 0 else one.size))
    drawn = _points(spec.space, best.picks, draw, spec.search.sampler.candidates)
    tried = {key(picks) for picks in [*(one.picks for one in told), *running]}
    fresh = list({key(picks): picks for picks in drawn if key(picks) not in tried}.values())
    if not fresh:
        return drawn[0]
    with _blas().limit(limits=1, user_api="blas"):
        gain = _improvement(spec.space, _some(known), running, fresh, draw)
    order = np.argsort(-gain, kind="stable")[:COSTED]
    density = best.density if best.violation <= 0 else None
    steps = np.array([_steps(spec, fresh[index], density) for index in order])
    return fresh[order[int(np.argmax(gain[order] / steps))]]


def _points(space: Sequence[Axis], best: Picks, draw: Generator, n: int) -> list[dict[str, Pick]]:
    """Random points; in every other one, each pick is that of `best` with probability 1/2."""
    shares, keeps = draw.random((n, len(space))), draw.random((n, len(space))) < 0.5
    keeps[::2] = False
    kept = [[axis.path for axis, same in zip(space, row, strict=True) if same] for row in keeps.tolist()]
    return [
        point(space, row, {path: best[path] for path in paths if path in best})
        for row, paths in zip(shares.tolist(), kept, strict=True)
    ]


def _farthest(space: Sequence[Axis], tried: Sequence[Picks], points: Sequence[dict[str, Pick]]) -> dict[str, Pick]:
    """The point whose nearest neighbour among those tried is farthest away (Johnson, Moore & Ylvisaker 1990)."""
    if not tried:
        return points[0]
    apart = _apart(space, _coordinates(space, points), _coordinates(space, tried)).sum(0)
    return points[int(np.argmax(apart.min(1)))]


@cache
def _blas() -> ThreadpoolController:
    """Threads for matrices as small as these mostly wait for each other: of 300 trials on two busy cores, the next one
    took 1.06 s with two threads and 0.09 s with one."""
    return ThreadpoolController()


def _some(known: Sequence[Known]) -> Sequence[Known]:
    if len(known) <= MODELLED:
        return known
    latest, others = known[-MODELLED // 2 :], known[: -MODELLED // 2]
    return [*sorted(others, key=lambda one: (one.violation > 0, one.size))[: MODELLED // 2], *latest]


def _improvement(
    space: Sequence[Axis], known: Sequence[Known], running: Sequence[Picks],
    points: Sequence[Picks], draw: Generator,
) -> Array:  # fmt: skip
    """Expected improvement of each point over the best known, in standard deviations of what is known.

    A trial that does not match counts as the largest size; while none does, what is to be small is the violation. Of a
    running trial the mean is expected, so that another one is not started beside it (Ginsbourger et al. 2010).
    """
    if any(one.violation <= 0 for one in known):
        largest = max(one.size or 0.0 for one in known)
        values = np.log([one.size if one.violation <= 0 and one.size else largest for one in known])
    else:
        values = np.array([one.violation for one in known])
    values = (values - values.mean()) / (values.std() + 1e-6)
    values = np.concatenate([values, np.zeros(len(running))])
    seen = _coordinates(space, [*(one.picks for one in known), *running])
    new = _coordinates(space, points)
    scales = np.exp(draw.normal(0.0, 1.0, (MODELS, len(space))))  # 1 is the length of an axis
    noise = np.exp(draw.normal(math.log(0.3), 0.5, MODELS))
    covariance = _kernel(_apart(space, seen, seen), scales) + (noise**2 + 1e-6)[:, None, None] * np.eye(len(seen))
    root = np.linalg.cholesky(covariance)
    white = np.linalg.solve(root, np.broadcast_to(values[:, None], (MODELS, len(seen), 1)))[..., 0]
    evidence = -0.5 * (white**2).sum(1) - np.log(np.diagonal(root, axis1=1, axis2=2)).sum(1)
    weights = np.exp(evidence - evidence.max())
    some = weights > 1e-3
    across = np.linalg.solve(root[some], _kernel(_apart(space, seen, new), scales[some]))
    mean = np.einsum("knm,kn->km", across, white[some])
    deviation = np.sqrt(np.maximum(1 - (across**2).sum(1), 1e-9))
    gain: Array = weights[some] @ _expected(values.min() - mean, deviation) / weights[some].sum()
    return gain


def _expected(gap: Array, deviation: Array) -> Array:
    """max(0, x) on average, where x is normal with this mean and deviation."""
    from scipy.special import ndtr

    z = gap / deviation
    found: Array = gap * ndtr(z) + deviation * np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    return np.maximum(found, 1e-300)


def _kernel(apart: Array, scales: Array) -> Array:
    """Squared exponential, for each row of `scales`. apart: (axes, n, m)."""
    found: Array = np.exp(-0.5 * np.tensordot(scales**-2, apart, 1))
    return found


def _apart(space: Sequence[Axis], a: Array, b: Array) -> Array:
    """Squared distances along each axis, from 0 to 1: labels are the same or not, and so are an axis that exists and
    one that does not. (axes, n, m)"""
    found = (a[:, None] - b[None]) ** 2
    for index, axis in enumerate(space):
        if not _numbers(axis):
            found[..., index] = found[..., index] > 0
    there = ~np.isnan(a)[:, None] & ~np.isnan(b)[None]
    neither = np.isnan(a)[:, None] & np.isnan(b)[None]
    return np.moveaxis(np.where(there, found, np.where(neither, 0.0, 1.0)), -1, 0)


def _coordinates(space: Sequence[Axis], points: Sequence[Picks]) -> Array:
    """Numbers from 0 to 1, labels counted, NaN where an axis does not exist. (points, axes)"""
    rows = [[_place(axis, picks[axis.path]) if axis.path in picks else math.nan for axis in space] for picks in points]
    return np.array(rows, dtype=float)


def _numbers(axis: Axis) -> bool:
    """Whether its points lie on a line: a range, or a choice among numbers."""
    if isinstance(axis.domain, Between):
        return True
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in axis.domain.options.values())


def _place(axis: Axis, pick: Pick) -> float:
    domain = axis.domain
    if not isinstance(domain, Choice):
        value, low, high, log = float(pick), domain.low, domain.high, domain.log
    elif _numbers(axis):
        low, high = min(domain.options.values()), max(domain.options.values())
        value, log = domain.options[str(pick)], low > 0
    else:
        return float(list(domain.options).index(str(pick)))
    if log:
        value, low, high = math.log(value), math.log(low), math.log(high)
    return (value - low) / (high - low) if high > low else 0.0


def _steps(spec: SweepSpec, picks: Picks, density: float | None) -> float:
    """Of one seed down to this density, or down the whole ladder, about; infinite where the options do not go together.

    As if each level kept exactly 1 - rate of all weights. The dense run is counted, though it may be on record.
    """
    try:
        forecast = Forecast(spec.recipe(picks))
        return forecast.steps(None if density is None else forecast.levels_to(density))
    except ConfigError:
        return math.inf
