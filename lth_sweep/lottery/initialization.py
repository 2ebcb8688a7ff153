"""Initial weights. Each layer draws from a stream of its own, derived from the seed and the layer's name."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from lth_sweep.lottery.registry import Strategy


class Init(Strategy):
    """A family of initialisations."""

    family: ClassVar[str] = "initialisation"

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


@dataclass(frozen=True)
class XavierNormal(Init):
    """Normal with variance 2 / (fan_in + fan_out) (Glorot & Bengio 2010); biases 0. Frankle & Carbin's, for LeNet."""

    def draw(self, layer: nn.Module) -> None:
        _reset(layer)
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
            nn.init.xavier_normal_(layer.weight)
            if layer.bias is not None:
                with torch.no_grad():
                    layer.bias.zero_()


INITS: dict[str, type[Init]] = {"default": Default, "xavier-normal": XavierNormal}
Init.kinds = INITS
