"""A class at each place of a sequence, such as the next token."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor
from torch.nn import functional as F

from lth_sweep.lottery.common.errors import require
from lth_sweep.lottery.data.base import Splits
from lth_sweep.lottery.task.base import Task
from lth_sweep.lottery.task.classification import ACCURACY
from lth_sweep.lottery.task.metric import Metric
from lth_sweep.lottery.task.targets import check_labels, classes_of, require_targets

PERPLEXITY = Metric("perplexity", higher_is_better=False, format="number", exp=True)


@dataclass(frozen=True)
class Tagging(Task):
    """Outputs are logits [n, places, classes], targets int64 [n, places]: the class of each place of a sequence. The
    loss of an example is the mean cross-entropy over its places, and all means over examples count each by its places.
    Metric: accuracy, the share of places that are right."""

    padding: int = -100
    """The target of places that count nowhere."""

    said: ClassVar[str] = "tags"

    @property
    def own(self) -> tuple[Metric, ...]:
        return (ACCURACY,)

    def check(self, splits: Splits) -> None:
        require_targets(self, splits, lambda targets: targets.ndim == 2 and not targets.is_floating_point(),
                        "a class for each place of an example, whole numbers [n, places]")  # fmt: skip
        check_labels(splits, self.padding)

    def outputs(self, splits: Splits) -> int:
        """As many as the data set says that it has classes, else the largest plus 1."""
        return classes_of(splits, self.padding)

    def check_output(self, output: Any, target: Any, outputs: int) -> None:
        found = list(output.shape) if isinstance(output, Tensor) else f"a {type(output).__name__}"
        fits = isinstance(output, Tensor) and found[:-1] == list(target.shape) and output.shape[-1] >= outputs
        require(fits, "", f"the network must give logits [batch, places, classes], so {[*target.shape, outputs]} for "
                f"{len(target)} examples, but gives {found}")  # fmt: skip

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        flat = output.flatten(0, 1), target.flatten()
        each = F.cross_entropy(*flat, ignore_index=self.padding, reduction="none").view(target.shape)
        return each.sum(1) / (target != self.padding).sum(1).clamp(min=1)

    def values(self, output: Tensor, target: Tensor) -> Mapping[str, Tensor]:
        right = (self.predictions(output) == target) & (target != self.padding)
        return {ACCURACY.name: right.sum(1) / self.weights(target).clamp(min=1)}

    def weights(self, target: Tensor) -> Tensor:
        """The places of each example."""
        return (target != self.padding).sum(1)

    def predictions(self, output: Tensor) -> Tensor:
        """The class of each place, int64 [n, places]."""
        return output.argmax(-1)


@dataclass(frozen=True)
class LanguageModelling(Tagging):
    """Outputs are logits [n, places, tokens], targets int64 [n, places]: the token that comes next at each place. The
    loss of an example is the mean cross-entropy over its tokens, and all means over examples count each by its tokens,
    so that they are means over tokens. Metric: perplexity, the exponential of the loss."""

    shift: bool = False
    """Whether targets are the tokens themselves, as the labels of Hugging Face's models: then each place is to give
    that of the next one."""

    said: ClassVar[str] = "tokens"

    @property
    def own(self) -> tuple[Metric, ...]:
        return (PERPLEXITY,)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return super().loss(output[:, : output.shape[1] - self.shift], self._next(target))

    def values(self, output: Tensor, target: Tensor) -> Mapping[str, Tensor]:
        return {PERPLEXITY.name: self.loss(output, target)}

    def weights(self, target: Tensor) -> Tensor:
        return super().weights(self._next(target))

    def _next(self, target: Tensor) -> Tensor:
        return target[:, 1:] if self.shift else target
