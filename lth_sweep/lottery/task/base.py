"""What is learnt: a loss for each example, and what its success is measured by. No other module names a metric."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from lth_sweep.lottery.common.registry import Strategy


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
