"""Each score on small literals or against a plain float64 computation."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.data import Examples
from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.norms import tell
from lth_sweep.lottery.network.state import State
from lth_sweep.lottery.network.structure import Network
from lth_sweep.lottery.pruning.criteria import (
    L2,
    BnScale,
    Criterion,
    Grasp,
    InitialMagnitude,
    Magnitude,
    MagnitudeIncrease,
    Random,
    Snip,
    SynFlow,
)
from lth_sweep.lottery.pruning.granularity import Granularity, Unit, Weight
from lth_sweep.lottery.pruning.selection import pools_of_rate, remove
from lth_sweep.lottery.pruning.view import View
from lth_sweep.lottery.task import Classification

W = torch.tensor(
    [
        [0.5, -0.1, 0.0, 0.3],
        [-0.2, 0.4, -0.6, 0.1],
        [0.7, -0.7, 0.2, -0.3],
        [0.0, 0.1, -0.4, 0.8],
    ]
)
START = torch.tensor(
    [
        [0.1, -0.3, 0.2, 0.3],
        [0.2, 0.4, 0.0, -0.1],
        [-0.9, 0.7, 0.1, 0.1],
        [0.3, 0.0, 0.4, 0.4],
    ]
)


def view_of(
    module: nn.Module,
    shape: tuple[int, ...],
    examples: Examples | None = None,
    masks: Masks | None = None,
    first: Callable[[], State] | None = None,
    seed: int = 0,
) -> View:
    network = Network(module, torch.zeros(2, *shape))
    state = State.of(module)
    full = network.full
    some = examples or Examples(torch.rand(20, *shape), torch.arange(20) % 3)
    initial = first or (lambda: state)
    cpu, layers = torch.device("cpu"), tuple(network.layers)
    return View(network, state, masks or full, seed, initial, Classification(), some, cpu, layers)


def one_layer() -> View:
    """A Linear with the weights W, which began as START."""
    module = nn.Sequential(nn.Linear(4, 4))
    started = State({"0.weight": START, "0.bias": torch.zeros(4)}, {})
    view = view_of(module, (4,), first=lambda: started)
    view.state.model["0.weight"] = W
    return view


@pytest.mark.parametrize(
    ("criterion", "expected"),
    [
        (Magnitude(), [[0.5, 0.1, 0.0, 0.3], [0.2, 0.4, 0.6, 0.1], [0.7, 0.7, 0.2, 0.3], [0.0, 0.1, 0.4, 0.8]]),
        (L2(), [[0.25, 0.01, 0, 0.09], [0.04, 0.16, 0.36, 0.01], [0.49, 0.49, 0.04, 0.09], [0, 0.01, 0.16, 0.64]]),
        (InitialMagnitude(), [[0.1, 0.3, 0.2, 0.3], [0.2, 0.4, 0, 0.1], [0.9, 0.7, 0.1, 0.1], [0.3, 0, 0.4, 0.4]]),
        (MagnitudeIncrease(), [[0.4, -0.2, -0.2, 0], [0, 0, 0.6, 0], [-0.2, 0, 0.1, 0.2], [-0.3, 0.1, 0, 0.4]]),
    ],
)
def test_scores_of_the_weights_themselves(criterion: Criterion, expected: list[list[float]]) -> None:
    torch.testing.assert_close(criterion.scores(one_layer())["0"], torch.tensor(expected))


def test_l2_and_l1_rank_units_differently() -> None:
    weight = torch.tensor([[1.0, 1.0, 1.0], [2.0, 0.0, 0.5], [3.0, 3.0, 3.0]])  # |w|: 3, 2.5, 9; w^2: 3, 4.25, 27
    assert gone(Magnitude(), weight) == [1]
    assert gone(L2(), weight) == [0]


def gone(criterion: Criterion, weight: Tensor) -> list[int]:
    module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    view = view_of(module, (3,))
    view.state.model["0.weight"] = weight
    pools = pools_of_rate(1 / 3, view.masks, view.network, Unit(), "layer", {})
    left = remove(lambda _: criterion.scores(view), view.masks, view.network, Unit(), pools)
    return (~left["0.weight"].any(1)).nonzero().flatten().tolist()


def test_random_scores_are_each_layers_own_and_the_same_at_every_level() -> None:
    module = nn.Sequential(nn.Linear(50, 50), nn.Linear(50, 50))
    view = view_of(module, (50,))
    scores = Random().scores(view)
    again = Random().scores(view)
    assert torch.equal(scores["0"], again["0"])
    assert not torch.equal(scores["0"], scores["1"])
    assert not torch.equal(scores["0"], Random().scores(view_of(module, (50,), seed=1))["0"])
    assert abs(scores["0"].mean().item() - 0.5) < 0.02


@pytest.mark.parametrize("criterion", [Snip(), SynFlow()], ids=str)
def test_scores_do_not_depend_on_which_masks_the_network_had_last(criterion: Criterion) -> None:
    module = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.ReLU(), nn.Linear(6, 3))
    view = view_of(module, (4,))
    before = criterion.scores(view)
    tell(module, {"1.weight": torch.arange(6) > 2})
    after = criterion.scores(view)
    assert all(torch.equal(before[layer], after[layer]) for layer in before)


@pytest.fixture(params=["mlp", "norm"])
def small(request: pytest.FixtureRequest) -> tuple[nn.Module, Examples, Masks]:
    torch.manual_seed(0)
    layers = {
        "mlp": [nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3)],
        "norm": [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(), nn.Linear(16, 3)],
    }[request.param]
    module = nn.Sequential(*layers)
    network = Network(module, torch.zeros(2, 1, 4, 4))
    masks = Masks({name: torch.rand(network.shapes[name]) < 0.7 for name in network.weights.values()})
    return module, Examples(torch.randn(30, 1, 4, 4), torch.arange(30) % 3), masks


def reference(module: nn.Module, masks: Masks, examples: Examples) -> tuple[dict[str, Tensor], Callable[..., Tensor]]:
    """The masked weights in float64, and the loss in training mode as a function of them."""
    model = {name: tensor.double() for name, tensor in State.of(module).masked(masks).model.items()}
    weights = {name: model[name].requires_grad_() for name in masks}

    def loss(weights: dict[str, Tensor], temperature: float = 1.0) -> Tensor:
        everything = {name: tensor.clone() for name, tensor in model.items()} | weights
        logits = torch.func.functional_call(module.train(), everything, (examples.x.double(),))
        return F.cross_entropy(logits / temperature, examples.y)

    return weights, loss


def test_snip_is_gradient_times_weight(small: tuple[nn.Module, Examples, Masks]) -> None:
    module, examples, masks = small
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    scores = Snip().scores(view_of(module, (1, 4, 4), examples, masks))
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    weights, loss = reference(module, masks, examples)
    gradients = torch.autograd.grad(loss(weights), list(weights.values()))
    for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
        expected = (weight * gradient).abs().detach()
        torch.testing.assert_close(scores[name.removesuffix(".weight")].double(), expected, rtol=1e-4, atol=1e-7)


def test_grasp_is_weight_times_hessian_times_gradient(small: tuple[nn.Module, Examples, Masks]) -> None:
    module, examples, masks = small
    scores = Grasp(temperature=2.0).scores(view_of(module, (1, 4, 4), examples, masks))
    weights, loss = reference(module, masks, examples)
    gradients = torch.autograd.grad(loss(weights, 2.0), list(weights.values()), create_graph=True)
    along = sum((g * (g.detach() * masks[name])).sum() for g, name in zip(gradients, weights, strict=True))
    products = torch.autograd.grad(torch.as_tensor(along), list(weights.values()))
    for (name, weight), product in zip(weights.items(), products, strict=True):
        expected = (weight * product).detach()
        torch.testing.assert_close(scores[name.removesuffix(".weight")].double(), expected, rtol=1e-3, atol=1e-7)


def test_what_grasp_removes_first_raises_the_norm_of_the_gradient_most() -> None:
    """To first order, taking w away changes |g|^2 by -2 w Hg: the lowest scores raise it, the highest lower it."""
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    examples = Examples(torch.randn(40, 6), torch.arange(40) % 3)
    view = view_of(module, (6,), examples)
    score = Grasp(temperature=1.0).scores(view)["0"]
    weights, loss = reference(module, view.masks, examples)

    def norm(changed: Tensor) -> float:
        some = weights | {"0.weight": changed.requires_grad_()}
        return sum(g.square().sum().item() for g in torch.autograd.grad(loss(some), list(some.values())))

    step = 1e-4
    for extreme in (score.argmin(), score.argmax()):
        changed = weights["0.weight"].detach().clone()
        changed.view(-1)[extreme] *= 1 - step
        change = (norm(changed) - norm(weights["0.weight"].detach().clone())) / step
        assert change == pytest.approx(-2 * score.view(-1)[extreme].item(), rel=0.01)
    assert score.min() < 0 < score.max()


def test_the_gradient_is_taken_on_as_many_examples_as_it_says_chosen_by_the_seed() -> None:
    module = nn.Sequential(nn.Linear(4, 3))
    examples = Examples(torch.randn(500, 4), torch.arange(500) % 3)
    all_of_them = Snip(examples=500).scores(view_of(module, (4,), examples))["0"]
    few = Snip(examples=10).scores(view_of(module, (4,), examples))["0"]
    others = Snip(examples=10).scores(view_of(module, (4,), examples, seed=1))["0"]
    assert torch.allclose(all_of_them, Snip(examples=10_000).scores(view_of(module, (4,), examples))["0"])
    assert not torch.allclose(few, all_of_them)
    assert not torch.allclose(few, others)


def test_synflow_is_conserved_from_layer_to_layer() -> None:
    """The scores of every layer that all paths lead through add up to the output (Tanaka et al. 2020, theorem 2)."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 4, 2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(16, 5), nn.ReLU(), nn.Linear(5, 3),
    )  # fmt: skip
    norm = module[1]
    with torch.no_grad():  # as after training: none of this may matter but the scale
        norm.weight.copy_(torch.tensor([0.5, -2.0, 1.0]))
        norm.bias.fill_(3.0)
        norm.running_mean.fill_(-1.0)
        norm.running_var.fill_(4.0)
    scores = SynFlow().scores(view_of(module, (1, 8, 8)))
    sums = [score.sum().item() for score in scores.values()]
    assert all(score.dtype is torch.float64 and (score >= 0).all() for score in scores.values())
    assert sums == pytest.approx([sums[0]] * 4, rel=1e-12)
    weights = {name: tensor.double().abs() for name, tensor in module.state_dict().items()}
    x = F.conv2d(torch.ones(1, 1, 8, 8).double(), weights["0.weight"])
    x = x * (weights["1.weight"] / (weights["1.running_var"] + norm.eps).sqrt()).view(1, -1, 1, 1)
    x = F.max_pool2d(F.conv2d(x, weights["3.weight"]), 2).flatten(1)
    assert sums[0] == pytest.approx((x @ weights["7.weight"].T @ weights["9.weight"].T).sum().item(), rel=1e-12)


