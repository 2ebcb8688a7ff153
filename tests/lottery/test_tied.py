"""Layers that share one weight: it is pruned, counted and stored once, under the first of its names."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lth_sweep.lottery.loop import run
from lth_sweep.lottery.network.compaction import compact
from lth_sweep.lottery.network.models import MODELS, Model
from lth_sweep.lottery.network.sizes import density, sizes
from lth_sweep.lottery.network.state import State
from lth_sweep.lottery.network.structure import Network
from lth_sweep.lottery.probes.activity import relu_inputs
from lth_sweep.lottery.pruning.granularity import Unit
from lth_sweep.lottery.recipe.methods import EdgePopup
from lth_sweep.lottery.recipe.trial import Runtime
from lth_sweep.lottery.runs.stages import Store
from lth_sweep.lottery.ticket.export import export
from lth_sweep.lottery.ticket.loading import load_ticket
from lth_sweep.lottery.ticket.ticket import Ticket
from tests.lottery.test_loop import TRIAL


class Tied(nn.Module):
    """`second` uses the weight of `first`, and has a bias of its own."""

    def __init__(self, inputs: int = 64) -> None:
        super().__init__()
        self.start = nn.Linear(inputs, 16)
        self.first, self.second = nn.Linear(16, 16), nn.Linear(16, 16)
        self.second.weight = self.first.weight
        self.output = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.start(x.flatten(1)).relu()
        return self.output(self.second(self.first(x).relu()).relu())


@dataclass(frozen=True)
class TiedModel(Model):
    def build(self, example: Any, outputs: int) -> nn.Module:
        return Tied()


EXAMPLE = torch.zeros(2, 64)


def test_a_shared_weight_counts_once_and_its_work_twice() -> None:
    network = Network(Tied(), EXAMPLE)
    assert list(network.layers) == ["start", "first", "output"]
    masks = network.full.replace({"first.weight": torch.eye(16).bool()})
    assert masks.density == (64 * 16 + 16 + 160) / (64 * 16 + 256 + 160)
    assert density(network, masks) == {"start": 1, "first": 1 / 16, "output": 1}
    assert sizes(network, masks)["params"] == 64 * 16 + 16 + 3 * 16 + 170
    assert sizes(network, masks)["flops"] == 2 * (64 * 16 + 2 * 16 + 160)


def test_the_last_layer_is_the_output_by_whatever_name() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    module[4].weight = module[0].weight  # type: ignore[assignment]
    network = Network(module, torch.zeros(2, 4))
    assert (list(network.layers), network.output) == (["0", "2"], ("0",))


def test_units_of_layers_that_share_a_weight_go_together() -> None:
    """Units of `start` are columns of the shared weight, so that they are of `second`, too, and its rows."""
    module = Tied()
    module.output = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 10))  # type: ignore[assignment]
    network = Network(module, EXAMPLE)
    assert list(Unit().layers(network)) == ["output.0"]
    assert Unit(coupled=True).layers(network) == {"start": ("start", "first"), "output.0": ("output.0",)}
    assert set(relu_inputs(network)) == {"start", "output.0"}
    masks = Unit().without({"start": torch.arange(16) < 5}, network.full, network)
    smaller = compact(module, masks, EXAMPLE)
    assert smaller.first.weight is smaller.second.weight
    assert smaller.first.weight.shape == (11, 11)
    State.of(module).masked(masks).load(module)
    torch.testing.assert_close(smaller(torch.ones(2, 64)), module.eval()(torch.ones(2, 64)))


def test_a_smaller_network_shares_the_weight_still() -> None:
    torch.manual_seed(0)
    module = Tied().eval()
    module.output = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 10))  # type: ignore[assignment]
    network = Network(module, EXAMPLE)
    masks = Unit().without({"output.0": torch.arange(8) < 3}, network.full, network)
    masks = masks.replace({"first.weight": torch.rand(16, 16) < 0.5})
    smaller = compact(module, masks, EXAMPLE)
    assert smaller.first.weight is smaller.second.weight
    assert smaller.output[0].weight.shape == (5, 16)  # type: ignore[index]
    State.of(module).masked(masks).load(module)
    torch.testing.assert_close(smaller(torch.ones(2, 64)), module(torch.ones(2, 64)))


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_supermask(seeds: int, tmp_path: Path) -> None:
    trial = replace(TRIAL, model=TiedModel(), seeds=seeds, levels=1, method=EdgePopup(0.3))
    record = list(run(trial, Store(tmp_path), Runtime()))[-1][0]
    ticket = Ticket.load(trial, record, Store(tmp_path))
    assert int(ticket.module.second.weight.count_nonzero()) == ticket.masks.kept["first.weight"]
    assert record.density == pytest.approx(0.3, abs=0.01)
    assert record.curve[-1].metrics["loss"] == pytest.approx(record.metrics["loss"], rel=1e-4)


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_ladder(seeds: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trained alone and two at once, and read again from what is stored."""
    trial = replace(TRIAL, model=TiedModel(), seeds=seeds, levels=2)
    found = list(run(trial, Store(tmp_path), Runtime()))
    assert found[-1].density == (256 + 64 + 90) / (1024 + 256 + 160)
    ticket = Ticket.load(trial, found[-1][0], Store(tmp_path))
    assert "second.weight" not in ticket.state.model
    assert int(ticket.module.second.weight.count_nonzero()) == ticket.masks.kept["first.weight"] == 64
    monkeypatch.setitem(MODELS, "tied", TiedModel)
    assert export(ticket, tmp_path / "out", ["safetensors", "pt2"])
    loaded = load_ticket(tmp_path / "out")
    assert loaded.first.weight is loaded.second.weight
    x = ticket.splits.example
    torch.testing.assert_close(loaded(x), ticket.module(x))
