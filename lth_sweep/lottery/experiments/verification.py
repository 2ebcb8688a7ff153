"""A candidate once more: trained on a fresh seed beside its controls, and then, once, seen on the test split.

Nothing else in this package reads the test split.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from torch import Tensor

from lth_sweep.lottery.data import load
from lth_sweep.lottery.loop import run
from lth_sweep.lottery.recipe.trial import Runtime, TrialConfig
from lth_sweep.lottery.records import LevelRecord
from lth_sweep.lottery.runs.stages import Stages
from lth_sweep.lottery.ticket.ticket import Ticket
from lth_sweep.lottery.training.evaluation import is_constant, values


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
    """Accuracy of the first, as is `accuracy` of the second."""
    accuracy: float
    gained: int
    """Examples that only the second gets right."""
    lost: int
    """Examples that only the first gets right."""

    @property
    def difference(self) -> float:
        return (self.gained - self.lost) / self.examples


@dataclass(frozen=True)
class Tested:
    """What the test split says about a candidate."""

    pairs: tuple[Pair, ...]
    """Dense and ticket, one for each fresh seed."""
    controls: Mapping[str, tuple[Pair, ...]]
    """Ticket and control, by kind."""
    problem: str = ""
    """Why this is no ticket, whatever its accuracy."""
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
) -> Tested:
    """Read the test split, once, and see all of a candidate's networks on it.

    `controls`: by kind, a record for each of `fresh`, all of which have a ticket. The networks must be in the store.
    """
    source, task = load(trial.data).test().to(runtime.device), trial.task
    metric = task.metric().name

    def seen(record: LevelRecord) -> tuple[Tensor, bool]:
        module = Ticket.load(trial, record, store).module.to(runtime.device)
        return values(module, task, source, metric), is_constant(module, task, source)

    pairs: list[Pair] = []
    others: dict[str, list[Pair]] = {kind: [] for kind in controls}
    problem = ""
    for i, one in enumerate(fresh):
        assert one.ticket, "a candidate that diverged is not tested"
        ticket, constant = seen(one.ticket)
        if constant:
            problem = f"the ticket of fresh seed {one.seed} gives every test example the same class"
        pairs.append(_pair(one.seed, seen(one.dense)[0], ticket))
        for kind, records in controls.items():
            others[kind].append(_pair(one.seed, ticket, seen(records[i])[0]))
    return Tested(tuple(pairs), {kind: tuple(found) for kind, found in others.items()}, problem)


def _pair(seed: int, before: Tensor, after: Tensor) -> Pair:
    return Pair(
        seed,
        len(before),
        float(before.mean()),
        float(after.mean()),
        int((after > before).sum()),
        int((before > after).sum()),
    )
