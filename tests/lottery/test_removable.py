"""Removals are tried on numbers that can be compared."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.loop import run
from lth_sweep.lottery.network.structure import Network
from lth_sweep.lottery.network.units.removable import CHANGES
from lth_sweep.lottery.recipe.trial import Runtime
from lth_sweep.lottery.runs.stages import Store
from lth_sweep.lottery.ticket.export import export
from lth_sweep.lottery.ticket.ticket import Ticket
from tests.cases import odd
from tests.cases.table import Case

ABOVE_0 = torch.rand(8, 12, 6) + 0.1


@pytest.mark.parametrize("shared", [False, True])
def test_units_are_tried_on_real_inputs_where_random_ones_give_no_numbers(shared: bool) -> None:
    found = Network(odd.Logarithms(shared), ABOVE_0)
    assert set(found.spared) == ({"a", "head"} if shared else {"head"})


def test_nothing_is_removed_where_there_are_no_numbers_to_compare() -> None:
    class OfNegatives(odd.Logarithms):
        def forward(self, x: Tensor) -> Any:
            return super().forward(-x)

    assert "not finite" in Network(OfNegatives(False), ABOVE_0).spared["a"]


def test_a_network_that_draws_at_random_when_it_is_judged_is_named(tmp_path: Path) -> None:
    trial = Case("odd", "Sampled", "Seq", "", options={"always": True}).trial("weight")
    assert set(trial.network().spared.values()) == {CHANGES}
    store = Store(tmp_path / "store")
    ticket = Ticket.load(trial, [level[0] for level in run(trial, store, Runtime())][-1], store)
    with pytest.raises(ConfigError, match=f"safetensors failed: {CHANGES}"):
        export(ticket, tmp_path, ["safetensors"])


def test_the_sum_of_what_a_layer_makes_several_times_couples_its_units() -> None:
    units = Network(odd.Looped(), ABOVE_0).units
    assert {name: one.coupled for name, one in units.items()} == {"a": True, "up": False}
