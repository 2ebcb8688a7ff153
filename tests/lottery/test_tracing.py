"""What one forward pass says of a network."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lth_sweep.lottery.network.sizes import sizes
from lth_sweep.lottery.network.structure import Network
from lth_sweep.lottery.network.tracing import copied, trace


class Own(nn.Module):
    """Modules by name, and what forward does with them."""

    def __init__(self, forward: Any, **modules: nn.Module) -> None:
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)
        self.does = forward

    def forward(self, *inputs: Tensor) -> Any:
        return self.does(self, *inputs)


def linear(inputs: int, outputs: int) -> nn.Linear:
    return nn.Linear(inputs, outputs, bias=False)


ENDS = {
    "the first one registered": (
        Own(lambda m, x: m.head(m.a(x).relu()), head=linear(4, 2), a=linear(3, 4)),
        {"head"},
    ),
    "several": (
        Own(
            lambda m, x: {"one": m.one(m.a(x)), "two": m.two(m.a(x))},
            a=linear(3, 4),
            one=linear(4, 2),
            two=linear(4, 2),
        ),
        {"one", "two"},
    ),
    "an addition": (
        Own(lambda m, x: m.one(x) + m.two(x).sigmoid(), one=linear(3, 2), two=linear(3, 2)),
        {"one", "two"},
    ),
    "written into a buffer": (
        Own(lambda m, x: _into_buffer(m.head(m.a(x))), a=linear(3, 4), head=linear(4, 2)),
        {"head"},
    ),
    "one with a shared weight": (
        Own(lambda m, x: F.linear(m.a(x), m.a.weight.T), a=linear(3, 4)),
        {"a"},
    ),
    "through numpy, unseen": (
        Own(lambda m, x: torch.from_numpy(m.head(m.a(x)).numpy().copy()), a=linear(3, 4), head=linear(4, 2)),
        {"head"},
    ),
}


def _into_buffer(x: Tensor) -> Tensor:
    buffer = torch.zeros(len(x), 3)
    buffer[:, :2] = x
    return buffer


@pytest.mark.parametrize("case", ENDS)
def test_the_output_is_what_a_pass_ends_with(case: str) -> None:
    module, ends = ENDS[case]
    assert set(Network(module, torch.ones(2, 3)).output) == ends


def test_the_output_of_a_recurrent_network() -> None:
    module = Own(lambda m, x: m.rnn(x)[0], rnn=nn.LSTM(3, 4, num_layers=2, batch_first=True))
    assert Network(module, torch.zeros(2, 5, 3)).output == ("rnn.weight_ih_l1", "rnn.weight_hh_l1")


@pytest.mark.parametrize(
    ("layer", "shape", "positions"),
    [
        (nn.Linear(3, 4), (5, 3), 5),
        (nn.Conv2d(3, 4, 3), (3, 8, 8), 36),
        (nn.Conv2d(4, 4, 3, groups=4), (4, 8, 8), 36),
        (nn.Conv1d(3, 4, 3, padding=1, padding_mode="circular"), (3, 8), 8),
        (nn.ConvTranspose2d(3, 4, 2, stride=2), (3, 8, 8), 64),
        (nn.Conv3d(1, 2, 2), (1, 3, 3, 3), 8),
    ],
)
def test_positions(layer: nn.Module, shape: tuple[int, ...], positions: int) -> None:
    network = Network(nn.Sequential(layer), torch.zeros(2, *shape))
    assert network.positions == {"0": positions}
    assert network.other_flops == 0


def test_flops_of_attention_and_recurrent_layers_by_hand() -> None:
    """Five positions of four features: q, k, v and out, and two products of [5, 4] and [4, 5]."""
    attention = Own(lambda m, x: m.a(x, x, x)[0], a=nn.MultiheadAttention(4, 2, batch_first=True))
    network = Network(attention, torch.zeros(2, 5, 4))
    assert network.positions == {"a.in_proj_weight": 5, "a.out_proj": 5}
    assert network.other_flops == 2 * 2 * 5 * 5 * 4
    assert sizes(network, network.full)["flops"] == 2 * 5 * (48 + 16) + network.other_flops
    halved = network.full.replace({"a.in_proj_weight": torch.arange(48).view(12, 4) % 2 == 0})
    assert sizes(network, halved)["flops"] == 2 * 5 * (24 + 16) + network.other_flops
    recurrent = Network(nn.Sequential(nn.GRU(3, 4, batch_first=True)), torch.zeros(2, 7, 3))
    assert recurrent.positions == {"0.weight_ih_l0": 7, "0.weight_hh_l0": 7}


def test_what_is_not_used_is_no_part_of_the_network() -> None:
    module = Own(lambda m, x: m.b(m.a(x)), a=linear(3, 4), idle=nn.Linear(4, 4), b=linear(4, 2))
    network = Network(module, torch.zeros(2, 3))
    assert list(network.layers) == ["a", "b"]
    assert network.left == {"idle": "no forward pass in evaluation mode uses it"}
    assert sizes(network, network.full) == {"params": 20, "flops": 40, "bytes": 80}


def test_the_fast_path_of_an_encoder_layer_hides_nothing() -> None:
    module = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True).eval()
    with torch.no_grad():
        network = Network(module, torch.zeros(2, 5, 4))
    assert list(network.layers) == ["self_attn.in_proj_weight", "self_attn.out_proj", "linear1", "linear2"]
    assert torch.backends.mha.get_fastpath_enabled()


def test_tracing_leaves_no_trace() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 2)).train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    torch.manual_seed(0)
    drawn = torch.rand(1)
    torch.manual_seed(0)
    found = trace(module, torch.ones(2, 3))
    assert torch.equal(torch.rand(1), drawn)
    assert module.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert trace(module, torch.ones(2, 3)) is found


def test_inputs_lie_along_different_dimensions() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.kernel = nn.ConvTranspose1d(4, 8, 1), nn.Parameter(torch.rand(8, 5))
            self.last = nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(torch.matmul(self.first(x).transpose(1, 2), self.kernel))

    module = Own()
    assert trace(module, torch.zeros(2, 4, 3)).inputs_dim == {"first.weight": 0, "kernel": 0, "last.weight": 1}


def test_a_network_with_the_old_weight_norm_can_be_copied_after_training() -> None:
    with pytest.warns(FutureWarning):
        module = nn.Sequential(nn.utils.weight_norm(nn.Linear(3, 2)))
    module(torch.ones(2, 3)).sum().backward()
    copy = copied(module)
    torch.testing.assert_close(copy(torch.ones(2, 3)), module(torch.ones(2, 3)))
    assert copy[0].weight_v is not module[0].weight_v  # type: ignore[index]
