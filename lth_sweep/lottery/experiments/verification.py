"""A candidate once more: trained on a fresh seed beside its controls, and then, once, seen on the test split.

Nothing else in this package reads the test split, but for the labels of one's own, when they are loaded.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import NamedTuple, Self

from torch import Tensor

from lth_sweep.lottery.data import load
from lth_sweep.lottery.loop import run
from lth_sweep.lottery.recipe.trial import Runtime, TrialConfig
from lth_sweep.lottery.records import LevelRecord
from lth_sweep.lottery.runs.stages import Stages
from lth_sweep.lottery.task import Metric
from lth_sweep.lottery.ticket.ticket import Ticket
from lth_sweep.lottery.training.evaluation import evaluate, is_constant, values


@dataclass(frozen=True)
class Fresh:
    """One replica of a candidate, on a seed that the search has not seen."""

    seed: int
    dense: LevelRecord
    ticket: LevelRecord | None
    """None where training diverged on the way."""
    problem: str = ""


@dataclass(frozen=True)
class Pair:
    """Two networks of one seed on the same test examples: dense and ticket, or ticket and control."""

    seed: int
    examples: int
    reference: float
    """The metric of the first, as is `value` of the second."""
    value: float
    difference: float
    """Second - first."""
    error: float
    """Standard error of the difference over the examples; NaN for a metric that is known of the whole set alone."""

    @classmethod
    def of_shares(cls, seed: int, examples: int, reference: float, value: float, gained: int, lost: int) -> Self:
        """Of a metric that is a share of the examples. gained, lost: those that only the second, or the first, has.
        Half an example more in each, so that no difference at all is no certainty (Agresti & Min 2005)."""
        n, one, other = examples + 2, gained + 0.5, lost + 0.5
        error = math.sqrt(one + other - (one - other) ** 2 / n) / n
        return cls(seed, examples, reference, value, (gained - lost) / examples, error)


@dataclass(frozen=True)
class Tested:
    """What the test split says about a candidate."""

    pairs: tuple[Pair, ...]
    """Dense and ticket, one for each fresh seed."""
    controls: Mapping[str, tuple[Pair, ...]]
    """Ticket and control, by kind."""
    problem: str = ""
    """Why this is no ticket, whatever its metrics."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Why there is no control of this kind."""


def again(trial: TrialConfig, store: Stages, runtime: Runtime, seed: int, level: int) -> Fresh:
    """Run the trial's ladder on `seed` up to `level`, without twins. Nothing is trained that the store already has."""
    alone = replace(trial, seeds=(seed,), stability=False)
    ladder = [records[0] for records in islice(run(alone, store, runtime), level + 1)]
    last = ladder[-1]
    if len(ladder) == level + 1 and not any(map(math.isnan, last.metrics.values())):
        return Fresh(seed, ladder[0], last)
    return Fresh(seed, ladder[0], None, f"training diverged on fresh seed {seed}, level {last.level}")


def test(
    trial: TrialConfig,
    store: Stages,
    runtime: Runtime,
    fresh: Sequence[Fresh],
    controls: Mapping[str, Sequence[LevelRecord]],
    name: str,
) -> Tested:
    """Read the test split, once, and see all of a candidate's networks on it.

    `name`: of the metric. `controls`: by kind, a record for each of `fresh`, all of which have a ticket. The networks
    must be in the store.
    """
    source, task = load(trial.data).test().to(runtime.device), trial.task
    metric = task.metric(name)

    def seen(record: LevelRecord) -> Seen:
        module = Ticket.load(trial, record, store).module.to(runtime.device)
        constant = is_constant(module, task, source)
        if not metric.per_example:
            return Seen(evaluate(module, task, source)[metric.name], constant)
        return Seen.of(metric, *values(module, task, source, metric.name), constant)

    pairs: list[Pair] = []
    others: dict[str, list[Pair]] = {kind: [] for kind in controls}
    problem = ""
    for i, one in enumerate(fresh):
        assert one.ticket, "a candidate that diverged is not tested"
        ticket = seen(one.ticket)
        if ticket.is_constant:
            problem = f"the ticket of fresh seed {one.seed} gives every test example the same {task.said}"
        pairs.append(_pair(one.seed, len(source), seen(one.dense), ticket))
        for kind, records in controls.items():
            others[kind].append(_pair(one.seed, len(source), ticket, seen(records[i])))
    return Tested(tuple(pairs), {kind: tuple(found) for kind, found in others.items()}, problem)


class Seen(NamedTuple):
    """What the test split says of a network."""

    value: float
    is_constant: bool
    yes: Tensor | None = None
    """Of each example, bool [n], where the metric is the share of those that have something."""
    parts: Tensor | None = None
    """By how much each example moves the value, times n, float64 [n]; None where it is known of the whole set alone."""

    @classmethod
    def of(cls, metric: Metric, each: Tensor, weights: Tensor, is_constant: bool) -> Self:
        """Of the values of the examples, and how much each counts, float64 [n]. To first order, as the metric may be a
        mean by weights, or a function of one (Särndal et al. 1992, section 5.5)."""
        weights = weights / weights.mean()
        mean = float((each * weights).mean())
        parts = metric.slope(mean) * weights * (each - mean)
        is_share = bool(((each == 0) | (each == 1)).all() and (weights == 1).all()) and not metric.exp
        return cls(metric.of(mean), is_constant, each > 0 if is_share else None, parts)


def _pair(seed: int, examples: int, before: Seen, after: Seen) -> Pair:
    if before.yes is not None and after.yes is not None:
        gained, lost = int((after.yes & ~before.yes).sum()), int((before.yes & ~after.yes).sum())
        return Pair.of_shares(seed, examples, before.value, after.value, gained, lost)
    error = math.nan
    if before.parts is not None and after.parts is not None:
        error = float((after.parts - before.parts).std()) / math.sqrt(examples)
    return Pair(seed, examples, before.value, after.value, after.value - before.value, error)
