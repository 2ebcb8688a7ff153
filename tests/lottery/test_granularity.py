"""What goes together: units and what belongs to them, coupled units, n of m."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.network.models import ResNet
from lth_sweep.lottery.network.structure import Network
from lth_sweep.lottery.pruning.granularity import NOfM, Unit
from tests.lottery.by_scores import prune


class Depthwise(nn.Module):
    """A convolution whose channels a second one reads in `groups`."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=groups)
        self.last = nn.Conv2d(8, 6, 1)
        self.output = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.grouped(self.norm(self.first(x)).relu()).relu()
        return self.output(self.last(x).relu().mean((2, 3)))


def test_two_of_four_on_a_literal() -> None:
    network = Network(nn.Sequential(nn.Linear(8, 2)), torch.zeros(2, 8))
    scores = torch.tensor([[4.0, 1, 3, 2, 0, 0, 0, 0], [1, 2, 3, 4, 5, 9, 9, 5]])
    masks = prune({"0": scores}, network.full, network, NOfM(2, 4), "layer", 0.2, {})
    assert masks["0.weight"].int().tolist() == [[1, 0, 1, 0, 0, 0, 1, 1], [0, 0, 1, 1, 0, 1, 1, 0]]
    again = prune({"0": -scores}, masks, network, NOfM(2, 4), "layer", 0.2, {})
    assert torch.equal(again["0.weight"], masks["0.weight"])
    finer = prune({"0": scores}, masks, network, NOfM(1, 4), "layer", 0.2, {})
    assert finer["0.weight"].int().tolist() == [[1, 0, 0, 0, 0, 0, 0, 1], [0, 0, 0, 1, 0, 0, 1, 0]]


def test_n_of_m_of_a_convolution_is_along_its_input_channels_and_spares_what_does_not_fit() -> None:
    network = Network(
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3), nn.Flatten(), nn.Linear(16, 5)), torch.zeros(2, 3, 6, 6)
    )
    scores = {layer: torch.rand(network.shapes[f"{layer}.weight"]) for layer in network.layers}
    masks = prune(scores, network.full, network, NOfM(1, 4), "layer", 0.2, {"output": 0.5})
    assert masks["0.weight"].all()
    assert (masks["1.weight"].unflatten(1, (2, 4)).sum(2) == 1).all()
    assert (masks["3.weight"].unflatten(1, (4, 4)).sum(2) == 1).all()
    best = scores["1"].unflatten(1, (2, 4)).argmax(2)
    assert torch.equal(masks["1.weight"].unflatten(1, (2, 4)).int().argmax(2), best)
    assert prune(scores, network.full, network, NOfM(1, 4), "layer", 0.2, {"output": 0})["3.weight"].all()


def test_n_of_m_that_fits_nowhere() -> None:
    network = Network(nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3)), torch.zeros(2, 6))
    with pytest.raises(ConfigError, match=r"no layer has a multiple of m = 4 inputs, but \{'0': 6, '1': 5\}"):
        NOfM().layers(network)
    with pytest.raises(ConfigError, match="n: must be at least 1 and below m = 4, but got 4"):
        NOfM(4, 4)


def test_units_of_a_residual_network_by_default_and_coupled() -> None:
    network = Network(ResNet(8, width=0.5).build(torch.zeros(2, 1, 8, 8), 10), torch.zeros(2, 1, 8, 8))
    assert set(Unit().layers(network)) == {"block1.conv1", "block2.conv1", "block3.conv1"}
    assert {first: set(layers) for first, layers in Unit(coupled=True).layers(network).items()} == {
        "conv": {"conv", "block1.conv2"},
        "block1.conv1": {"block1.conv1"},
        "block2.conv1": {"block2.conv1"},
        "block2.conv2": {"block2.conv2", "block2.shortcut.conv"},
        "block3.conv1": {"block3.conv1"},
        "block3.conv2": {"block3.conv2", "block3.shortcut.conv"},
    }


def test_coupled_units_go_together_and_their_outputs_are_zero_everywhere() -> None:
    torch.manual_seed(0)
    module = ResNet(8, width=0.5).build(torch.zeros(2, 1, 8, 8), 10)
    network = Network(module, torch.zeros(2, 1, 8, 8))
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim == 1:
                parameter.copy_(torch.rand_like(parameter))
    scores = {layer: module.weight.abs().detach() for layer, module in network.layers.items()}
    masks = prune(scores, network.full, network, Unit(coupled=True), "layer", 0.5, {})
    gone = ~masks["conv.weight"].flatten(1).any(1)
    mean = (scores["conv"].flatten(1).sum(1) + scores["block1.conv2"].flatten(1).sum(1)) / (9 + 8 * 9)
    assert gone.sum() == 4
    assert set(gone.nonzero().flatten().tolist()) == set(mean.argsort()[:4].tolist())
    for producer in ("conv.weight", "norm.weight", "norm.bias", "block1.conv2.weight", "block1.norm2.bias"):
        assert torch.equal(~masks[producer].flatten(1).any(1) if masks[producer].ndim > 1 else ~masks[producer], gone)
    for reader in ("block1.conv1.weight", "block2.conv1.weight", "block2.shortcut.conv.weight"):
        assert torch.equal(~masks[reader].transpose(0, 1).flatten(1).any(1), gone)
    for name, parameter in module.named_parameters():
        if name in masks:
            parameter.data.mul_(masks[name])
    seen: dict[str, Tensor] = {}
    block = dict(module.named_modules())["block1"]
    block.register_forward_hook(lambda module, inputs, output: seen.update(sum=output))
    module.eval()(torch.rand(5, 1, 8, 8))
    assert not seen["sum"][:, gone].any()
    assert seen["sum"][:, ~gone].any()


