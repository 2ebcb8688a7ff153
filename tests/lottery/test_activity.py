"""ReLU accounting, on networks small enough to count by hand."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.models import Conv2, Mlp, Model, ResNet, Vgg
from lth_sweep.lottery.network.structure import Network
from lth_sweep.lottery.probes.activity import Activity, activity, counted, relu_inputs

FOUR = torch.eye(4)
"""Four examples: each has one input at 1."""


def chain(*weights: list[list[float]], biases: list[list[float]] | None = None) -> Network:
    """Linear layers "0", "2", ... with ReLU between them."""
    layers: list[nn.Module] = []
    for number, rows in enumerate(weights):
        layer = nn.Linear(len(rows[0]), len(rows))
        with torch.no_grad():
            layer.weight.copy_(torch.tensor(rows))
            layer.bias.copy_(torch.tensor(biases[number] if biases else [0.0] * len(rows)))
        layers += [layer, nn.ReLU()]
    return Network(nn.Sequential(*layers[:-1]), torch.zeros(2, len(weights[0][0])))


def counts_of(network: Network, x: Tensor) -> dict[str, list[int]]:
    with counted(network) as counts, torch.no_grad():
        network.module(x)
    return {layer: count.active.tolist() for layer, count in counts.items()}


class LayerActivity(NamedTuple):
    units: int
    cut: int | None
    dead: int | None
    rare: int | None
    effective_density: float


def of(layer: str, found: Activity) -> LayerActivity:
    """What was found of one layer, as counts."""
    cut, dead, rare = (
        int(kind[layer].sum()) if layer in kind else None for kind in (found.cut, found.dead, found.rare)
    )
    mask = found.left[f"{layer}.weight"]
    return LayerActivity(len(mask), cut, dead, rare, int(mask.sum()) / mask.numel())


ONES = [[1.0, 1.0, 1.0, 1.0]] * 4


def test_dead_and_rare_units_of_a_dense_network() -> None:
    """Units 0 to 3 are active on all, one in 200, none, and none of the examples."""
    network = chain([[1, 1, 1, 1], [-1, -1, -1, 1], [-1, -1, -1, -1], [0, 0, 0, 0]], ONES)
    x = torch.cat([FOUR[:3].repeat(67, 1)[:199], FOUR[3:]])
    with counted(network) as counts, torch.no_grad():
        network.module(x[:150])
        network.module(x[150:])
    assert counts.keys() == {"0"}
    assert (counts["0"].active.tolist(), counts["0"].examples) == ([200, 1, 0, 0], 200)

    found = activity(network, network.full, counts)
    assert of("0", found) == LayerActivity(units=4, cut=0, dead=2, rare=1, effective_density=8 / 16)
    assert of("2", found) == LayerActivity(units=4, cut=None, dead=None, rare=None, effective_density=8 / 16)
    assert found.metrics == {"cut_units": 0, "dead_units": 2, "rare_units": 1, "effective_density": 0.5}


def test_rare_is_below_one_percent() -> None:
    network = chain([[-1, -1, -1, 1]] * 4, ONES)
    for examples, rare in [(100, 0), (101, 4)]:
        with counted(network) as counts, torch.no_grad():
            network.module(torch.cat([FOUR[:1].repeat(examples - 1, 1), FOUR[3:]]))
        assert of("0", activity(network, network.full, counts)).rare == rare


def masked(network: Network, **rows: list[str]) -> Masks:
    """Masks drawn as text: "#" kept, "." not; layers are named layer_0, layer_2, ..."""
    drawn = {f"{name.removeprefix('layer_')}.weight": torch.tensor([[sign == "#" for sign in row] for row in lines])
             for name, lines in rows.items()}  # fmt: skip
    return network.full.replace(drawn)


def test_units_without_a_way_in_or_out() -> None:
    """Unit 1 has no way in, unit 2 none out, unit 3 neither. Their weights do nothing: 2 of 6 and 1 of 5 of them."""
    network = chain(ONES, ONES)
    masks = masked(network, layer_0=["##..", "....", "..##", "...."],
                            layer_2=["##..", "#...", "#...", "#..."])  # fmt: skip
    found = activity(network, masks, {})
    assert of("0", found) == LayerActivity(4, cut=3, dead=None, rare=None, effective_density=2 / 16)
    assert of("2", found).effective_density == 4 / 16
    assert found.effective_density == 6 / 32
    assert masks.density == 9 / 32
    assert found.metrics == {"cut_units": 3, "effective_density": 6 / 32}


def test_what_is_cut_off_in_consequence_is_cut_too() -> None:
    """Unit 0 of the first layer feeds only unit 0 of the second, which feeds only unit 0 of the third, which feeds
    nothing; unit 3 of the third hears only unit 3 of the second, which hears only unit 3 of the first, which hears
    nothing. The way through units 1 and 2 is left."""
    network = chain(ONES, ONES, ONES, ONES)
    masks = masked(network, layer_0=["####", "####", "####", "...."],
                            layer_2=["#...", ".##.", ".##.", "...#"],
                            layer_4=["#...", ".##.", ".##.", "...#"],
                            layer_6=[".###", ".###", ".###", ".###"])  # fmt: skip
    found = activity(network, masks, {})
    assert [of(layer, found).cut for layer in ("0", "2", "4", "6")] == [2, 2, 2, None]
    assert found.effective_density == (8 + 4 + 4 + 8) / 64


def test_dead_units_cut_others_off() -> None:
    """Unit 0 of the second layer is dead on the data. Unit 0 of the first then feeds nothing that is left, and unit 0
    of the third hears nothing that is left; neither is dead, nor cut by the masks."""
    one = [[1.0, 0.0, 0.0, 0.0], *[[0.0, 1.0, 1.0, 1.0]] * 3]
    zeros, ones = [0.0] * 4, [1.0] * 4
    network = chain(ONES, [[-1.0, 0.0, 0.0, 0.0], *one[1:]], one, ONES, biases=[zeros, zeros, ones, zeros])
    masks = masked(network, layer_2=["#...", ".###", ".###", ".###"], layer_4=["#...", ".###", ".###", ".###"])
    with counted(network) as counts, torch.no_grad():
        network.module(FOUR)
    found = activity(network, masks, counts)
    assert [of(layer, found).cut for layer in ("0", "2", "4")] == [0, 0, 0]
    assert [of(layer, found).dead for layer in ("0", "2", "4")] == [0, 1, 0]
    assert found.effective_density == (12 + 9 + 9 + 12) / 64
    # With the effective masks as masks, there is nothing more to take away, and what was dead is cut.
    left = masked(network, layer_0=["....", "####", "####", "####"], layer_2=["....", ".###", ".###", ".###"],
                           layer_4=["....", ".###", ".###", ".###"], layer_6=[".###"] * 4)  # fmt: skip
    again = activity(network, left, counts)
    assert again.effective_density == left.density == found.effective_density
    assert again.metrics["cut_units"] == 3
    assert again.metrics["dead_units"] == 0


def test_a_network_that_is_cut_through_has_nothing_left() -> None:
    network = chain(ONES, ONES, ONES)
    masks = masked(network, layer_2=["....", "....", "....", "...."])
    found = activity(network, masks, {})
    assert (found.effective_density, found.metrics["cut_units"]) == (0.0, 8)


def test_removing_dead_and_cut_units_changes_no_output() -> None:
    """The meaning of the effective density, with biases at 0 (others would be folded into the next layer's)."""
    torch.manual_seed(0)
    network = chain(*((torch.randn(6, 6) - 0.3).tolist() for _ in range(3)))
    x = torch.randn(5, 6)
    with counted(network) as counts, torch.no_grad():
        before = network.module(x)
    found = activity(network, network.full, counts)
    assert found.metrics["dead_units"] > 0
    for layer, count in counts.items():
        network.layers[layer].weight.data[count.active == 0] = 0
    with torch.no_grad():
        torch.testing.assert_close(network.module(x), before)


def test_units_of_convolutions_across_flatten() -> None:
    """A filter is active on an image where it is at any position; a filter that no weight of its 2x2 features reads has
    no way out."""
    module = nn.Sequential(nn.Conv2d(1, 3, 1, bias=False), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 2))
    network = Network(module, torch.zeros(2, 1, 4, 4))
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([1.0, -1.0, 1.0]).view(3, 1, 1, 1))  # type: ignore[operator]
    x = torch.zeros(2, 1, 4, 4)
    x[0, 0, 3, 3] = 1
    with counted(network) as counts, torch.no_grad():
        module(x)
    assert counts["0"].active.tolist() == [1, 0, 1]
    out = torch.ones(2, 12, dtype=torch.bool)
    out[:, 8:] = False
    found = activity(network, network.full.replace({"4.weight": out}), counts)
    assert of("0", found) == LayerActivity(3, cut=1, dead=1, rare=0, effective_density=1 / 3)
    assert of("4", found).effective_density == 8 / 24


