"""A candidate once more: trained on a fresh seed beside its controls, and then, once, seen on the test split.

Nothing else in this package reads the test split.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import torch
from torch import Tensor

from lth_sweep.lottery.data import Examples, load
from lth_sweep.lottery.loop import run
from lth_sweep.lottery.recipe.trial import Runtime, TrialConfig
from lth_sweep.lottery.records import LevelRecord
from lth_sweep.lottery.runs.stages import Stages
from lth_sweep.lottery.ticket.ticket import Ticket
from lth_sweep.lottery.training.evaluation import BATCH


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
    if len(ladder) == level + 1 and last.metrics["accuracy"] == last.metrics["accuracy"]:
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
    examples = load(trial.data).test().to(runtime.device)

    def classes(record: LevelRecord) -> Tensor:
        return predict(Ticket.load(trial, record, store), examples)

    pairs: list[Pair] = []
    others: dict[str, list[Pair]] = {kind: [] for kind in controls}
    problem = ""
    for i, one in enumerate(fresh):
        assert one.ticket, "a candidate that diverged is not tested"
        ticket = classes(one.ticket)
        if (ticket == ticket[0]).all():
            problem = f"the ticket of fresh seed {one.seed} gives every test example the same class"
        pairs.append(_pair(one.seed, classes(one.dense), ticket, examples.y))
        for kind, records in controls.items():
            others[kind].append(_pair(one.seed, ticket, classes(records[i]), examples.y))
    return Tested(tuple(pairs), {kind: tuple(found) for kind, found in others.items()}, problem)


@torch.no_grad()
def predict(ticket: Ticket, examples: Examples) -> Tensor:
    """The class of each example, int64 [n]; -1, which is none, where a logit is not finite."""
    module = ticket.module.to(examples.x.device)
    logits = torch.cat([module(x) for x in examples.x.split(BATCH)])
    return torch.where(logits.isfinite().all(1), logits.argmax(1), -1)


def _pair(seed: int, reference: Tensor, other: Tensor, y: Tensor) -> Pair:
    before, after = reference == y, other == y
    return Pair(
        seed,
        len(y),
        int(before.sum()) / len(y),
        int(after.sum()) / len(y),
        int((after & ~before).sum()),
        int((before & ~after).sum()),
    )
