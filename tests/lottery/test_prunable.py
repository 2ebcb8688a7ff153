"""Which parameters can be pruned."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.network.prunable import Prunable
from lth_sweep.lottery.network.sizes import density, sizes
from lth_sweep.lottery.network.state import State
from lth_sweep.lottery.network.structure import Network
from lth_sweep.lottery.pruning.granularity import NOfM, Unit
from tests.lottery.by_scores import prune


class Many(nn.Module):
    """Layers of most kinds: tokens -> embedding -> attention -> recurrent -> own kernel -> decoder, which shares the
    embedding's weight."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(9, 4)
        self.attend = nn.MultiheadAttention(4, 2, batch_first=True)
        self.cross = nn.MultiheadAttention(4, 2, batch_first=True, kdim=4, vdim=3)
        self.rnn = nn.LSTM(4, 6, batch_first=True, proj_size=4)
        self.kernel = nn.Parameter(torch.rand(4, 4))
        self.bias = nn.Parameter(torch.rand(4))
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.idle = nn.Linear(4, 4)
        self.decode = nn.Linear(4, 9, bias=False)
        self.decode.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        x = self.attend(x, x, x)[0]
        x = x + self.cross(x, x, x[..., :3])[0]
        x = self.frozen(self.rnn(x)[0]) @ self.kernel + self.bias
        return self.decode(x.mean(1))


TOKENS = torch.arange(10).view(2, 5) % 9
USUAL = {
    "attend.in_proj_weight": "attend.in_proj_weight",
    "attend.out_proj": "attend.out_proj.weight",
    "cross.q_proj_weight": "cross.q_proj_weight",
    "cross.k_proj_weight": "cross.k_proj_weight",
    "cross.v_proj_weight": "cross.v_proj_weight",
    "cross.out_proj": "cross.out_proj.weight",
    "rnn.weight_ih_l0": "rnn.weight_ih_l0",
    "rnn.weight_hh_l0": "rnn.weight_hh_l0",
    "rnn.weight_hr_l0": "rnn.weight_hr_l0",
}


def test_the_usual_weights_and_why_others_are_left_out() -> None:
    network = Network(Many(), TOKENS)
    assert network.weights == USUAL
    assert network.left == {
        "kernel": "it is a parameter of Many; prunable.add can name it",
        "embed": "it is shared with the embedding embed; prunable.add can name it",
        "frozen": "it is frozen: it does not require gradients",
        "idle": "no forward pass in evaluation mode uses it",
    }
    everything = sum(parameter.numel() for parameter in Many().parameters())
    assert sizes(network, network.full)["params"] == everything - 20  # without the idle layer


@pytest.mark.parametrize("pattern", ["embed", "decode", "decode.weight", "em*"])
def test_a_tied_embedding_is_one_parameter_on_request(pattern: str) -> None:
    network = Network(Many(), TOKENS, Prunable(add=(pattern,)))
    assert network.weights == {"embed": "embed.weight", **USUAL}
    assert [type(use) for use in network.uses["embed"]] == [nn.Embedding, nn.Linear]
    assert network.output == ("embed",)
    assert network.positions["embed"] == 1  # looking a token up takes no work
    masks = network.full.replace({"embed.weight": torch.zeros(9, 4, dtype=torch.bool)})
    assert density(network, masks)["embed"] == 0
    assert sizes(network, network.full)["params"] - sizes(network, masks)["params"] == 36


def test_patterns_are_of_parameters_and_of_what_they_are_in() -> None:
    network = Network(Many(), TOKENS, Prunable(add=("kernel",), leave=("cross", "rnn.weight_hh*")))
    assert list(network.weights) == [
        "kernel", "attend.in_proj_weight", "attend.out_proj", "rnn.weight_ih_l0", "rnn.weight_hr_l0"]  # fmt: skip
    assert network.left["cross.out_proj"] == "prunable.leave leaves it out"


@pytest.mark.parametrize(
    ("prunable", "path", "words"),
    [
        (
            Prunable(add=("embed", "nothing")),
            "prunable.add.1",
            "'nothing' matches no parameter; there are: kernel, embed",
        ),
        (Prunable(leave=("nothing",)), "prunable.leave.0", "matches no parameter"),
        (Prunable(add=("bias",)), "prunable.add.0", "matches only bias, with fewer than two dimensions"),
        (Prunable(add=("frozen",)), "prunable.add.0", "adds nothing: frozen: it is frozen"),
        (Prunable(add=("idle",)), "prunable.add.0", "adds nothing: idle: no forward pass"),
    ],
)
def test_patterns_without_an_effect_are_refused(prunable: Prunable, path: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        Network(Many(), TOKENS, prunable)
    assert error.value.path == path
    assert words in error.value.message


@pytest.mark.parametrize("registered", ["embedding first", "layer first"])
def test_an_embedding_that_a_layer_shares_is_left_out_wherever_it_is_registered(registered: str) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name in ("embed", "decode") if registered == "embedding first" else ("decode", "embed"):
                setattr(self, name, nn.Embedding(9, 4) if name == "embed" else nn.Linear(4, 9))
            self.decode.weight = self.embed.weight
            self.middle = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.decode(self.middle(self.embed(x).mean(1)))

    network = Network(Tied(), TOKENS)
    assert list(network.weights) == ["middle"]
    assert len(network.left) == 1


class Parametrized(nn.Module):
    def __init__(self, norm: str) -> None:
        super().__init__()
        layer = nn.Conv1d(4, 6, 3)
        self.first = {
            "spectral": nn.utils.parametrizations.spectral_norm,
            "old spectral": nn.utils.spectral_norm,
            "weight": nn.utils.parametrizations.weight_norm,
            "orthogonal": lambda one: nn.utils.parametrizations.orthogonal(one),
        }[norm](layer)
        self.last = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x).relu().mean(2))


