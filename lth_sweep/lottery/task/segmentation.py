"""Which class each pixel is of."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from lth_sweep.lottery.common.errors import require
from lth_sweep.lottery.data.base import Splits
from lth_sweep.lottery.task.base import Task
from lth_sweep.lottery.task.classification import ACCURACY
from lth_sweep.lottery.task.metric import Meter, Metric, Sums
from lth_sweep.lottery.task.targets import check_labels, classes_of, require_targets

IOU = "mean_iou"


@dataclass(frozen=True)
class Segmentation(Task):
    """Outputs are logits [n, classes, height, width], targets int64 [n, height, width]; the loss of an image is the
    mean cross-entropy over its pixels, and all means over images count each by its pixels. Metrics: mean_iou,
    intersection over union, mean over the classes that occur, which is known of a whole set alone, and accuracy, the
    share of pixels that are right."""

    ignore: int = 255
    """The target of pixels that count nowhere."""

    said: ClassVar[str] = "picture"

    @property
    def own(self) -> tuple[Metric, ...]:
        return Metric(IOU, per_example=False), ACCURACY

    def check(self, splits: Splits) -> None:
        require_targets(self, splits, lambda targets: targets.ndim >= 3 and not targets.is_floating_point(),
                        "a class for each pixel, whole numbers [n, height, width]")  # fmt: skip
        check_labels(splits, self.ignore)

    def outputs(self, splits: Splits) -> int:
        return classes_of(splits, self.ignore)

    def check_output(self, output: Any, target: Any, outputs: int) -> None:
        found = list(output.shape) if isinstance(output, Tensor) else f"a {type(output).__name__}"
        fits = isinstance(output, Tensor) and [len(output), *output.shape[2:]] == list(target.shape)
        wanted = [len(target), outputs, *target.shape[1:]]
        require(fits and output.shape[1] >= outputs, "", "the network must give logits [batch, classes, height, width],"
                f" so {wanted} for {len(target)} examples, but gives {found}")  # fmt: skip

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        each = F.cross_entropy(output, target.long(), ignore_index=self.ignore, reduction="none").flatten(1)
        return each.sum(1) / self.weights(target).clamp(min=1)

    def values(self, output: Tensor, target: Tensor) -> Mapping[str, Tensor]:
        right = (self.predictions(output) == target) & (target != self.ignore)
        return {ACCURACY.name: right.flatten(1).sum(1) / self.weights(target).clamp(min=1)}

    def weights(self, target: Tensor) -> Tensor:
        """The pixels of each image."""
        return (target != self.ignore).flatten(1).sum(1)

    def meters(self) -> Mapping[str, Meter]:
        return {IOU: Sums(self._confusion, _mean_iou)}

    def predictions(self, output: Tensor) -> Tensor:
        """The class of each pixel, int64 [n, height, width]."""
        return output.argmax(1)

    def _confusion(self, output: Tensor, target: Tensor) -> Tensor:
        """Pixels by class and by what is said of them, int64 [classes, classes]."""
        classes, there = output.shape[1], target != self.ignore
        pairs = target[there].long() * classes + self.predictions(output)[there]
        return torch.bincount(pairs, minlength=classes**2).view(classes, classes)


def _mean_iou(confusion: Tensor) -> float:
    both = confusion.diagonal()
    either = confusion.sum(0) + confusion.sum(1) - both
    return float((both / either)[either > 0].double().mean())