def test_pruned_units_are_cut_not_dead() -> None:
    network = chain(ONES, ONES)
    masks = masked(network, layer_0=["####", "....", "....", "####"], layer_2=["#..#"] * 4)
    for layer in ("0", "2"):
        network.layers[layer].weight.data.mul_(masks[f"{layer}.weight"])
    with counted(network) as counts, torch.no_grad():
        network.module(FOUR)
    found = activity(network, masks, counts)
    assert found.metrics == {"cut_units": 2, "dead_units": 0, "rare_units": 0, "effective_density": 0.5}


class Own(nn.Module):
    """A user's network; which ReLU acts on the units of which layer is for `relu_inputs` to find."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.a, self.b = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=form == "one inplace")
        self.pool = nn.MaxPool2d(2)
        self.tail = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        form, a = self.form, self.a(x)
        if form in ("one relu", "one inplace"):
            a = self.relu(self.b(self.relu(a)))
        elif form == "functional":
            a = F.relu(self.norm(self.b(torch.relu(a))))
        elif form == "addition":
            a = self.relu(self.b(self.relu(a)) + a)
        elif form == "scaled":
            a = self.b((2 * a).relu())
        elif form == "other":
            a = self.b(F.gelu(F.leaky_relu(a).clamp(min=0)))
        elif form == "layer twice":
            a = self.b(self.b(a.relu()).relu()).relu()
        elif form == "pooled":
            a = F.max_pool2d(self.norm(a), 2).relu()
        elif form == "pooled by a module":
            a = self.pool(self.norm(a)).relu()
        return self.tail(a.mean((2, 3)))


@pytest.mark.parametrize(
    ("form", "found"),
    [
        ("one relu", {"a": "a", "b": "b"}),
        ("one inplace", {"a": "a", "b": "b"}),
        ("functional", {"a": "a", "b": "norm"}),
        ("addition", {}),  # a is read by the addition too, so that a silent ReLU is not a silent unit
        ("scaled", {}),
        ("other", {}),
        ("layer twice", {"a": "a"}),
        ("pooled by a module", {"a": "pool"}),
        ("pooled", {}),  # a pooling that is no module has no output to look at
    ],
)
def test_which_relu_acts_on_which_layer(form: str, found: dict[str, str]) -> None:
    network = Network(Own(form), torch.zeros(2, 1, 6, 6))
    assert relu_inputs(network) == found
    assert network.module.training
    assert set(counts_of(network, torch.randn(3, 1, 6, 6))) == set(found)


@pytest.mark.parametrize(
    ("model", "shape", "found"),
    [
        (Mlp((5, 3)), (1, 4, 4), {"fc1": "fc1", "fc2": "fc2"}),
        (Conv2(0.1), (1, 4, 4), {name: name for name in ("conv1", "conv2", "fc1", "fc2")}),
        (Vgg(width=0.05), (3, 16, 16), {f"conv{n}": f"norm{n}" for n in range(1, 14)}),
        (ResNet(depth=8, width=0.25), (1, 8, 8),
         {"conv": "norm"} | {f"block{n}.conv1": f"block{n}.norm1" for n in (1, 2, 3)}),
    ],
)  # fmt: skip
def test_in_the_models_of_the_package(model: Model, shape: tuple[int, ...], found: dict[str, str]) -> None:
    assert relu_inputs(Network(model.build(torch.zeros(2, *shape), 10), torch.zeros(2, *shape))) == found


def test_without_a_relu_nothing_is_said_about_activity() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    network = Network(module, torch.zeros(2, 4))
    with counted(network) as counts:
        module(FOUR)
    found = activity(network, network.full, counts)
    assert found.metrics == {"cut_units": 0, "effective_density": 1.0}


def test_units_that_meet_in_an_addition_are_not_judged_cut() -> None:
    network = Network(ResNet(depth=8, width=0.25).build(torch.zeros(2, 1, 8, 8), 10), torch.zeros(2, 1, 8, 8))
    masks = network.full
    masks = masks.replace({"block1.conv2.weight": torch.zeros_like(masks["block1.conv2.weight"])})
    found = activity(network, masks, {})
    assert of("block1.conv2", found).cut is None
    # Nothing reads the units of conv1 any more.
    assert of("block1.conv1", found) == LayerActivity(4, cut=4, dead=None, rare=None, effective_density=0.0)
    assert of("block2.conv1", found).effective_density == 1.0


def test_units_of_a_linear_with_positions_lie_in_the_last_dimension() -> None:
    module = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6, 2))
    network = Network(module, torch.zeros(2, 2, 4))
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[1.0] * 4, [-1.0] * 4, [0, 0, 0, 1]]))  # type: ignore[operator]
        module[0].bias.zero_()  # type: ignore[operator]
    assert counts_of(network, FOUR.view(2, 2, 4)) == {"0": [2, 0, 1]}
    pooled = nn.Sequential(nn.Linear(4, 4), nn.MaxPool1d(2), nn.ReLU(), nn.Flatten(), nn.Linear(4, 2))
    assert relu_inputs(Network(pooled, torch.zeros(2, 2, 4))) == {}


def test_a_network_of_nan_has_no_dead_units() -> None:
    network = chain(ONES, ONES)
    network.layers["0"].weight.data.fill_(torch.nan)
    assert counts_of(network, FOUR) == {"0": [4, 4, 4, 4]}


def test_hooks_are_gone_afterwards() -> None:
    network = chain(ONES, ONES)
    with pytest.raises(ValueError, match="on purpose"), counted(network) as counts:
        raise ValueError("on purpose")
    network.module(FOUR)
    assert counts == {}


def test_where_units_cannot_be_told_apart_only_activity_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("on purpose")

    network = chain([[1, 1, 1, 1], [-1, -1, -1, -1], [1, 1, 1, 1], [1, 1, 1, 1]], ONES)
    network.module.register_module("unlike_others", nn.Identity())  # whose units are known
    monkeypatch.setattr("lth_sweep.lottery.network.units.graph.measured", fail)
    with counted(network) as counts, torch.no_grad():
        network.module(FOUR)
    found = activity(network, network.full, counts)
    assert found.metrics == {"dead_units": 1, "rare_units": 0, "effective_density": (12 + 16) / 32}
    assert of("0", found)._replace(dead=None, rare=None) == LayerActivity(4, None, None, None, 12 / 16)
    assert network.spared["0"] == "cannot tell which units belong together: ValueError: on purpose"
