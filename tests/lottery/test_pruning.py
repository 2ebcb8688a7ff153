from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.structure import Network
from lth_sweep.lottery.pruning.granularity import Granularity, Unit, Weight
from lth_sweep.lottery.pruning.selection import SAMPLE, layer_factor, lowest, round_half_up
from tests.lottery.by_scores import prune

WEIGHTS = torch.tensor(
    [
        [0.9, 0.1, 0.8, 0.2],
        [0.3, 0.7, 0.4, 0.6],
        [0.5, 0.5, 0.5, 0.5],
        [1.0, 0.0, 1.0, 0.0],
    ]
)


def network(*widths: int) -> Network:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return Network(nn.Sequential(*layers[:-1]), torch.zeros(2, widths[0]))


def pruned(scores: dict[str, Tensor], net: Network, rate: float, **options: object) -> Masks:
    arguments = {"granularity": Weight(), "scope": "layer", "layer_rates": {}, **options}
    masks = arguments.pop("masks", net.full)
    return prune(scores, masks, net, rate=rate, **arguments)  # type: ignore[arg-type]


def test_the_lowest_go_and_ties_go_in_order() -> None:
    """6 of 16: 0.0, 0.0, 0.1, 0.2, 0.3, 0.4; of the four 0.5 that come next, two more for 8."""
    net = network(4, 4)
    assert pruned({"0": WEIGHTS}, net, 6 / 16)["0.weight"].int().tolist() == [
        [1, 0, 1, 0],
        [0, 1, 0, 1],
        [1, 1, 1, 1],
        [1, 0, 1, 0],
    ]
    assert pruned({"0": WEIGHTS}, net, 8 / 16)["0.weight"].int().tolist() == [
        [1, 0, 1, 0],
        [0, 1, 0, 1],
        [0, 0, 1, 1],
        [1, 0, 1, 0],
    ]


def test_what_is_gone_stays_gone_and_is_not_counted() -> None:
    net = network(4, 4)
    once = pruned({"0": WEIGHTS}, net, 0.5)
    assert once.kept == {"0.weight": 8}
    twice = pruned({"0": torch.ones(4, 4)}, net, 0.5, masks=once)
    assert twice.kept == {"0.weight": 4}
    assert not (twice["0.weight"] & ~once["0.weight"]).any()


def test_global_scope_lets_layers_compete() -> None:
    net = network(4, 4, 4)
    masks = pruned({"0": WEIGHTS, "2": WEIGHTS + 10}, net, 0.25, scope="global")
    assert masks.kept == {"0.weight": 8, "2.weight": 16}


def test_a_spared_layer_keeps_everything_and_leaves_the_others_their_rate() -> None:
    net = network(4, 4, 4)
    scores = {"0": WEIGHTS, "2": WEIGHTS}
    assert pruned(scores, net, 0.25, layer_rates={"output": 0.0}).kept == {"0.weight": 12, "2.weight": 16}
    assert pruned(scores, net, 0.25, layer_rates={"output": 0.5}).kept == {"0.weight": 12, "2.weight": 14}
    assert pruned(scores, net, 0.25, layer_rates={"0": 0.0}, scope="global").kept == {"0.weight": 16, "2.weight": 12}


def test_a_layer_goes_by_its_name_before_output_before_patterns() -> None:
    net = network(4, 4, 4)
    assert layer_factor("2", {"*": 0.1, "output": 0.5, "2": 0.7}, net) == 0.7
    assert layer_factor("2", {"*": 0.1, "output": 0.5}, net) == 0.5
    assert layer_factor("0", {"*": 0.1, "output": 0.5}, net) == 0.1
    assert layer_factor("0", {"output": 0.5}, net) == 1.0


def test_units_go_with_their_bias_and_with_the_weights_that_read_them() -> None:
    """Rows of WEIGHTS sum to 2.0 each but for the row that is made smaller."""
    net = network(4, 4, 3)
    first = WEIGHTS.clone()
    first[1] /= 10
    masks = pruned({"0": first, "2": torch.ones(3, 4)}, net, 0.25, granularity=Unit())
    assert masks["0.weight"].int().tolist() == [[1] * 4, [0] * 4, [1] * 4, [1] * 4]
    assert masks["0.bias"].tolist() == [True, False, True, True]
    assert masks["2.weight"].int().tolist() == [[1, 0, 1, 1]] * 3
    assert "2.bias" not in masks
    assert masks.density == (12 + 9) / (16 + 12)


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_the_last_unit_of_a_layer_stays(scope: str) -> None:
    net = network(4, 2, 2, 3)
    scores = {"0": torch.ones(2, 4), "2": torch.ones(2, 2) * 2, "4": torch.ones(3, 2)}
    masks = None
    for _ in range(5):
        options = {"granularity": Unit(), "scope": scope} | ({"masks": masks} if masks else {})
        masks = pruned(scores, net, 0.9, **options)
    assert masks is not None
    assert [int(masks[f"{layer}.weight"].any(1).sum()) for layer in ("0", "2")] == [1, 1]


