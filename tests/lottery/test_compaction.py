"""The smaller network against the masked one that it was made of."""

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from lth_sweep.lottery.common.duration import Clock, Duration
from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.data import Examples
from lth_sweep.lottery.network.compaction import compact, pruned_units
from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.models import Conv4, Mlp, Model, ResNet, Vgg
from lth_sweep.lottery.network.sizes import sizes
from lth_sweep.lottery.network.state import State
from lth_sweep.lottery.network.structure import Network
from lth_sweep.lottery.network.units.resizing import Plan, masked_with, shrink
from lth_sweep.lottery.pruning.granularity import Unit
from lth_sweep.lottery.recipe.trial import Train
from lth_sweep.lottery.task import Classification
from lth_sweep.lottery.training.lanes import One
from lth_sweep.lottery.training.optimizers import SGD, Adam, Optimizer
from lth_sweep.lottery.training.trainer import Replica, Trainer

MODELS: dict[str, tuple[Model, tuple[int, ...]]] = {
    "mlp": (Mlp((20, 15)), (6,)),
    "conv-4": (Conv4(width=0.1), (1, 12, 12)),
    "resnet-20": (ResNet(width=0.5), (3, 8, 8)),
    "vgg-16": (Vgg(width=0.1), (3, 16, 16)),
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def randomised(module: nn.Module, seed: int = 0) -> nn.Module:
    """Weights and running statistics as after training: none is 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in module.state_dict(keep_vars=True).items():
            if tensor.is_floating_point():
                scale = (2 / tensor[0].numel()) ** 0.5 if tensor.ndim > 1 else 0.5
                drawn = torch.randn(tensor.shape, generator=generator) * scale
                tensor.copy_(drawn.abs() + 0.5 if name.endswith("running_var") else drawn)
    return module.eval()


def random_masks(module: nn.Module, shape: tuple[int, ...], density: float, seed: int = 0) -> Masks:
    network = Network(module, torch.zeros(2, *shape))
    generator = torch.Generator().manual_seed(seed)
    return Masks(
        {name: torch.rand(network.shapes[name], generator=generator) < density for name in network.weights.values()}
    )


def dead_units(module: nn.Module, shape: tuple[int, ...], share: float) -> Masks:
    """Masks without this share of the units of each layer, the first ones."""
    network = Network(module, torch.zeros(2, *shape))
    units = Unit().units(network)
    gone = {name: torch.arange(group.count) < int(share * group.count) for name, group in units.items()}
    return network.full.replace(masked_with(units, gone, network.shapes, network.full.tensors))


def masked(module: nn.Module, masks: Masks) -> nn.Module:
    module = copy.deepcopy(module)
    module.load_state_dict(State.of(module).masked(masks).model)
    return module


def difference(module: nn.Module, masks: Masks, smaller: nn.Module, shape: tuple[int, ...]) -> float:
    """Of the outputs, relative to the largest."""
    x = torch.randn(16, *shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = masked(module, masks)(x)
        return float((smaller(x) - expected).abs().max() / expected.abs().max())


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("density", [0.3, 0.05, 0.01])
@pytest.mark.parametrize("name", MODELS)
def test_random_masks(name: str, density: float, seed: int) -> None:
    model, shape = MODELS[name]
    module = randomised(model.build(torch.zeros(2, *shape), 10), seed)
    masks = random_masks(module, shape, density, seed)
    before = State.of(module).model
    smaller = compact(module, masks, torch.zeros(2, *shape))
    assert difference(module, masks, smaller, shape) < 1e-5
    assert count(smaller) < count(module) or density > 0.01
    assert all(torch.equal(tensor, before[key]) for key, tensor in module.state_dict().items())


@pytest.mark.parametrize("name", MODELS)
def test_a_layer_that_is_cut_off_leaves_a_constant_network(name: str) -> None:
    """Every layer in turn; where a shortcut leads around it, the output still depends on the input."""
    model, shape = MODELS[name]
    module = randomised(model.build(torch.zeros(2, *shape), 10))
    layers = list(Network(module, torch.zeros(2, *shape)).layers)
    x = torch.randn(16, *shape)
    for cut in (layers[0], layers[len(layers) // 2], layers[-1]):
        full = random_masks(module, shape, 1.1)
        masks = full.replace({f"{cut}.weight": torch.zeros_like(full[f"{cut}.weight"])})
        smaller = compact(module, masks, torch.zeros(2, *shape))
        assert difference(module, masks, smaller, shape) < 1e-5
        assert count(smaller) < count(module) or (name == "resnet-20" and cut != layers[-1])
        with torch.no_grad():
            varies = bool((smaller(x).std(0) > 1e-6).any())
        assert varies == (name == "resnet-20" and cut == layers[len(layers) // 2])


@pytest.mark.parametrize("name", MODELS)
def test_pruned_units_are_gone(name: str) -> None:
    model, shape = MODELS[name]
    module = randomised(model.build(torch.zeros(2, *shape), 10))
    masks = dead_units(module, shape, 0.5)
    smaller = compact(module, masks, torch.zeros(2, *shape))
    assert difference(module, masks, smaller, shape) < 1e-5
    assert count(smaller) == sizes(Network(module, torch.zeros(2, *shape)), masks)["params"]
    x = torch.randn(16, *shape)
    expected, found = masked(module, masks).train()(x), copy.deepcopy(smaller).train()(x)
    assert (expected - found).abs().max() < 1e-5 * expected.abs().max()


def test_literals() -> None:
    """Unit 0 has no way out, unit 1 no way in (it is always relu(2) = 2), unit 2 stays."""
    module = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    tensors = {"0.weight": [[1, 2], [3, 4], [5, 6]], "0.bias": [1, 2, 3], "2.weight": [[7, 8, 9]], "2.bias": [10]}
    module.load_state_dict({name: torch.tensor(value, dtype=torch.float) for name, value in tensors.items()})
    masks = Masks({"0.weight": torch.tensor([[True, True], [False, False], [True, True]]),
                   "2.weight": torch.tensor([[False, True, True]])})  # fmt: skip
    smaller = compact(module, masks, torch.zeros(2, 2)).state_dict()
    assert {name: tensor.tolist() for name, tensor in smaller.items()} == {
        "0.weight": [[5, 6]], "0.bias": [3], "2.weight": [[9]], "2.bias": [10 + 2 * 8]}  # fmt: skip


def test_no_way_out_goes_on_backwards() -> None:
    """Unit 0 of the second layer is read by nobody, and unit 0 of the first one by that unit alone."""
    module = randomised(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)))
    kept = random_masks(module, (3,), 1.1)
    kept["4.weight"][:, 0] = False
    kept["2.weight"][1:, 0] = False
    smaller = compact(module, kept, torch.zeros(2, 3))
    assert [tuple(layer.weight.shape) for layer in (smaller[0], smaller[2], smaller[4])] == [(3, 3), (4, 3), (2, 4)]


@pytest.mark.parametrize(("padding", "left"), [(1, 4), (0, 3)])
def test_a_constant_within_zero_padding_stays(padding: int, left: int) -> None:
    """At the border the next convolution sees zeros instead of the constant, which no bias can say."""
    second = nn.Conv2d(4, 2, 3, padding=padding)
    module = randomised(nn.Sequential(nn.Conv2d(1, 4, 3), second, nn.Flatten(), nn.Linear(50 if padding else 18, 2)))
    shape = (1, 7, 7)
    masks = random_masks(module, shape, 1.1)
    masks["0.weight"][2] = False
    smaller = compact(module, masks, torch.zeros(2, *shape))
    assert smaller[0].weight.shape[0] == left
    assert difference(module, masks, smaller, shape) < 1e-5


def test_a_bias_is_added_where_a_constant_needs_one() -> None:
    module = randomised(nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1, bias=False),
                                      nn.Flatten(), nn.Linear(18, 2)))  # fmt: skip
    masks = random_masks(module, (1, 5, 5), 1.1)
    masks["0.weight"][2] = False
    smaller = compact(module, masks, torch.zeros(2, 1, 5, 5))
    assert (smaller[1].num_features, smaller[2].weight.shape, smaller[2].bias.shape) == (3, (2, 3, 1, 1), (2,))
    assert difference(module, masks, smaller, (1, 5, 5)) < 1e-5


class Own(nn.Module):
    """A residual addition, and a depthwise convolution or one in 2 groups."""

    def __init__(self, groups: int = 6) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 6, 3, padding=1)
        self.inner = nn.Conv2d(6, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.outer = nn.Conv2d(8, 6, 3, padding=1)
        self.grouped = nn.Conv2d(6, 6, 3, groups=groups)
        self.output = nn.Linear(6 * 36, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        x = x + self.outer(self.norm(self.inner(x)).relu())
        return self.output(self.grouped(x.relu()).flatten(1))


def without(masks: Masks, rows: dict[str, int], columns: dict[str, int]) -> Masks:
    for name, row in rows.items():
        masks[name][row] = False
    for name, column in columns.items():
        masks[name][:, column] = False
    return masks


def test_a_residual_unit_goes_when_all_its_members_go() -> None:
    module, shape = randomised(Own()), (1, 8, 8)
    part = without(random_masks(module, shape, 1.1), {"first.weight": 2}, {})
    assert count(compact(module, part, torch.zeros(2, *shape))) == count(module)
    flattened = {"output.weight": slice(72, 108)}
    every = without(random_masks(module, shape, 1.1), {"first.weight": 2, "outer.weight": 2, "grouped.weight": 2},
                    {"inner.weight": 2} | flattened)  # fmt: skip
    smaller = compact(module, every, torch.zeros(2, *shape))
    assert {name: tuple(tensor.shape) for name, tensor in smaller.named_parameters() if name.endswith("weight")} == {
        "first.weight": (5, 1, 3, 3), "inner.weight": (8, 5, 3, 3), "norm.weight": (8,), "outer.weight": (5, 8, 3, 3),
        "grouped.weight": (5, 1, 3, 3), "output.weight": (3, 180)}  # fmt: skip
    assert difference(module, every, smaller, shape) < 1e-5


@pytest.mark.parametrize("groups", [6, 2])
@pytest.mark.parametrize("density", [0.3, 0.05, 0.01])
def test_own_network(groups: int, density: float) -> None:
    module, shape = randomised(Own(groups)), (1, 8, 8)
    masks = random_masks(module, shape, density)
    assert difference(module, masks, compact(module, masks, torch.zeros(2, *shape)), shape) < 1e-5


def test_a_convolution_keeps_one_unit_in_each_of_its_groups() -> None:
    module, shape = randomised(Own(groups=2)), (1, 8, 8)
    masks = random_masks(module, shape, 0.0)
    smaller = compact(module, masks, torch.zeros(2, *shape))
    assert (smaller.first.weight.shape[0], smaller.grouped.weight.shape[0], smaller.inner.weight.shape[0]) == (2, 2, 1)
    assert difference(module, masks, smaller, shape) < 1e-5


class FixedView(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3)
        self.second = nn.Conv2d(4, 4, 1)
        self.output = nn.Linear(36, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.second(self.first(x).relu()).view(-1, 36))


class Softmax(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.second = nn.Linear(4, 5)
        self.output = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.second(self.first(x).softmax(1)).relu())


@pytest.mark.parametrize(
    ("make", "shape", "spared", "reason"),
    [(FixedView, (1, 5, 5), "second", "fixed size for its units"), (Softmax, (3,), "first", "can only go together")],
)
def test_what_cannot_be_removed_stays_and_is_named(
    make: Callable[[], nn.Module], shape: tuple[int, ...], spared: str, reason: str
) -> None:
    """In a fixed view, under a softmax."""
    module = randomised(make())
    network = Network(module, torch.zeros(2, *shape))
    assert network.spared.keys() == {spared, "output"}
    assert reason in network.spared[spared]
    masks = dead_units(module, shape, 0.5)
    assert not masks.is_full
    masks = masks.replace({f"{spared}.weight": torch.rand(network.shapes[f"{spared}.weight"]) < 0.2})
    smaller = compact(module, masks, torch.zeros(2, *shape))
    assert count(smaller) < count(module)
    assert smaller.get_parameter(f"{spared}.weight").shape[0] == len(module.get_parameter(f"{spared}.weight"))
    assert difference(module, masks, smaller, shape) < 1e-5


def test_masks_of_another_network_are_refused() -> None:
    module = Mlp((4,)).build(torch.zeros(2, 3), 2)
    with pytest.raises(ConfigError, match=r"mask.*fc1.weight"):
        compact(module, random_masks(Mlp((5,)).build(torch.zeros(2, 3), 2), (3,), 0.5), torch.zeros(2, 3))


def small_task(module: nn.Module, shape: tuple[int, ...], optimizer: Optimizer) -> Trainer:
    generator = torch.Generator().manual_seed(3)
    examples = Examples(torch.randn(64, *shape, generator=generator), torch.randint(0, 10, (64,), generator=generator))
    recipe = Train(length=Duration(4, "steps"), batch=16, optimizer=optimizer, evaluate=Duration(2, "steps"))
    device = torch.device("cpu")
    return Trainer(module, recipe, Classification(), Clock(4, 4), examples, examples, device)


@pytest.mark.parametrize("optimizer", [SGD(0.01, weight_decay=0.1), Adam(0.001, eps=1e-3)], ids=lambda o: o.kind)
@pytest.mark.parametrize("name", MODELS)
def test_training_without_the_pruned_units(name: str, optimizer: Optimizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same run as with them, up to rounding; full shapes afterwards; going on at a step in between is equal bit by
    bit."""
    model, shape = MODELS[name]
    torch.manual_seed(0)
    module = model.build(torch.zeros(2, *shape), 10)
    masks = dead_units(module, shape, 0.5)
    start = Replica(State.of(module).masked(masks), 0)
    task = small_task(module, shape, optimizer)

    smaller = One(module, task.task, start.state, task.device, task.example).module
    assert count(smaller) == sizes(Network(module, torch.zeros(2, *shape)), masks)["params"]
    (whole,) = task.train([start], 0, 4)
    (half,) = task.train([start], 0, 2)
    (rest,) = task.train([half], 2, 4)
    assert rest.curve == whole.curve
    tensors = whole.state.to_tensors()
    assert tensors.keys() == rest.state.to_tensors().keys()
    assert all(torch.equal(tensor, tensors[key]) for key, tensor in rest.state.to_tensors().items())

    monkeypatch.setattr("lth_sweep.lottery.training.lanes.pruned_units", lambda *_: Plan())
    (full,) = task.train([start], 0, 4)
    assert count(task.module) == count(module)
    expected = full.state.to_tensors()
    assert {key: tensor.shape for key, tensor in tensors.items()} == {key: t.shape for key, t in expected.items()}
    for key, tensor in tensors.items():
        parameter = key.split("/")[1]
        if "running" in key or key.endswith("/step") or key.split("/")[0].endswith("mask"):
            continue
        kept = masks[parameter] if parameter in masks else torch.ones_like(tensor, dtype=torch.bool)
        assert not tensor[~kept].any()
        assert (tensor[kept] - expected[key][kept]).abs().max() <= 1e-3 * expected[key].abs().max()
    for mine, theirs in zip(whole.curve, full.curve, strict=True):
        assert mine.metrics["loss"] == pytest.approx(theirs.metrics["loss"], rel=1e-4)


def test_units_that_can_still_change_are_trained() -> None:
    """Without a way in, but with a bias; or without a way out, but with weights that weight decay shrinks."""
    module = Mlp((4, 3)).build(torch.zeros(2, 3), 2)
    masks = without(random_masks(module, (3,), 1.1), {"fc1.weight": 0}, {"fc2.weight": 1})
    assert not pruned_units(module, masks, torch.zeros(2, 3))
    bias = {"fc1.bias": torch.tensor([False, True, True, True])}
    assert not pruned_units(module, masks.replace(bias), torch.zeros(2, 3))
    masks["fc2.weight"][:, 0] = False
    plan = pruned_units(module, masks.replace(bias), torch.zeros(2, 3))
    smaller = shrink(module, plan, dict(module.state_dict()))
    assert [tuple(parameter.shape) for name, parameter in smaller.named_parameters() if name.endswith("weight")] == [
        (3, 3), (3, 3), (2, 3)]  # fmt: skip
