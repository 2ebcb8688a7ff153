"""How ReLU's zeros act as pruning: the units that it silences in a dense network, beside those that pruning removes.

A unit that is active on few or none of the examples passes little or nothing on, and gets little or no gradient: it is
pruned in effect, with all its weights. Do these units lie where pruning later removes all weights in or out?
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lth_sweep.lottery.probes.activity import Activity, activity, counted
from lth_sweep.lottery.ticket.ticket import Ticket
from lth_sweep.lottery.training.evaluation import TRAIN_LIMIT, evaluate


@dataclass(frozen=True)
class Silence:
    """The units of one hidden layer with a ReLU of its own, in a dense network and its ticket."""

    layer: str
    units: int
    dead: int
    """Active on no training example, in the dense network."""
    rare: int
    """Active on fewer than 1%, in the dense network."""
    cut: int
    """No path of kept weights leads through them, in the ticket."""
    both: int
    """Dead or rare in the dense network, and cut in the ticket."""
    ticket_dead: int
    """Of those that are not cut, as are `ticket_rare`."""
    ticket_rare: int

    @property
    def by_chance(self) -> float:
        """How many would be both, if the one had nothing to do with the other."""
        return (self.dead + self.rare) * self.cut / self.units

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "by_chance": self.by_chance}


def silence(dense: Ticket, ticket: Ticket) -> list[Silence]:
    """For each layer of which both can be told, on the first 10,000 training examples."""
    before, after = _activity(dense), _activity(ticket)
    found = []
    for layer in before.dead:
        if layer in after.cut and layer in after.dead:
            silent, cut = before.dead[layer] | before.rare[layer], after.cut[layer]
            found.append(Silence(
                layer, len(cut), _count(before.dead, layer), _count(before.rare, layer), int(cut.sum()),
                int((silent & cut).sum()), _count(after.dead, layer), _count(after.rare, layer),
            ))  # fmt: skip
    return found


@torch.no_grad()
def _activity(ticket: Ticket) -> Activity:
    network = ticket.trial.network(ticket.module)
    with counted(network) as counts:
        evaluate(network.module, ticket.trial.task, ticket.splits.train, TRAIN_LIMIT)
    return activity(network, network.full.replace(ticket.masks.tensors), counts)


def _count(units: Mapping[str, Tensor], layer: str) -> int:
    return int(units[layer].sum())
