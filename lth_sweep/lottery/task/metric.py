"""What a network's success is measured by: means over the examples, or numbers of the whole set."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, Protocol, Self

import torch
from torch import Tensor

from lth_sweep.lottery.common.errors import ConfigError, require
from lth_sweep.lottery.common.registry import Imported, Strategy
from lth_sweep.lottery.common.user_code import check_options, guarded, import_object


@dataclass(frozen=True)
class Metric:
    """A number that says how good a network is, and how people read it."""

    name: str
    higher_is_better: bool = True
    per_example: bool = True
    """Whether it is known of each example, so that two networks can be compared example by example; else it is known of
    a whole set alone."""
    format: Literal["percent", "number"] = "percent"
    exp: bool = False
    """Whether it is the exponential of a mean over the examples, as perplexity is."""

    def __post_init__(self) -> None:
        require(self.format in FORMATS, "metrics", f"the format of a metric must be {' or '.join(FORMATS)}, but is "
                f"{self.format!r}")  # fmt: skip

    def of(self, mean: float) -> float:
        """The metric, of the mean of its values over the examples."""
        return math.exp(min(mean, MOST)) if self.exp else mean

    def slope(self, mean: float) -> float:
        """By how much `of` rises with the mean."""
        return self.of(mean) if self.exp else 1.0

    def gain(self, value: float, reference: float) -> float:
        """How much better `value` is than `reference`: above 0 is better, whichever way the metric goes."""
        return value - reference if self.higher_is_better else reference - value

    def error(self, value: float) -> float:
        """What is to be small: the value itself where lower is better, else what is missing to 1."""
        return 1 - value if self.higher_is_better else value

    def show(self, value: float, digits: int = 2) -> str:
        """As people read it: "96.80%", or "1.2345"."""
        return f"{value:.{digits}%}" if self.format == "percent" else f"{value:.{digits + 2}g}"

    def show_difference(self, difference: float, digits: int = 2) -> str:
        """With its sign: "-0.38%"."""
        return f"{difference:+.{digits}%}" if self.format == "percent" else f"{difference:+.{digits + 2}g}"


FORMATS = ("percent", "number")
MOST = math.log(1e300)
"""So that it stays a number."""
LOSS = Metric("loss", higher_is_better=False, format="number")
"""That every task has: the mean of its loss over the examples."""


class Meter(Protocol):
    """Sees a set batch by batch and then knows a number of all of it. Every metric of torchmetrics is one."""

    def update(self, output: Any, target: Any, /) -> None: ...

    def compute(self) -> Any: ...


@dataclass(frozen=True)
class WholeMetric(Imported, Strategy):
    """A metric of the whole set: a class of torchmetrics, or another one with `update(output, target)` and `compute()`,
    by import path, with its options. It sees what the network gives and the targets, batch by batch.

    Two options are not passed on: `name`, by default that of the class, and `higher_is_better`, which torchmetrics'
    classes say themselves. It is shown in per cent where the class says that it lies between 0 and 1.
    """

    name: str = ""
    higher_is_better: bool | None = None

    family: ClassVar[str] = "metric"

    @classmethod
    def of(cls, path: str, found: Any, options: Mapping[str, Any]) -> Self:
        if not all(hasattr(found, method) for method in ("update", "compute")) and not callable(found):
            raise ConfigError(f"{path} cannot be used as a metric: it needs the methods update(output, target) and "
                              "compute(), as torchmetrics' have")  # fmt: skip
        own = {name: option for name, option in options.items() if name not in RESERVED}
        reserved = {name: option for name, option in options.items() if name in RESERVED}
        return cls(path, check_options(path, found, own, RESERVED), **reserved)

    def identity(self) -> dict[str, Any]:
        return super().identity() | {"name": self.metric.name}

    def make(self, device: torch.device | str = "cpu") -> Meter:
        """A new one, that has seen nothing."""
        with guarded(self.path, "making the metric"):
            found: Any = import_object(self.path)(**json.loads(self.options))
        if not hasattr(found, "update") or not hasattr(found, "compute"):
            raise ConfigError(f"{self.path} cannot be used as a metric: it makes a {type(found).__name__}, which has "
                              "no update(output, target) and compute()")  # fmt: skip
        return found.to(device) if hasattr(found, "to") else found

    @cached_property
    def metric(self) -> Metric:
        meter = self.make()
        better = getattr(meter, "higher_is_better", None) if self.higher_is_better is None else self.higher_is_better
        if better is None:
            raise ConfigError(f"{self.path} does not say whether higher is better; add higher_is_better: true or false",
                              "higher_is_better")  # fmt: skip
        bounds = [getattr(meter, f"plot_{end}_bound", None) for end in ("lower", "upper")]
        share = bounds == [0, 1] and better
        name = self.name or self.path.rpartition(":")[2]
        return Metric(name, better, per_example=False, format="percent" if share else "number")


RESERVED = ("name", "higher_is_better")
WholeMetric.imported = WholeMetric


class Sums:
    """A meter of what can be added up: `add` gives a batch's part, `value` says what all parts come to."""

    def __init__(self, add: Callable[[Any, Any], Tensor], value: Callable[[Tensor], float]) -> None:
        self.add, self.value = add, value
        self.total: Tensor | None = None

    def update(self, output: Any, target: Any) -> None:
        added = self.add(output, target)
        self.total = added if self.total is None else self.total + added

    def compute(self) -> float:
        assert self.total is not None, "no batch was seen"
        return self.value(self.total)