def test_synflow_cuts_no_layer_off_where_magnitude_does() -> None:
    """At 1% of the weights, global scope: one layer with tiny weights in the middle."""
    torch.manual_seed(0)
    module = nn.Sequential(*[nn.Linear(20, 20) for _ in range(4)])
    with torch.no_grad():
        module[2].weight.mul_(0.001)
    view = view_of(module, (20,))
    pools = pools_of_rate(0.99, view.masks, view.network, Weight(), "global", {})

    def left(criterion: Criterion, rounds: int) -> list[int]:
        def score(masks: Masks) -> dict[str, Tensor]:
            return criterion.scores(replace(view, masks=masks))

        return list(remove(score, view.masks, view.network, Weight(), pools, rounds).kept.values())

    assert left(Magnitude(), 1)[2] == 0
    synflow = left(SynFlow(), SynFlow().rounds)
    assert min(synflow) > 0
    assert sum(synflow) == 16


@pytest.mark.parametrize("granularity", [Weight(), Unit()])
def test_many_rounds_end_at_the_same_count_as_one(granularity: Granularity) -> None:
    view = view_of(nn.Sequential(nn.Linear(13, 7), nn.ReLU(), nn.Linear(7, 5)), (13,))
    pools = pools_of_rate(0.6, view.masks, view.network, granularity, "layer", {"output": 0.5})
    counts = [
        remove(lambda _: Magnitude().scores(view), view.masks, view.network, granularity, pools, rounds).kept
        for rounds in (1, 3, 100)
    ]
    assert counts[0] == counts[1] == counts[2]


def test_bn_scale_is_gamma_of_the_batchnorm_behind_the_layer() -> None:
    module = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2))
    with torch.no_grad():
        module[1].weight.copy_(torch.tensor([0.5, -2.0, 0.1]))
    view = view_of(module, (1, 4, 4))
    view = replace(view, state=State.of(module), layers=("0",))
    scores = BnScale().scores(view)["0"]
    assert scores.shape == (3, 1, 3, 3)
    torch.testing.assert_close(scores[:, 0, 1, 2], torch.tensor([0.5, 2.0, 0.1]))
    BnScale().check(view.network, ("0",))
    with pytest.raises(ConfigError, match=r"'4' has none; spare it with layer_rates: \{4: 0\}"):
        BnScale().check(view.network, ("0", "4"))
