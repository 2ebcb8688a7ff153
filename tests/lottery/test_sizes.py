"""Sizes by hand, and that a latency is measured as it says."""

import pytest
import torch
from torch import Tensor, nn

from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.sizes import RUNS, WARM_UP, density, latency, sizes
from lth_sweep.lottery.network.structure import Network


def network() -> Network:
    """2x4x4 -> 3 filters 3x3 on 2x2 pixels -> 12 -> 2."""
    layers = [nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)]
    return Network(nn.Sequential(*layers), torch.zeros(2, 2, 4, 4))


def full(network: Network) -> Masks:
    return network.full


def test_dense() -> None:
    found = network()
    assert sizes(found, full(found)) == {
        "params": 54 + 3 + 3 + 3 + 24 + 2,
        "flops": 2 * 54 * 4 + 2 * 24,
        "bytes": 4 * 89,
    }


def test_weights() -> None:
    """18 of 54 weights are left in the convolution: 18 values and 54 bits, as each kernel has one left."""
    found = network()
    masks = full(found)
    masks["0.weight"][:, :, :2] = False
    masks["4.weight"][1] = False
    assert sizes(found, masks) == {
        "params": 18 + 9 + 12 + 2,
        "flops": 2 * 18 * 4 + 2 * 12,
        "bytes": (18 * 4 + 7) + 4 * 9 + 4 * 12 + 4 * 2,
    }
    assert density(found, masks) == {"0": 18 / 54, "4": 0.5}


class Counted(nn.Linear):
    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.seen = (tuple(x.shape), self.training, torch.get_num_threads(), torch.is_grad_enabled())
        return super().forward(x)


def test_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    """The median of the runs after the warm-up; a clock on which each run takes twice as long as the one before it."""
    ticks = iter([value for run in range(RUNS) for value in (0.0, 2.0**run)])
    monkeypatch.setattr("lth_sweep.lottery.network.sizes.time.perf_counter", lambda: next(ticks))
    module, threads = Counted(3, 2), torch.get_num_threads()
    assert latency(module, torch.zeros(2, 3), batch=7) == 1000 * (2.0 ** (RUNS // 2 - 1) + 2.0 ** (RUNS // 2)) / 2
    assert module.calls == WARM_UP + RUNS
    assert module.seen == ((7, 3), False, 1, False)
    assert module.training
    assert torch.get_num_threads() == threads
