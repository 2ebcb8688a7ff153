"""Initial weights. Each layer draws from a stream of its own, derived from the seed and the layer's name."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.common.registry import Strategy

RELU_GAIN = math.sqrt(2)
"""Keeps the size of signals through ReLU, which takes half of their energy (He et al. 2015b, section 2.2)."""


class Init(Strategy):
    """A family of initialisations."""

    family: ClassVar[str] = "initialisation"
    scaled: bool = False
    """Where a ticket starts from initial weights, those of each layer are multiplied by sqrt(1 / k), k = the share of
    the layer's weights that is KEPT, so that signals keep their size (Ramanujan et al. 2020). The dense
    network is not changed by it."""

    def check_trial(self, trial: Any) -> None:
        if self.scaled and not trial.rewind.from_initial:
            raise ConfigError("init.scaled is about tickets that start from initial weights and does not go with "
                              f"rewind {trial.rewind.kind}; use rewind init", "init.scaled")  # fmt: skip

    def draw(self, layer: nn.Module) -> None:
        """Set the parameters of one layer in place, drawing from PyTorch's global generator, which is seeded for it."""
        raise NotImplementedError


def _reset(layer: nn.Module) -> None:
    reset = getattr(layer, "reset_parameters", None)
    if callable(reset):
        reset()


@dataclass(frozen=True)
class Default(Init):
    """What the layer's own `reset_parameters` does; for Linear and convolutions, Kaiming uniform with a = sqrt(5)."""

    def draw(self, layer: nn.Module) -> None:
        _reset(layer)


class Scheme(Init):
    """Weights of Linear and convolution layers by `fill`, their biases 0; all other layers as by default."""

    def draw(self, layer: nn.Module) -> None:
        _reset(layer)
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
            self.fill(layer.weight)
            if layer.bias is not None:
                with torch.no_grad():
                    layer.bias.zero_()

    def fill(self, weight: Tensor) -> None:
        """Set a weight, [out, in, ...], in place."""
        raise NotImplementedError


@dataclass(frozen=True)
class KaimingNormal(Scheme):
    """Normal with variance 2 / fan_in (He et al. 2015b)."""

    scaled: bool = False

    def fill(self, weight: Tensor) -> None:
        nn.init.kaiming_normal_(weight, nonlinearity="relu")


@dataclass(frozen=True)
class KaimingUniform(Scheme):
    """Uniform with variance 2 / fan_in (He et al. 2015b)."""

    def fill(self, weight: Tensor) -> None:
        nn.init.kaiming_uniform_(weight, nonlinearity="relu")


@dataclass(frozen=True)
class XavierNormal(Scheme):
    """Normal with variance 2 / (fan_in + fan_out) (Glorot & Bengio 2010); biases 0. Frankle & Carbin's, for LeNet."""

    def fill(self, weight: Tensor) -> None:
        nn.init.xavier_normal_(weight)


@dataclass(frozen=True)
class XavierUniform(Scheme):
    """Uniform with variance 2 / (fan_in + fan_out) (Glorot & Bengio 2010)."""

    def fill(self, weight: Tensor) -> None:
        nn.init.xavier_uniform_(weight)


@dataclass(frozen=True)
class Orthogonal(Scheme):
    """Rows, or columns if there are fewer, orthogonal and of length sqrt(2) (Saxe et al. 2014, for ReLU); a convolution
    as the matrix [out, in * kernel]."""

    def fill(self, weight: Tensor) -> None:
        nn.init.orthogonal_(weight, gain=RELU_GAIN)


@dataclass(frozen=True)
class SignedConstant(Scheme):
    """+-sqrt(2 / fan_in), the signs those of Kaiming normal (Ramanujan et al. 2020)."""

    scaled: bool = False

    def fill(self, weight: Tensor) -> None:
        nn.init.kaiming_normal_(weight, nonlinearity="relu")
        with torch.no_grad():
            constant = RELU_GAIN / math.sqrt(weight[0].numel())
            weight.copy_(torch.where(weight < 0, -constant, constant))


INITS: dict[str, type[Init]] = {
    "default": Default,
    "kaiming-normal": KaimingNormal,
    "kaiming-uniform": KaimingUniform,
    "xavier-normal": XavierNormal,
    "xavier-uniform": XavierUniform,
    "orthogonal": Orthogonal,
    "signed-constant": SignedConstant,
}
Init.kinds = INITS
