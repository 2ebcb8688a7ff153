"""The fast product against PyTorch's own, forward and backward."""

import copy

import pytest
import torch
from torch import Tensor, nn

from lth_sweep.lottery.network.linear import WORTHWHILE, fast_linear


def gradients(module: nn.Module, x: Tensor) -> list[Tensor]:
    x = x.clone().requires_grad_()
    module(x).square().sum().backward()
    assert x.grad is not None
    found = [x.grad, *(parameter.grad.clone() for parameter in module.parameters() if parameter.grad is not None)]
    module.zero_grad()
    return found


@pytest.mark.parametrize("bias", [True, False])
def test_it_computes_the_same(bias: bool) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(400, 260, bias=bias), nn.ReLU(), nn.Linear(260, 10))
    x = torch.randn(7, 400)
    plain, expected = module(x), gradients(module, x)
    with fast_linear(module):
        assert [type(layer) is nn.Linear for layer in module] == [False, False, True]
        fast, found = module(x), gradients(module, x)
        assert copy.deepcopy(module[0]).weight.shape == (260, 400)
    torch.testing.assert_close(fast, plain, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-3)
        assert ours.stride() == theirs.stride()
    assert type(module[0]) is nn.Linear


def test_inputs_of_other_shapes_and_types_go_the_usual_way() -> None:
    module = nn.Linear(1000, WORTHWHILE // 1000)
    x = torch.randn(2, 3, 1000)
    expected = module(x)
    with fast_linear(module):
        assert torch.equal(module(x), expected)
        with torch.autocast("cpu", torch.bfloat16):
            assert module(x[0]).dtype == torch.bfloat16
    double = nn.Linear(1000, WORTHWHILE // 1000).double()
    with fast_linear(double):
        assert double(x[0].double()).dtype == torch.float64


def test_an_error_leaves_the_layers_as_they_were() -> None:
    module = nn.Linear(1000, 100)
    with pytest.raises(RuntimeError), fast_linear(module):
        module(torch.randn(2, 999))
    assert type(module) is nn.Linear