@pytest.mark.parametrize(
    ("norm", "parameter"),
    [("spectral", "first.parametrizations.weight.original"), ("old spectral", "first.weight_orig")],
)
def test_pruned_through_a_parametrization(norm: str, parameter: str) -> None:
    torch.manual_seed(0)
    module = Parametrized(norm)
    x = torch.randn(5, 4, 7)
    network = Network(module, x)
    assert network.weights == {"first": parameter, "last": "last.weight"}
    kept = torch.rand(6, 4, 3) < 0.5
    State.of(module).masked(network.full.replace({parameter: kept})).load(module)
    module(x).sum().backward()
    assert not module.eval()(x).isnan().any()
    assert not module.first.weight[~kept].any()
    assert module.first.weight[kept].all()


@pytest.mark.parametrize("norm", ["weight", "orthogonal"])
def test_left_out_where_zeros_of_a_parameter_are_none_of_the_weight(norm: str) -> None:
    network = Network(Parametrized(norm), torch.randn(2, 4, 7))
    assert list(network.weights) == ["last"]
    assert list(network.left) == ["first"]
    assert "weight" in network.left["first"]


def test_n_of_m_goes_along_the_inputs() -> None:
    """Of a transposed convolution, [in, out, ...], and of a kernel that is multiplied from the right."""

    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.kernel = nn.ConvTranspose1d(4, 8, 2), nn.Parameter(torch.rand(8, 3))

        def forward(self, x: Tensor) -> Tensor:
            return self.up(x).mean(2) @ self.kernel

    network = Network(Own(), torch.zeros(2, 4, 5), Prunable(add=("kernel",)))
    scores = {layer: torch.rand(network.shapes[name]) for layer, name in network.weights.items()}
    masks = prune(scores, network.full, network, NOfM(), "layer", 0.5, {})
    assert (masks["up.weight"].sum(0) == 2).all()
    assert (masks["kernel"].view(2, 4, 3).sum(1) == 2).all()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(["linear", "frozen", "tied", "idle", "spectral"]), min_size=1, max_size=6), st.data())
def test_every_parameter_is_pruned_or_left_out_and_counted_once(kinds: list[str], data: st.DataObject) -> None:
    """Random stacks of layers [4, 4]; random masks."""

    class Stack(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in kinds)
            self.head = nn.Linear(4, 2)
            for layer, kind in zip(self.layers, kinds, strict=True):
                if kind == "frozen":
                    layer.requires_grad_(False)
                elif kind == "tied":
                    layer.weight = self.layers[0].weight
                elif kind == "spectral" and kinds[0] != "spectral":
                    nn.utils.parametrizations.spectral_norm(layer)

        def forward(self, x: Tensor) -> Tensor:
            for layer, kind in zip(self.layers, kinds, strict=True):
                x = x if kind == "idle" else layer(x).relu()
            return self.head(x)

    module = Stack()
    network = Network(module, torch.rand(2, 4))
    matrices = {name for name, one in module.named_parameters() if one.ndim > 1}
    assert len(network.weights) + len(network.left) == len(matrices)
    assert set(network.weights.values()) <= matrices
    masks = network.full.replace({name: torch.rand(network.shapes[name]) < data.draw(st.floats(0, 1))
                                  for name in network.weights.values()})  # fmt: skip
    kept = sum(int(mask.sum()) for mask in masks.weights.values())
    assert masks.density == kept / sum(mask.numel() for mask in masks.weights.values())
    counted = sum(one.numel() for name, one in module.named_parameters() if name in network.shapes)
    gone = sum(mask.numel() - int(mask.sum()) for mask in masks.weights.values())
    assert sizes(network, masks)["params"] == counted - gone
    state = State.of(module).masked(masks)
    assert all(not state.model[name][~mask].any() for name, mask in masks.tensors.items())
    assert State.from_tensors(state.to_tensors()).masks.digest == masks.digest


def test_flops_of_what_is_left_out_fall_with_the_units_that_it_reads() -> None:
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2))
    network = Network(module, torch.zeros(2, 4), Prunable(leave=("2",)))
    masks = Unit().without({"0": torch.arange(8) < 4}, network.full, network)
    assert masks.density == (16 + 12) / (32 + 12)
    assert sizes(network, masks)["flops"] == 2 * (16 + 24 + 12)
