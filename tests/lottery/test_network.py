"""What goes with a unit, checked against the network itself."""

import pytest
import torch
from torch import Tensor, nn

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.network.compaction import compact, pruned_units
from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.sizes import sizes
from lth_sweep.lottery.network.state import State
from lth_sweep.lottery.network.structure import Network
from lth_sweep.lottery.probes.activity import relu_inputs
from lth_sweep.lottery.pruning.granularity import Unit
from lth_sweep.lottery.recipe.trial import TrialConfig
from tests.lottery.by_scores import prune


class Residual(nn.Module):
    """first -> (inner -> outer) + shortcut -> output."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.inner = nn.Conv2d(4, 6, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.outer = nn.Conv2d(6, 4, 3, padding=1)
        self.output = nn.Linear(4 * 64, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        x = x + self.outer(self.norm(self.inner(x)).relu())
        return self.output(x.relu().flatten(1))


def test_units_that_meet_in_an_addition_are_left_alone() -> None:
    assert list(Unit().layers(Network(Residual(), torch.zeros(2, 1, 8, 8)))) == ["inner"]


def test_a_removed_unit_has_no_effect_left() -> None:
    """With everything of units 1 and 4 of `inner` at zero, the output is that of the network without them, and does not
    move however their inputs do."""
    torch.manual_seed(0)
    module = Residual().eval()
    nn.init.normal_(module.norm.bias)
    nn.init.normal_(module.norm.running_mean)
    network = Network(module, torch.zeros(2, 1, 8, 8))
    full = network.full
    gone = torch.tensor([False, True, False, False, True, False])
    masks = Unit().without({"inner": gone}, full, network)
    assert {name: kept for name, kept in masks.kept.items() if name not in full or kept < full.kept[name]} == {
        "inner.weight": 4 * 4 * 9,
        "norm.weight": 4,
        "norm.bias": 4,
        "outer.weight": 4 * 4 * 9,
    }
    x = torch.randn(3, 1, 8, 8)
    with torch.no_grad():
        first = module.first(x).relu()
        hidden = module.norm(module.inner(first)).relu()[:, ~gone]
        expected = first + nn.functional.conv2d(hidden, module.outer.weight[:, ~gone], module.outer.bias, padding=1)
        expected = module.output(expected.relu().flatten(1))
        for name, parameter in module.named_parameters():
            if name in masks:
                parameter.mul_(masks[name])
        torch.testing.assert_close(module(x), expected)


def test_a_filter_before_flatten_takes_all_its_pixels_along() -> None:
    module = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(3 * 9, 5))
    network = Network(module, torch.zeros(2, 1, 8, 8))
    full = network.full
    masks = Unit().without({"0": torch.tensor([False, True, False])}, full, network)
    assert masks["4.weight"].int().tolist() == [[1] * 9 + [0] * 9 + [1] * 9] * 5
    assert masks["0.bias"].tolist() == [True, False, True]


def test_sizes_by_hand() -> None:
    """Conv 3 x 1x3x3 at 36 pixels and a Linear 27 -> 5; then without the filter in the middle."""
    module = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(3 * 9, 5))
    network = Network(module, torch.zeros(2, 1, 8, 8))
    full = network.full
    assert sizes(network, full) == {
        "params": 27 + 3 + 135 + 5,
        "flops": 2 * (27 * 36 + 135),
        "bytes": 4 * (27 + 3 + 135 + 5),
    }
    masks = Unit().without({"0": torch.tensor([False, True, False])}, full, network)
    assert sizes(network, masks) == {
        "params": 18 + 2 + 90 + 5,
        "flops": 2 * (18 * 36 + 90),
        "bytes": 4 * (18 + 2 + 90 + 5),
    }


def test_bytes_of_scattered_weights_are_values_and_a_bitmask() -> None:
    network = Network(nn.Sequential(nn.Linear(10, 10)), torch.zeros(2, 10))
    masks = Masks({"0.weight": torch.eye(10).bool()})
    assert sizes(network, masks) == {"params": 10 + 10, "flops": 20, "bytes": 13 + 4 * 10 + 4 * 10}


class Captioned(nn.Module):
    """An image, and a word that is a number."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(7, 4)
        self.image, self.both, self.output = nn.Linear(6, 3), nn.Linear(7, 5), nn.Linear(5, 2)

    def forward(self, image: Tensor, word: Tensor) -> Tensor:
        x = torch.cat([self.image(image).relu(), self.words(word)], 1)
        return self.output(self.both(x).relu())


@pytest.mark.parametrize("named", [True, False])
def test_several_inputs_of_several_types(named: bool) -> None:
    torch.manual_seed(0)
    image, word = torch.rand(3, 6), torch.tensor([6, 0, 3])
    example = {"word": word, "image": image} if named else (image, word)
    module = Captioned()
    network = Network(module, example)
    assert sizes(network, network.full)["flops"] == 2 * (18 + 35 + 10)
    assert set(relu_inputs(network)) == {"image", "both"}
    gone = {"both": torch.arange(5) < 2, "image": torch.arange(3) < 1}
    masks = Unit().without(gone, network.full, network)
    smaller = compact(module, masks, example)
    assert (smaller.both.weight.shape, smaller.image.weight.shape) == ((3, 6), (2, 6))
    assert pruned_units(module, masks, example)
    State.of(module).masked(masks).load(module)
    torch.testing.assert_close(smaller(image, word), module(image, word))


class Parted(nn.Module):
    """The units of `first` are read by two layers, half by each."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.left, self.right = nn.Linear(5, 8), nn.Linear(4, 3), nn.Linear(4, 3)
        self.output = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.first(x).relu().chunk(2, 1)
        return self.output(torch.cat([self.left(left), self.right(right)], 1))


def test_units_that_are_read_in_parts_stay() -> None:
    module = Parted()
    network = Network(module, torch.zeros(2, 5))
    scores = {layer: torch.rand(network.shapes[f"{layer}.weight"]) for layer in network.layers}
    masks = prune(scores, network.full, network, Unit(), "layer", 0.4, {})
    assert masks["first.weight"].all()
    smaller = compact(module, masks, torch.zeros(2, 5))
    assert (smaller.first.weight.shape, smaller.output.weight.shape) == ((8, 5), (2, 4))


def test_a_network_without_layers_is_refused() -> None:
    with pytest.raises(ConfigError, match="no layer that can be pruned"):
        TrialConfig().network(nn.Sequential(nn.ReLU()))