def test_depthwise_convolutions_go_with_what_they_read() -> None:
    network = Network(Depthwise(8), torch.zeros(2, 1, 6, 6))
    assert set(Unit().layers(network)) == {"last"}
    assert {first: set(layers) for first, layers in Unit(coupled=True).layers(network).items()} == {
        "first": {"first", "grouped"},
        "last": {"last"},
    }
    scores = {layer: torch.rand(network.shapes[f"{layer}.weight"]) for layer in network.layers}
    masks = prune(scores, network.full, network, Unit(coupled=True), "layer", 0.25, {})
    gone = ~masks["first.weight"].flatten(1).any(1)
    assert gone.sum() == 2
    for name in ("norm.weight", "norm.bias", "first.bias", "grouped.bias"):
        assert torch.equal(~masks[name], gone)
    assert torch.equal(~masks["grouped.weight"].flatten(1).any(1), gone)
    assert torch.equal(~masks["last.weight"].transpose(0, 1).flatten(1).any(1), gone)


def test_convolutions_in_groups_lose_as_many_in_each_group() -> None:
    network = Network(Depthwise(2), torch.zeros(2, 1, 6, 6))
    assert {name: units.count for name, units in Unit().units(network).items()} == {"first": 4, "grouped": 4, "last": 6}
    scores = {layer: torch.rand(network.shapes[f"{layer}.weight"]) for layer in network.layers}
    masks = prune(scores, network.full, network, Unit(), "layer", 0.5, {})
    for layer in ("first", "grouped"):
        gone = ~masks[f"{layer}.weight"].flatten(1).any(1)
        assert gone.sum() == 4
        assert torch.equal(gone[:4], gone[4:])
        assert torch.equal(~masks[f"{layer}.bias"], gone)
    read = masks["grouped.weight"].flatten(2).any(2)[masks["grouped.bias"]]
    assert torch.equal(read.any(0), masks["first.bias"][:4])
    masks = prune(scores, network.full, network, Unit(), "layer", 0.5, {"first": 0, "grouped": 0})
    assert masks["first.weight"].all()
    assert int(masks["last.weight"].flatten(1).any(1).sum()) == 3


class Concatenated(nn.Module):
    """What `first` and `second` make is joined, and added to what `third` makes of it: its units are theirs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 5)
        self.third, self.output = nn.Linear(9, 9), nn.Linear(9, 2)

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x).relu()
        both = torch.cat([first, self.second(first)], 1)
        return self.output(both + self.third(both.relu()))


def test_units_that_are_a_part_of_another_layers() -> None:
    network = Network(Concatenated(), torch.zeros(2, 3))
    assert Unit(coupled=True).layers(network) == {"first": ("first", "third"), "second": ("second", "third")}
    scores = {layer: torch.ones(network.shapes[f"{layer}.weight"]) for layer in network.layers}
    scores["third"][7] = 0
    masks = prune(scores, network.full, network, Unit(coupled=True), "global", 1 / 9, {})
    assert (~masks["third.weight"].any(1)).nonzero().tolist() == [[7]]
    assert (~masks["second.weight"].any(1)).nonzero().tolist() == [[3]]
    assert masks["first.weight"].all()
    assert Unit(coupled=True).left(masks, network) == {"first": 4, "second": 4}


def test_a_network_without_units_to_remove() -> None:
    network = Network(nn.Sequential(nn.Linear(4, 3)), torch.zeros(2, 4))
    with pytest.raises(ConfigError, match="units that can be removed; 0: its units are the network's output"):
        Unit().layers(network)


def test_a_coupled_group_is_spared_when_one_of_its_layers_is() -> None:
    network = Network(ResNet(8, width=0.5).build(torch.zeros(2, 1, 8, 8), 10), torch.zeros(2, 1, 8, 8))
    scores = {layer: torch.rand(network.shapes[f"{layer}.weight"]) for layer in network.layers}
    masks = prune(scores, network.full, network, Unit(coupled=True), "layer", 0.5, {"block1.conv2": 0})
    assert masks["conv.weight"].all()
    assert Unit(coupled=True).left(masks, network) == {
        "conv": 8, "block1.conv1": 4, "block2.conv1": 8, "block2.conv2": 8, "block3.conv1": 16, "block3.conv2": 16,
    }  # fmt: skip


def test_ladders_of_coupled_units_never_end_a_layer() -> None:
    network = Network(ResNet(8, width=0.25).build(torch.zeros(2, 1, 8, 8), 10), torch.zeros(2, 1, 8, 8))
    masks = network.full
    counts = []
    for scope in ("layer", "global") * 5:
        scores = {layer: torch.rand(network.shapes[f"{layer}.weight"]) for layer in network.layers}
        masks = prune(scores, masks, network, Unit(coupled=True), scope, 0.6, {})  # type: ignore[arg-type]
        counts.append(sum(Unit(coupled=True).left(masks, network).values()))
    assert all(after <= before for before, after in pairwise(counts))
    assert set(Unit(coupled=True).left(masks, network).values()) == {1}
