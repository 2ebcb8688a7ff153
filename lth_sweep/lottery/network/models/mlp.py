"""Fully connected networks."""

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from torch import nn

from lth_sweep.lottery.common.errors import require
from lth_sweep.lottery.network.models.base import Model, shape_of


@dataclass(frozen=True)
class Mlp(Model):
    """Linear layers fc1, fc2, ... and output, with ReLU between them; inputs are flattened."""

    hidden: tuple[int, ...] = (300, 100)

    def __post_init__(self) -> None:
        require(all(width >= 1 for width in self.hidden), "hidden", f"widths must be 1 or more, but got {self.hidden}")

    def build(self, example: Any, outputs: int) -> nn.Module:
        layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
        width = math.prod(shape_of(self, example))
        for i, hidden in enumerate(self.hidden, 1):
            layers[f"fc{i}"], layers[f"relu{i}"] = nn.Linear(width, hidden), nn.ReLU()
            width = hidden
        layers["output"] = nn.Linear(width, outputs)
        return nn.Sequential(layers)
