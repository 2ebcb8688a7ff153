"""What is learnt: a loss for each example, and what its success is measured by. No other module names a metric."""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, ClassVar

from torch import Tensor, nn

from lth_sweep.lottery.common.errors import ConfigError, require
from lth_sweep.lottery.common.registry import Strategy
from lth_sweep.lottery.data.base import Splits
from lth_sweep.lottery.data.batch import arguments, leaves
from lth_sweep.lottery.task.metric import LOSS, Meter, Metric, WholeMetric
from lth_sweep.lottery.task.reading import Own, read

NAME = r"\w[\w .-]*"
"""Of a metric: MLflow and files take no others."""


@dataclass(frozen=True, kw_only=True)
class Task(Strategy):
    """A family of tasks. One's own is a class with `loss`, which may declare further `metrics = (Metric(...), ...)` and
    give their `values`."""

    metrics: tuple[WholeMetric, ...] = ()
    """Further metrics, of the whole set: any of torchmetrics, by import path, such as
    torchmetrics.classification:MulticlassF1Score, with its options."""
    output: str | int | None = None
    """Which part of what the network gives is its output, by name or by place, from 0, where it gives several; by
    default what is called logits or out, or the first of a tuple."""
    targets: str | None = None
    """The parameter of the network's forward that takes the targets, such as labels. Then the loss is the network's
    own: what it gives as loss, or the single number among what it gives."""

    family: ClassVar[str] = "task"
    said: ClassVar[str] = "output"
    """What a network says of an example, in a word."""

    def __init_subclass__(cls) -> None:
        # What a class declares as its `metrics` are its own; the field of that name is for those of a sweep file.
        if "metrics" in vars(cls):
            cls.own = cls.metrics  # type: ignore[assignment,method-assign]
            cls.__annotations__.pop("metrics", None)
            del cls.metrics

    def __post_init__(self) -> None:
        declared = isinstance(self.own, tuple | list) and all(isinstance(metric, Metric) for metric in self.own)
        require(declared, "", f"{type(self).__name__}.metrics must be (Metric(...), ...), but is {self.own!r}")
        for index, one in enumerate(self.metrics):
            try:
                _ = one.metric
            except ConfigError as error:
                raise error.under(f"metrics.{index}") from error
        for metric in self.measured:
            named = isinstance(metric.name, str) and re.fullmatch(NAME, metric.name) is not None
            require(named, "metrics", "a metric's name must be letters, digits, `_`, `.`, `-` and spaces, but is "
                    f"{metric.name!r}")  # fmt: skip
        names = [metric.name for metric in self.measured]
        twice = next((name for name in names if names.count(name) > 1), None)
        require(twice is None, "metrics", f"two are called {twice}; give one another `name`")

    @property
    def own(self) -> tuple[Metric, ...]:
        """The first is the one that has to match, unless the sweep file names another."""
        return ()

    @cached_property
    def measured(self) -> tuple[Metric, ...]:
        """All that is measured, the main one first and the loss last."""
        loss = replace(LOSS, per_example=self.targets is None)
        return (*self.own, *(one.metric for one in self.metrics), loss)

    def metric(self, name: str | None = None) -> Metric:
        """The one of this name, by default the main one. KeyError where the task has none such."""
        return {metric.name: metric for metric in self.measured}[name] if name else self.measured[0]

    def loss(self, output: Any, target: Any) -> Tensor:
        """One loss for each example, float [n]."""
        raise NotImplementedError

    def values(self, output: Any, target: Any) -> Mapping[str, Tensor]:
        """Of each metric that is known of each example, the value of each, [n]; by default the first is the loss."""
        return {metric.name: self.loss(output, target) for metric in self.own[:1] if metric.per_example}

    def meters(self) -> Mapping[str, Meter]:
        """Of each metric of the class itself that is known of a whole set alone, what sees a set batch by batch."""
        return {}

    def for_meters(self, output: Any, target: Any) -> tuple[Any, Any]:
        """Both as meters take them: an output [n] beside targets [n], where it is [n, 1]."""
        alike = isinstance(output, Tensor) and isinstance(target, Tensor) and output.numel() == target.numel()
        return output.reshape(target.shape) if alike else output, target

    def weights(self, target: Any) -> Tensor | None:
        """How much each example counts in all means, [n]; None where all count the same."""
        return None

    def predictions(self, output: Any) -> Tensor:
        """What the network says of each example, [n, ...]. One that says the same of all has learnt nothing."""
        return next(iter(leaves(output)))

    def outputs(self, splits: Splits) -> int:
        """How many numbers a model of this package has to give for an example: by default one for each class, if the
        data set has classes, else as many as a target has."""
        return splits.classes or max(1, leaves(splits.train.first(1).y)[0].numel())

    def check(self, splits: Splits) -> None:
        """Raise ConfigError where the targets are none that this task can learn."""

    def check_output(self, output: Any, target: Any, outputs: int) -> None:
        """Raise ConfigError where the output of a network for a few examples is none that `loss` takes. `outputs`: what
        `outputs` has said."""

    def read(self, given: Any) -> Any:
        """The output: what `loss` and the others get of what the network has given, which may be anything."""
        return read(given, self.output, own_loss=self.targets is not None)

    def reading(self, module: nn.Module) -> nn.Module:
        """The module, which from now on gives what `read` makes of its output."""
        module.register_forward_hook(partial(_reading, self))
        return module

    def arguments(self, x: Any, y: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Of the network's forward, by place and by name."""
        positional, named = arguments(x)
        return positional, named if self.targets is None else {**named, self.targets: y}

    def losses(self, output: Any, target: Any) -> Tensor:
        """The loss of each example, [n]: the network's own, if it has one."""
        return output.loss if isinstance(output, Own) else self.loss(output, target)

    def identity(self) -> dict[str, Any]:
        """Without what is as by default."""
        fields = dataclasses.fields(self)
        same = {one.name for one in fields if one.default == getattr(self, one.name)}
        return {name: value for name, value in super().identity().items() if name not in same}


def _reading(task: Task, module: nn.Module, inputs: Any, output: Any) -> Any:
    return task.read(output)


def output_of(given: Any) -> Any:
    """Without a loss of its own."""
    return given.output if isinstance(given, Own) else given


def mean_loss(losses: Tensor, weights: Tensor | None) -> Tensor:
    """Of the loss of each example, [..., n], over the examples."""
    if weights is None:
        return losses.mean(-1) if losses.ndim > 1 else losses.mean()
    return (losses * weights).sum(-1) / weights.sum(-1).clamp(min=1e-12)
