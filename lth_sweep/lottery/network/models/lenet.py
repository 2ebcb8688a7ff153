"""LeNet-300-100."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from lth_sweep.lottery.network.models.base import Model
from lth_sweep.lottery.network.models.mlp import Mlp


@dataclass(frozen=True)
class Lenet(Model):
    """Two hidden layers, of 300 and 100 (LeCun et al. 1998; Frankle & Carbin 2018, figure 2); inputs of any shape are
    flattened. 266,200 weights on MNIST."""

    def build(self, example: Any, outputs: int) -> nn.Module:
        return Mlp((300, 100)).build(example, outputs)
