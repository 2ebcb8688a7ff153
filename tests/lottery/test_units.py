"""Which units networks of many kinds have, and that they compute the same without them."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.network.compaction import compact, pruned_units
from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.models.imported import ImportedModel
from lth_sweep.lottery.network.state import State
from lth_sweep.lottery.network.structure import Network
from lth_sweep.lottery.network.tracing import random_weights
from lth_sweep.lottery.network.units.dependency import decoded
from lth_sweep.lottery.network.units.resizing import fit
from lth_sweep.lottery.pruning.granularity import Unit
from lth_sweep.lottery.recipe.trial import TrialConfig
from tests.cases import images, layers, sequences
from tests.lottery import unit_networks as own

IMAGE, SIGNAL, TOKENS = torch.randn(8, 3, 8, 8), torch.randn(8, 12, 6), torch.randint(0, 30, (8, 10))
COUPLED = "coupled"
ENCODER = "enc.layers.0"

CASES: list[tuple[Any, Tensor, dict[str, tuple[int, str]], str]] = [
    # Network, inputs, units -> (how many, their layers), layers without any
    (images.Grouped, IMAGE, {"a": (4, "a"), "g": (4, "g"), "c": (8, "c"), "d": (8, "d")}, "head"),
    (images.UNet, IMAGE, {"d1": (8, "d1"), "d2": (16, "d2"), "up": (8, "up"), "u1": (8, "u1")}, "head"),
    (images.GroupNorms, IMAGE, {"a": (4, "a"), "b": (12, "b"), "c": (12, "c"), "fc": (16, "fc")}, "head"),
    (images.OnlyGroupNorms, IMAGE, {"a": (4, "a"), "b": (12, "b")}, "head"),
    (images.DirectParameters, IMAGE, {"a": (8, "a"), "b": (12, "b"), "c": (12, "c")}, "head"),
    (images.ChannelsLastFlatten, IMAGE, {"a": (8, "a"), "b": (8, "b"), "fc": (16, "fc")}, "head"),
    (images.PixelShuffled, IMAGE, {"a": (4, "a"), "b": (8, "b")}, "head"),
    (images.ChannelShuffle, IMAGE, {"b": (8, "b"), "d": (12, "d")}, "a c head"),
    (images.Gate, IMAGE, {"a": (8, "a"), "b": (8, "b"), "c": (8, "c")}, "att one head"),
    (images.CircularConv1d, SIGNAL, {"a": (16, "a"), "b": (8, "b")}, "head"),
    (images.Conv3dNet, IMAGE, {"a": (8, "a"), "b": (8, "b"), "fc": (12, "fc")}, "head"),
    (layers.GatedLinearUnit, IMAGE, {"a": (16, "a")}, "head"),
    (layers.HeadFirst, IMAGE, {"a": (24, "a"), "b": (16, "b")}, "head"),
    (layers.UnusedMiddle, IMAGE, {"a": (16, "a"), "b": (16, "b")}, "head"),
    (layers.UnusedLast, IMAGE, {"a": (24, "a"), "b": (16, "b")}, "head"),
    (layers.FrozenPretrained, IMAGE, {"mid": (16, "mid")}, "head"),
    (layers.InPlaceInput, IMAGE, {"a": (16, "a")}, "head"),
    (sequences.Encoder, SIGNAL,
     {"proj": (16, f"proj {ENCODER}.self_attn.out_proj {ENCODER}.linear2 {COUPLED}"),
      f"{ENCODER}.self_attn.in_proj_weight": (4, f"{ENCODER}.self_attn.in_proj_weight"),
      f"{ENCODER}.linear1": (32, f"{ENCODER}.linear1")}, "head"),
    (sequences.JointQkv, SIGNAL, {"f1": (32, "f1")}, "proj qkv out f2 head"),
    (sequences.Lstm, SIGNAL, {"rnn.weight_ih_l0": (32, "rnn.weight_ih_l0 rnn.weight_hh_l0")}, "head"),
    (sequences.ConvThenGru, SIGNAL,
     {"conv": (16, "conv"), "fc": (16, "fc"),
      "gru.weight_ih_l0": (16, "gru.weight_ih_l0 gru.weight_hh_l0 gru.weight_ih_l0_reverse gru.weight_hh_l0_reverse")},
     "head"),
    (sequences.TiedLinear, SIGNAL, {"inp": (24, f"inp a {COUPLED}")}, "head"),
    (sequences.TiedEmbedding, TOKENS, {"fc": (16, f"fc {COUPLED}")}, "head"),
    (own.GroupedQueries, SIGNAL,
     {"embed": (16, f"embed out down {COUPLED}"), "q": (2, "q k v"), "up": (24, "up gate")}, "head"),
    (own.MobileBlock, IMAGE,
     {"stem": (8, f"stem project {COUPLED}"), "expand": (24, f"expand depthwise excite {COUPLED}"),
      "squeeze": (6, "squeeze")}, "head"),
    (own.Seq2Seq, SIGNAL,
     {"encoder.weight_ih_l0": (10, "encoder.weight_ih_l0 encoder.weight_hh_l0 encoder.weight_ih_l1 "
                                   "encoder.weight_hh_l1"),
      "start": (7, "start cell.weight_ih cell.weight_hh")}, "head"),
    (own.Packed, SIGNAL,
     {"rnn.weight_ih_l0": (10, "rnn.weight_ih_l0 rnn.weight_hh_l0 rnn.weight_ih_l0_reverse rnn.weight_hh_l0_reverse")},
     "head"),
    (own.Handed, SIGNAL,
     {"encoder.weight_ih_l0": (10, "encoder.weight_ih_l0 encoder.weight_hh_l0 decoder.weight_ih_l0 "
                                   "decoder.weight_hh_l0")}, "head"),
    (own.Dense, IMAGE,
     {"stem": (6, "stem"), "layers.0": (4, "layers.0"), "layers.1": (4, "layers.1"), "layers.2": (4, "layers.2")},
     "head"),
    (own.Rearranged, IMAGE,
     {"a": (6, "a"), "b": (2, "b"), "up": (3, "up"), "c": (5, "c"), "fc": (9, "fc")}, "head"),
    (own.Multiplied, IMAGE, {"a": (6, f"a each {COUPLED}"), "c": (7, "c")}, "b head"),
    (own.CrossAttention, SIGNAL,
     {"text": (12, "text"), "image": (10, "image"), "attend.out_proj": (12, "attend.out_proj"),
      "attend.q_proj_weight": (3, "attend.q_proj_weight attend.k_proj_weight attend.v_proj_weight")}, "head"),
]  # fmt: skip


def name(value: Any) -> str | None:
    return value.__name__ if isinstance(value, type) else None


def built(network: Any) -> nn.Module:
    torch.manual_seed(0)
    module: nn.Module = network()
    return random_weights(module).eval()


@pytest.mark.parametrize(("network", "inputs", "units", "spared"), CASES, ids=name)
def test_which_units_there_are(network: Any, inputs: Tensor, units: dict[str, tuple[int, str]], spared: str) -> None:
    found = Network(built(network), inputs)
    named = {key: one for key, one in found.units.items() if one.layers}
    assert {key: (one.count, set(one.layers), one.coupled) for key, one in named.items()} == {
        key: (count, set(text.split()) - {COUPLED}, COUPLED in text) for key, (count, text) in units.items()
    }
    assert set(found.spared) == set(spared.split())
    assert "output" in found.spared["head"]


def removed(module: nn.Module, inputs: Tensor, share: float) -> Masks:
    """Masks without about this share of the units of each kind."""
    network = Network(module, inputs)
    generator = torch.Generator().manual_seed(0)
    gone = {key: torch.rand(units.count, generator=generator) < share for key, units in
            Unit(coupled=True).units(network).items()}  # fmt: skip
    gone = {key: units if not units.all() else torch.arange(len(units)) > 0 for key, units in gone.items()}
    return Unit(coupled=True).without(gone, network.full, network)


OTHERS = [(own.VisionTransformer, IMAGE), (own.EncoderDecoder, SIGNAL)]


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("share", [0.3, 0.7])
@pytest.mark.parametrize(("network", "inputs"), [*[(one[0], one[1]) for one in CASES], *OTHERS], ids=name)
def test_the_smaller_network_computes_the_same(network: Any, inputs: Tensor, share: float) -> None:
    """As the masked one; also as one that is built anew, with the smaller tensors; and while it is trained."""
    module = built(network)
    masks = removed(module, inputs, share)
    smaller = compact(module, masks, inputs)
    assert sum(map(Tensor.numel, smaller.parameters())) < sum(map(Tensor.numel, module.parameters()))
    masked = copy.deepcopy(module)
    State.of(module).masked(masks).load(masked)
    again = fit(network(), State.of(smaller).model).eval()
    with torch.no_grad():
        expected, *found = (one(inputs.clone()) for one in (masked, smaller, again))
    for one in found:
        torch.testing.assert_close(one, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    plan = pruned_units(module, masks, inputs)
    tensors = {key: plan.gather(key, tensor) for key, tensor in State.of(masked).model.items()}
    assert {key: tensor.shape for key, tensor in tensors.items()} == {
        key: tensor.shape for key, tensor in State.of(smaller).model.items()
    }


@pytest.mark.parametrize("network", [sequences.Encoder, own.CrossAttention, sequences.Lstm, own.Seq2Seq], ids=name)
def test_smaller_networks_can_be_exported(network: Any) -> None:
    module = built(network)
    smaller = compact(module, removed(module, SIGNAL, 0.5), SIGNAL)
    kinds = {type(part).__name__ for part in smaller.modules()}
    assert not kinds & {"KeptLayerNorm", "KeptRMSNorm", "KeptGroupNorm"}
    program = torch.export.export(smaller, (SIGNAL,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.testing.assert_close(program.module()(SIGNAL[:3]), smaller(SIGNAL[:3]))


def test_attention_that_has_lost_heads_takes_all_that_pytorchs_takes() -> None:
    """Masks, padding, additional keys, sequences first or alone."""
    torch.manual_seed(0)
    x, memory = torch.randn(5, 3, 8).double(), torch.randn(7, 3, 8).double()
    for options in ({}, {"batch_first": True}, {"add_bias_kv": True, "add_zero_attn": True}, {"bias": False}):
        attention = nn.MultiheadAttention(8, 4, dtype=torch.float64, **options).eval()  # type: ignore[arg-type]
        with torch.no_grad():
            for parameter in attention.parameters():
                parameter.normal_()
        first = fit(copy.deepcopy(attention), {})
        first.__class__ = type(fit(copy.deepcopy(attention), {"in_proj_weight": torch.randn(18, 8)}))
        q, k = (x.transpose(0, 1), memory.transpose(0, 1)) if options.get("batch_first") else (x, memory)
        padding = torch.zeros(3, 7, dtype=torch.bool)
        padding[1, 4:] = True
        for mask in (None, torch.ones(5, 7).triu(3).bool(), torch.randn(5, 7).double(), torch.randn(12, 5, 7).double()):
            for average in (True, False):
                expected, found = (
                    one(q, k, k, key_padding_mask=padding.double() if mask is not None and mask.is_floating_point() else
                        padding, attn_mask=mask, average_attn_weights=average) for one in (attention, first)
                )  # fmt: skip
                torch.testing.assert_close(found, expected)
        torch.testing.assert_close(first(x[:, 0], memory[:, 0], memory[:, 0]),
                                   attention(x[:, 0], memory[:, 0], memory[:, 0]))  # fmt: skip


def test_norms_go_back_to_all_channels_with_other_weights() -> None:
    module = built(sequences.Encoder)
    state, masks = State.of(module), removed(module, SIGNAL, 0.5)
    with torch.no_grad():
        expected = module(SIGNAL)
        state.masked(masks).load(module)
        assert type(module.norm).__name__ == "KeptLayerNorm"
        assert not torch.allclose(module(SIGNAL), expected)
        state.load(module)
        assert type(module.norm) is nn.LayerNorm
        torch.testing.assert_close(module(SIGNAL), expected)


class Slow(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        sum(range(1_000_000))
        return self.b(F.relu(self.a(x)))


def test_looking_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lth_sweep.lottery.network.units.cut.SECONDS", 0.05)
    network = Network(Slow(), torch.zeros(2, 4))
    assert network.units == {}
    assert "TimeoutError: it takes longer than 0 s" in network.spared["a"]
    with pytest.raises(ConfigError, match="no layer of the network has units that can be removed; a: cannot tell"):
        Unit().layers(network)


class Moody(nn.Module):
    """Raises at the sight of anything but its own numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        if (self.a(x) != F.linear(x, self.a.weight, self.a.bias)).any():
            raise ValueError("not\nme")
        return self.b(F.relu(self.a(x)))


