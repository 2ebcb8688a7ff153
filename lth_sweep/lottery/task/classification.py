"""Which of several classes an example is of."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.data.base import Splits
from lth_sweep.lottery.task.base import Metric, Task, described_targets, targets_of


@dataclass(frozen=True)
class Classification(Task):
    """Outputs are logits [n, classes], targets int64 [n]; the loss is the cross-entropy."""

    metrics: ClassVar[tuple[Metric, ...]] = (Metric("accuracy"),)
    said: ClassVar[str] = "class"

    def check(self, splits: Splits) -> None:
        for targets in targets_of(splits):
            if not isinstance(targets, Tensor) or targets.is_floating_point() or targets.ndim != 1:
                raise ConfigError(f"the task {self.kind} needs one label for each example, a whole number from 0, but "
                                  f"the data set gives {described_targets(targets)}", "task")  # fmt: skip
        labels, most = _labels(splits), self.outputs(splits)
        if splits.classes is None and labels[0] > 0:
            raise ConfigError(f"labels go from {labels[0]} to {labels[-1]}, but must start at 0: subtract {labels[0]} "
                              "in the data set, or, if classes are missing, give it an attribute `classes`, their "
                              "number", "data")  # fmt: skip
        if labels[0] < 0 or labels[-1] >= most:
            wrong = labels[0] if labels[0] < 0 else labels[-1]
            raise ConfigError(f"labels must be whole numbers from 0 to {most - 1}, but one is {wrong}", "data")

    def outputs(self, splits: Splits) -> int:
        """As many as the data set says that it has classes, else the largest label plus 1."""
        return splits.classes or 1 + _labels(splits)[-1]

    def check_output(self, output: Any, target: Any, outputs: int) -> None:
        wanted = [len(target), outputs]
        found = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
        if found != wanted:
            raise ConfigError(f"the network must give logits [batch, classes], so {wanted} for {wanted[0]} examples of "
                              f"{outputs} classes, but gives {found}")  # fmt: skip
        super().check_output(output, target, outputs)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output, target, reduction="none")

    def values(self, output: Tensor, target: Tensor) -> Mapping[str, Tensor]:
        return {"accuracy": self.predictions(output) == target}

    def predictions(self, output: Tensor) -> Tensor:
        """The class, int64 [n]; -1, which is none, where a logit is not finite."""
        return torch.where(output.isfinite().all(1), output.argmax(1), -1)


def _labels(splits: Splits) -> tuple[int, ...]:
    """In order; of all splits, where the data set says so."""
    return splits.labels or tuple(torch.cat(targets_of(splits)).unique().tolist())
