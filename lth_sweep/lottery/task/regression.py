"""Numbers."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from lth_sweep.lottery.common.errors import require
from lth_sweep.lottery.data.base import Splits
from lth_sweep.lottery.task.base import Task
from lth_sweep.lottery.task.metric import Meter, Metric, Sums
from lth_sweep.lottery.task.targets import require_targets, targets_of

R2 = "r2"
LOSSES: dict[str, Callable[..., Tensor]] = {"squared": F.mse_loss, "absolute": F.l1_loss, "huber": F.huber_loss}


@dataclass(frozen=True)
class Regression(Task):
    """Outputs and targets are numbers, [n] or [n, ...]. Metrics: mse and mae, the squared and the absolute error, mean
    over the numbers of a target, and r2 (the share of the variance that is explained, mean over them), which is known
    of a whole set alone. They are in the units of the targets, which are not scaled."""

    error: Literal["squared", "absolute", "huber"] = "squared"
    """The loss. huber: squared up to 1, from there on absolute (Huber 1964)."""

    said: ClassVar[str] = "number"

    @property
    def own(self) -> tuple[Metric, ...]:
        errors = [Metric(name, higher_is_better=False, format="number") for name in ("mse", "mae")]
        return (*errors, Metric(R2, per_example=False, format="number"))

    def check(self, splits: Splits) -> None:
        require_targets(self, splits, lambda targets: not targets.is_complex(), "numbers")
        finite = all(bool(targets.isfinite().all()) for targets in targets_of(splits))
        require(finite, "data", "a target is infinite or not a number")

    def outputs(self, splits: Splits) -> int:
        return math.prod(targets_of(splits)[0].shape[1:])

    def check_output(self, output: Any, target: Any, outputs: int) -> None:
        found = list(output.shape) if isinstance(output, Tensor) else f"a {type(output).__name__}"
        wanted = [len(target), outputs]
        fits = isinstance(output, Tensor) and len(output) == len(target) and output.numel() == target.numel()
        require(fits, "", f"the network must give as many numbers as a target has, so {wanted} for {wanted[0]} "
                f"examples, but gives {found}")  # fmt: skip

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        output, target = _flat(output, target)
        return LOSSES[self.error](output, target, reduction="none").mean(1)

    def values(self, output: Tensor, target: Tensor) -> Mapping[str, Tensor]:
        output, target = _flat(output, target)
        return {"mse": (output - target).square().mean(1), "mae": (output - target).abs().mean(1)}

    def meters(self) -> Mapping[str, Meter]:
        return {R2: Sums(_moments, _explained)}


def _flat(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Both [n, numbers]: [n, 1] less [n] would be [n, n]. Targets are not rounded to what a network in bf16 gives."""
    dtype = torch.promote_types(output.dtype, torch.float32)
    output = output.flatten(1) if output.ndim > 1 else output[:, None]
    return output.to(dtype), target.to(dtype).reshape(len(target), -1)


def _moments(output: Tensor, target: Tensor) -> Tensor:
    """Of a batch, float64 [4, numbers]: count, sum and sum of squares of the targets, squared errors."""
    output, target = (part.double() for part in _flat(output, target))
    return torch.stack([torch.ones_like(target), target, target.square(), (output - target).square()]).sum(1)


def _explained(sums: Tensor) -> float:
    count, total, squares, errors = sums
    return float((1 - errors / (squares - total.square() / count)).mean())
