"""Which of several classes an example is of."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from lth_sweep.lottery.common.errors import require
from lth_sweep.lottery.data.base import Splits
from lth_sweep.lottery.task.base import Task
from lth_sweep.lottery.task.metric import Metric
from lth_sweep.lottery.task.targets import check_labels, classes_of, require_targets, targets_of

ACCURACY = Metric("accuracy")


@dataclass(frozen=True)
class Classification(Task):
    """Outputs are logits [n, classes], targets int64 [n]; the loss is the cross-entropy. Metrics: accuracy, and those
    of `top`."""

    label_smoothing: float = 0.0
    """Of the loss (Szegedy et al. 2016, section 7)."""
    class_weights: tuple[float, ...] = ()
    """One for each class, by which the loss of its examples is multiplied; metrics are without."""
    top: tuple[int, ...] = ()
    """For each k also the metric top_k: the share of examples whose class is among the k with the highest logits."""

    said: ClassVar[str] = "class"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.label_smoothing < 1, "label_smoothing",
                f"must be at least 0 and below 1, but got {self.label_smoothing:g}")  # fmt: skip
        require(all(weight >= 0 for weight in self.class_weights), "class_weights", "must be 0 or more")
        require(all(k >= 2 for k in self.top), "top", "each must be 2 or more")

    @property
    def own(self) -> tuple[Metric, ...]:
        return (ACCURACY, *(Metric(f"top_{k}") for k in self.top))

    def check(self, splits: Splits) -> None:
        require_targets(self, splits, lambda targets: targets.ndim == 1 and not targets.is_floating_point(),
                        "one label for each example, a whole number from 0")  # fmt: skip
        check_labels(splits)
        classes = self.outputs(splits)
        require(classes > 1, "data", "there is one class only, and nothing to tell it from")
        require(not self.class_weights or any(self.class_weights), "task.class_weights", "must not all be 0")
        require(len(self.class_weights) in (0, classes), "task.class_weights",
                f"there are {classes} classes, but {len(self.class_weights)} weights")  # fmt: skip
        require(max(self.top, default=2) <= classes, "task.top", f"there are {classes} classes, but got {[*self.top]}")

    def outputs(self, splits: Splits) -> int:
        return classes_of(splits)

    def check_output(self, output: Any, target: Any, outputs: int) -> None:
        require_logits(output, [len(target), outputs], "[batch, classes]")

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        if not self.class_weights:
            return F.cross_entropy(output, target, reduction="none", label_smoothing=self.label_smoothing)
        dtype = torch.promote_types(output.dtype, torch.float32)  # bf16 would round the weights
        weight = torch.tensor(self.class_weights, dtype=dtype, device=output.device)
        return F.cross_entropy(output.to(dtype), target, weight, reduction="none", label_smoothing=self.label_smoothing)

    def values(self, output: Tensor, target: Tensor) -> Mapping[str, Tensor]:
        found = {ACCURACY.name: self.predictions(output) == target}
        for k in self.top:
            found[f"top_{k}"] = (output.topk(k).indices == target[:, None]).any(1)
        return found

    def predictions(self, output: Tensor) -> Tensor:
        """The class, int64 [n]; -1, which is none, where a logit is not finite."""
        return torch.where(output.isfinite().all(1), output.argmax(1), -1)


@dataclass(frozen=True)
class MultiLabel(Task):
    """Which of several labels an example has, any number of them: outputs are logits [n, labels], targets 0 or 1, of
    the same shape; the loss is the binary cross-entropy, mean over the labels. Metrics: f1, of the labels of each
    example (1 where it has none and none is said), and exact_match, the share of examples whose labels are all right.
    """

    said: ClassVar[str] = "set of labels"

    @property
    def own(self) -> tuple[Metric, ...]:
        return Metric("f1"), Metric("exact_match")

    def check(self, splits: Splits) -> None:
        require_targets(self, splits, lambda targets: targets.ndim == 2,
                        "a 0 or a 1 for each label of an example, [n, labels]")  # fmt: skip
        for targets in targets_of(splits):
            wrong = targets[(targets != 0) & (targets != 1)]
            require(not len(wrong), "data", f"targets must be 0 or 1, but one is {wrong[0] if len(wrong) else ''}")

    def outputs(self, splits: Splits) -> int:
        return int(targets_of(splits)[0].shape[1])

    def check_output(self, output: Any, target: Any, outputs: int) -> None:
        require_logits(output, [len(target), outputs], "[batch, labels]")

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(output, target.to(output.dtype), reduction="none").mean(1)

    def values(self, output: Tensor, target: Tensor) -> Mapping[str, Tensor]:
        said, there = self.predictions(output) > 0, target > 0
        both, all_ = (said & there).sum(1), said.sum(1) + there.sum(1)
        f1 = torch.where(all_ > 0, 2 * both / all_.clamp(min=1), 1.0)
        return {"f1": f1.where(output.isfinite().all(1), 0.0), "exact_match": (said == there).all(1)}

    def for_meters(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        return output, target.long()  # torchmetrics refuses others

    def predictions(self, output: Tensor) -> Tensor:
        """1 for each label that it has, int64 [n, labels]."""
        return (output > 0).long()


def require_logits(output: Any, wanted: list[int], words: str) -> None:
    """Raise ConfigError where the output has not this shape."""
    found = list(output.shape) if isinstance(output, Tensor) else f"a {type(output).__name__}"
    require(found == wanted, "", f"the network must give logits {words}, so {wanted} for {wanted[0]} examples, but "
            f"gives {found}")  # fmt: skip
