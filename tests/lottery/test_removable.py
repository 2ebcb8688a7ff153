"""Removals are tried on numbers that can be compared."""

from typing import Any

import pytest
import torch
from torch import Tensor

from lth_sweep.lottery.network.structure import Network
from tests.cases import odd

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
