"""Which of several classes an example is of."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from lth_sweep.lottery.task.base import Metric, Task


@dataclass(frozen=True)
class Classification(Task):
    """Outputs are logits [n, classes], targets int64 [n]; the loss is the cross-entropy."""

    metrics: ClassVar[tuple[Metric, ...]] = (Metric("accuracy"),)
    said: ClassVar[str] = "class"

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output, target, reduction="none")

    def values(self, output: Tensor, target: Tensor) -> Mapping[str, Tensor]:
        return {"accuracy": self.predictions(output) == target}

    def predictions(self, output: Tensor) -> Tensor:
        """The class, int64 [n]; -1, which is none, where a logit is not finite."""
        return torch.where(output.isfinite().all(1), output.argmax(1), -1)