def test_what_raises_is_spared() -> None:
    network = Network(Moody(), torch.ones(2, 4))
    assert network.spared["a"] == "cannot tell which units belong together: ValueError: not"


class UsedElsewhere(nn.Module):
    """The weight of `a` is a parameter of something else, too."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Linear(4, 6), nn.Linear(6, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.b(F.relu(self.a(x))))) * self.a.weight.norm()


def test_a_layer_whose_weight_is_used_elsewhere_is_spared() -> None:
    network = Network(UsedElsewhere(), torch.ones(2, 4))
    assert network.spared["a"] == "a: its parameters are used outside of it"
    assert list(network.units) == ["b"]


@pytest.mark.parametrize("say", [lambda mean: mean, torch.tensor, lambda mean: {3 if mean else 4: True}])
def test_networks_that_differ_in_what_they_do_are_not_taken_for_the_same(say: Any) -> None:
    """Whether an attribute, a buffer or a key says it."""

    class Optional(nn.Module):
        def __init__(self, mean: bool) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 2)
            if isinstance(said := say(mean), Tensor):
                self.register_buffer("mean", said)
            else:
                self.mean = said

        def forward(self, x: Tensor) -> Tensor:
            x = self.a(x)
            return self.b(x.softmax(1) if (3 in self.mean if isinstance(self.mean, dict) else self.mean) else x.relu())

    counts = [len(Network(Optional(mean), torch.ones(2, 4)).units) for mean in (True, False, True)]
    assert counts == [0, 1, 0]


def test_a_network_may_have_a_sparse_buffer() -> None:
    network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    network.register_buffer("adjacency", torch.eye(3).to_sparse())
    assert list(Network(network, torch.ones(2, 4)).units) == ["0"]


def test_networks_of_ones_own_are_read_once() -> None:
    """Whatever is hooked to them so that the task can read their output."""
    trial = TrialConfig(model=ImportedModel(f"{__name__}:Own"))
    assert trial.network()._graph is trial.network()._graph


class Own(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(64, 5), nn.ReLU(), nn.Linear(5, 10))


def test_things_are_told_apart_by_the_bits_of_their_numbers() -> None:
    """Reader 0 depends on 5, reader 1 on 0, reader 2 on 3 and 6, reader 3 on nothing."""
    reads = torch.zeros(11, 4, dtype=torch.bool)
    reads[5, 0] = reads[0, 1] = reads[3, 2] = reads[6, 2] = True
    tests: list[Tensor] = []

    def test(chosen: Tensor) -> Tensor:
        tests.append(chosen)
        return (reads & chosen[:, None]).any(0)

    found = decoded(11, test, 100)
    assert sorted(found.T.tolist()) == [[0, 1], [3, 2], [5, 0], [6, 2]]
    assert len(tests) < 16
    coarse = decoded(11, test, 2)
    assert {tuple(pair) for pair in coarse.T.tolist()} >= {(3, 2), (6, 2)}


class _Beside(nn.Module):
    """A token joined to a sequence, all of which one layer reads: the two are as wide, though no unit is of both."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.token = nn.Linear(6, 8), nn.Parameter(torch.randn(1, 1, 8))
        self.head = nn.Linear(5 * 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cat([self.token.expand(len(x), -1, -1), self.inner(x)], 1).flatten(1))


def test_what_has_to_be_as_wide_keeps_its_units() -> None:
    network = Network(_Beside(), torch.randn(4, 4, 6))
    assert not network.units
    assert "fixed size" in network.spared["inner"]
