"""What is learnt: a loss for each example, and what its success is measured by. No other module names a metric."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.common.registry import Strategy
from lth_sweep.lottery.data.base import Splits
from lth_sweep.lottery.data.batch import examples_of, leaves
from lth_sweep.lottery.data.source import Examples
from lth_sweep.lottery.task.reading import read


@dataclass(frozen=True)
class Metric:
    """A number that says how good a network is, and how people read it."""

    name: str
    higher_is_better: bool = True
    per_example: bool = True
    """Whether it is a mean of one value per example, so that two networks can be compared example by example; else it
    is known of a whole set alone."""
    format: Literal["percent", "number"] = "percent"

    def gain(self, value: float, reference: float) -> float:
        """How much better `value` is than `reference`: above 0 is better, whichever way the metric goes."""
        return value - reference if self.higher_is_better else reference - value

    def error(self, value: float) -> float:
        """How far `value` is from the best: what is missing to 1, or, of a metric that is better when it is lower, the
        value itself."""
        if not self.higher_is_better:
            return value
        return 1 - value if self.format == "percent" else -value

    def show(self, value: float, digits: int = 2) -> str:
        """As people read it: "96.80%", or "1.2345"."""
        return f"{value:.{digits}%}" if self.format == "percent" else f"{value:.{digits + 2}g}"

    def show_difference(self, difference: float, digits: int = 2) -> str:
        """With its sign: "-0.38%"."""
        return f"{difference:+.{digits}%}" if self.format == "percent" else f"{difference:+.{digits + 2}g}"


LOSS = Metric("loss", higher_is_better=False, format="number")
"""That every task has: the mean of its loss over the examples."""


class Task(Strategy):
    """A family of tasks. One's own is a frozen dataclass with `metrics`, `loss` and `values`."""

    family: ClassVar[str] = "task"
    metrics: ClassVar[tuple[Metric, ...]] = ()
    """The first is the one that has to match, unless the sweep file names another."""

    said: ClassVar[str] = "output"
    """What a network says of an example, in a word."""

    def check(self, splits: Splits) -> None:
        """Raise ConfigError where the targets are none that this task can learn."""

    def outputs(self, splits: Splits) -> int:
        """How many numbers a model of this package has to give for an example."""
        return splits.classes or 1

    def read(self, output: Any) -> Any:
        """What `loss` and the others get of what a network gives, which may be anything."""
        return read(output)

    def reading(self, module: nn.Module) -> nn.Module:
        """The module, which from now on gives what `read` makes of its output."""
        module.register_forward_hook(lambda module, inputs, output: self.read(output))
        return module

    def check_output(self, output: Any, target: Any, outputs: int) -> None:
        """Raise ConfigError where the output of a network for a few examples is none that `loss` takes. `outputs`: what
        `outputs` has said."""
        loss, n = self.loss(output, target), examples_of(target)
        if loss.shape != (n,):
            raise ConfigError(f"the loss of task {self.kind} must be one number for each example, so of shape [{n}], "
                              f"but it is of shape {list(loss.shape)}", "task")  # fmt: skip

    def loss(self, output: Any, target: Any) -> Tensor:
        """One loss for each example, float [n]."""
        raise NotImplementedError

    def values(self, output: Any, target: Any) -> Mapping[str, Tensor]:
        """Of each metric that is a mean over examples, the value of each example, [n]."""
        raise NotImplementedError

    def whole(self, output: Any, target: Any) -> Mapping[str, float]:
        """Of each metric that is known of a whole set alone, its value; output and target are of the whole set."""
        return {}

    def predictions(self, output: Any) -> Tensor:
        """What the network says of each example, [n, ...]. One that says the same of all has learnt nothing."""
        raise NotImplementedError

    def metric(self, name: str | None = None) -> Metric:
        """The one of this name, by default the main one. KeyError where the task has none such."""
        known = {metric.name: metric for metric in (*self.metrics, LOSS)}
        return known[name] if name else next(iter(known.values()))


SEEN = 1000
"""Targets that are looked at of a split that is not in memory."""


def targets_of(splits: Splits) -> list[Any]:
    """The targets of train and validation; of a split that is not in memory, those of its first examples."""
    sources = (splits.train, splits.validation)
    return [source.y if isinstance(source, Examples) else source.first(SEEN).y for source in sources]


def described_targets(targets: Any) -> str:
    """For people: "float32 of shape [2]"."""
    return " and ".join(f"{str(part.dtype).removeprefix('torch.')} of shape {list(part.shape[1:])}"
                        for part in leaves(targets))  # fmt: skip