@pytest.mark.parametrize(
    ("level", "percent"), [(3, 51.28), (7, 21.07), (9, 13.52), (12, 6.95), (15, 3.58), (18, 1.85), (20, 1.19)]
)
def test_the_density_ladder_of_lenet(level: int, percent: float) -> None:
    """Frankle & Carbin 2018: 20% a level, the output layer 10%; counts rounded to the nearest, half up, per layer."""
    net = network(784, 300, 100, 10)
    generator = torch.Generator().manual_seed(0)
    scores = {layer: torch.rand(net.shapes[f"{layer}.weight"], generator=generator) for layer in net.layers}
    masks = net.full
    for _ in range(level):
        masks = pruned(scores, net, 0.2, layer_rates={"output": 0.5}, masks=masks)
    assert round(masks.density * 100, 2) == percent


def test_the_kept_counts_of_lenet_are_exact() -> None:
    """235,200 - 47,040 = 188,160 - 37,632 = 150,528 - 30,106 (of 30,105.6) = 120,422, and so on by hand."""
    net = network(784, 300, 100, 10)
    scores = {layer: torch.ones(net.shapes[f"{layer}.weight"]) for layer in net.layers}
    masks = net.full
    kept = []
    for _ in range(3):
        masks = pruned(scores, net, 0.2, layer_rates={"output": 0.5}, masks=masks)
        kept.append(tuple(masks.kept.values()))
    assert kept == [(188160, 24000, 900), (150528, 19200, 810), (120422, 15360, 729)]


@pytest.mark.parametrize(("amount", "rounded"), [(0.49, 0), (0.5, 1), (1.5, 2), (2.5, 3), (0.35 * 10, 4), (3.49, 3)])
def test_halves_are_rounded_up(amount: float, rounded: int) -> None:
    assert round_half_up(amount) == rounded


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0, 2.0, -1.0]), st.booleans()), min_size=1, max_size=40),
    st.integers(0, 40),
)
def test_lowest_takes_exactly_so_many_and_none_above_one_it_leaves(items: list[tuple[float, bool]], count: int) -> None:
    scores = torch.tensor([score for score, _ in items])
    there = torch.tensor([is_there for _, is_there in items])
    count = min(count, int(there.sum()))
    chosen = lowest(scores, there, count)
    assert int(chosen.sum()) == count
    assert not (chosen & ~there).any()
    expected = sorted((i for i in range(len(items)) if there[i]), key=lambda i: (scores[i].item(), i))[:count]
    assert chosen.nonzero().flatten().tolist() == sorted(expected)


@given(st.floats(0.01, 0.99), st.integers(0, 2**32), st.sampled_from(["layer", "global"]))
def test_exactly_the_rounded_number_is_removed(rate: float, seed: int, scope: str) -> None:
    net = network(7, 5, 3)
    generator = torch.Generator().manual_seed(seed)
    scores = {
        layer: torch.randint(0, 4, net.shapes[f"{layer}.weight"], generator=generator).float() for layer in net.layers
    }
    masks = pruned(scores, net, rate, scope=scope)
    if scope == "layer":
        assert masks.kept == {"0.weight": 35 - round_half_up(35 * rate), "2.weight": 15 - round_half_up(15 * rate)}
    else:
        assert sum(masks.kept.values()) == 50 - round_half_up(50 * rate)


def test_the_granularities_are_the_documented_ones() -> None:
    assert {"weight", "unit"} <= set(Granularity.kinds)


@pytest.mark.parametrize("kind", ["distinct", "ties", "unlucky sample"])
@pytest.mark.parametrize("share", [1e-6, 0.2, 0.999])
def test_of_many_scores_the_lowest_are_those_of_a_sort(kind: str, share: float) -> None:
    """Enough for the threshold to be looked for between two values of a sample, here once a bad one."""
    torch.manual_seed(0)
    n = 12 * SAMPLE
    scores, there = torch.rand(n), torch.rand(n) < 0.7
    if kind == "ties":
        scores = scores.mul(5).round()
    if kind == "unlucky sample":
        scores[::12] += 10
    count = max(1, int(share * there.sum()))
    order = scores.masked_fill(~there, torch.inf).sort(stable=True).indices
    expected = torch.zeros(n, dtype=torch.bool)
    expected[order[:count]] = True
    assert torch.equal(lowest(scores, there, count), expected)
