"""What the targets of a data set are like."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from lth_sweep.lottery.common.errors import ConfigError, require
from lth_sweep.lottery.common.registry import Strategy
from lth_sweep.lottery.data.base import Splits
from lth_sweep.lottery.data.batch import leaves
from lth_sweep.lottery.data.source import Examples

SEEN = 1000
"""Targets that are looked at of a split that is not in memory."""


def targets_of(splits: Splits) -> list[Any]:
    """The targets of train and validation; of a split that is not in memory, those of its first examples."""
    sources = (splits.train, splits.validation)
    return [source.y if isinstance(source, Examples) else source.first(SEEN).y for source in sources]


def require_targets(task: Strategy, splits: Splits, fits: Callable[[Tensor], bool], words: str) -> None:
    """Raise ConfigError unless the targets are one tensor that fits."""
    for targets in targets_of(splits):
        if not isinstance(targets, Tensor) or not fits(targets):
            found = " and ".join(f"{str(part.dtype).removeprefix('torch.')} of shape {list(part.shape[1:])}"
                                 for part in leaves(targets))  # fmt: skip
            raise ConfigError(f"the task {task.kind} needs {words}, but the targets of an example are {found}", "data")


def classes_of(splits: Splits, ignored: int | None = None) -> int:
    """As many as the data set says that it has, else the largest label plus 1."""
    return splits.classes or 1 + labels_of(splits, ignored)[1]


def labels_of(splits: Splits, ignored: int | None = None) -> tuple[int, int]:
    """The smallest and the largest; of all splits, where the data set says so."""
    if splits.labels is not None:
        known = [label for label in splits.labels if label != ignored]
        ends = [(known[0], known[-1])] if known else []
    else:
        left = [targets if ignored is None else targets[targets != ignored] for targets in targets_of(splits)]
        ends = [(int(targets.min()), int(targets.max())) for targets in left if targets.numel()]
    if not ends:
        raise ConfigError(f"all targets are {ignored}, which is ignored", "data")
    return min(low for low, _ in ends), max(high for _, high in ends)


def check_labels(splits: Splits, ignored: int | None = None) -> None:
    """Raise ConfigError for a label that is none of the classes."""
    low, high = labels_of(splits, ignored)
    most = classes_of(splits, ignored) - 1
    if splits.classes is None and low > 0 and ignored is None:
        raise ConfigError(f"labels go from {low} to {high}, but must start at 0: subtract {low} in the data set, or, "
                          "if classes are missing, give it an attribute `classes`, their number", "data")  # fmt: skip
    beside = "" if ignored is None else f", or {ignored}, which is ignored"
    require(low >= 0 and high <= most, "data", f"labels must be whole numbers from 0 to {most}{beside}, but one is "
            f"{low if low < 0 else high}")  # fmt: skip
