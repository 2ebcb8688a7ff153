"""A user's own map-style Dataset, by import path."""

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from lth_sweep.lottery.common.errors import ConfigError, require
from lth_sweep.lottery.common.registry import Imported
from lth_sweep.lottery.common.user_code import check_options, guarded, signature
from lth_sweep.lottery.data.base import Data, Examples, Splits, permutation, require_seed

RESERVED = ("split_seed", "validation", "test")


@dataclass(frozen=True)
class ImportedData(Imported, Data):
    """`Name(**options)` of the user's module: an object with `len` and items (input, label), read once into memory.

    Three options are not passed on, since they say how the set is split: `split_seed`, and the shares `validation` and
    `test`. Items of the test share are not read before the test split is asked for.

    An input is a tensor, an array or a number, used as it is, or a PIL image, which becomes [channels, height, width];
    bytes (uint8) are divided by 255. A label is an integer from 0. The number of classes is that of the object's
    attribute `classes` (a number, or a list of names), or else the largest label in train and validation, plus 1.
    Items must be the same each time: a random change is the work of `train.augment`.
    """

    split_seed: int = 0
    validation: float = 0.1
    test: float = 0.1

    def __post_init__(self) -> None:
        require(type(self.split_seed) is int, "split_seed", f"must be a whole number, but got {self.split_seed!r}")
        require_seed(self.split_seed)
        for name in ("validation", "test"):
            share = getattr(self, name)
            require(isinstance(share, int | float) and 0 < share < 1, name,
                    f"must be a share between 0 and 1 exclusive, but got {share!r}")  # fmt: skip
        require(self.validation + self.test < 1, "validation", "validation and test together must leave something to "
                f"train on, but {self.validation:g} + {self.test:g} = {self.validation + self.test:g}")  # fmt: skip

    @classmethod
    def of(cls, path: str, found: Any, options: Mapping[str, Any]) -> Self:
        if not callable(found):
            raise ConfigError(f"{path} cannot be used as a data set: it must be a map-style Dataset class, or a "
                              f"function that makes one, but is {_describe(found)}")  # fmt: skip
        taken = [name for name in RESERVED if name in signature(path, found)]
        if taken:
            raise ConfigError(f"{path} has a parameter {taken[0]!r}, but here this name says how the set is split; "
                              "rename the parameter")  # fmt: skip
        split = {name: value for name, value in options.items() if name in RESERVED}
        own = {name: value for name, value in options.items() if name not in RESERVED}
        return cls(path, check_options(path, found, own, RESERVED), **split)

    def identity(self) -> dict[str, Any]:
        return super().identity() | {name: getattr(self, name) for name in RESERVED}

    def load(self) -> Splits:
        dataset = self.make()
        if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
            raise ConfigError(f"{self.path} makes a {type(dataset).__name__}, which is no map-style data set: "
                              "it needs the methods __len__ and __getitem__")  # fmt: skip
        with guarded(self.path, "len()"):
            n = len(dataset)
        order = permutation(n, self.split_seed)
        counts = {"test": round(n * self.test), "validation": round(n * self.validation)}
        counts["train"] = n - sum(counts.values())
        for name, count in counts.items():
            require(count >= 1, name if name in RESERVED else "",
                    f"{self.path} has {n} examples, which leaves none for the {name} split")  # fmt: skip
        test, validation, train = order.split(list(counts.values()))
        first = self._item(dataset, int(train[0]))[0].shape
        known = self._read(dataset, train, first), self._read(dataset, validation, first)
        classes = _count(getattr(dataset, "classes", None)) or int(max(split.y.max() for split in known)) + 1
        for split, index in zip(known, (train, validation), strict=True):
            self._check_labels(split.y, index, classes)

        def read_test() -> Examples:
            examples = self._read(dataset, test, first)
            self._check_labels(examples.y, test, classes)
            return examples

        return Splits(*known, read_test, classes)

    def _read(self, dataset: Any, index: Tensor, shape: torch.Size) -> Examples:
        x, y = torch.empty(len(index), *shape), torch.empty(len(index), dtype=torch.long)
        for row, i in enumerate(index.tolist()):
            item, label = self._item(dataset, i)
            if item.shape != shape:
                raise ConfigError(f"{self.path}: inputs must all have the same shape, but item {i} has "
                                  f"{list(item.shape)} where others have {list(shape)}")  # fmt: skip
            x[row], y[row] = item, label
        unusable = ~x.flatten(1).isfinite().all(1)
        if unusable.any():
            raise ConfigError(f"{self.path}: item {index[unusable][0]} has an input that is infinite or not a number")
        return Examples(x, y)

    def _item(self, dataset: Any, i: int) -> tuple[Tensor, int]:
        with guarded(self.path, f"reading item {i}"):
            item = dataset[i]
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise ConfigError(f"{self.path}: item {i} must be a pair (input, label), but is {_describe(item)}")
        try:
            x = as_input(item[0])
        except (TypeError, ValueError, RuntimeError) as error:
            raise ConfigError(f"{self.path}: the input of item {i} must be a tensor, an array or an image, "
                              f"but is {_describe(item[0])} ({error})") from error  # fmt: skip
        try:
            return x, operator.index(item[1])
        except TypeError:
            raise ConfigError(f"{self.path}: the label of item {i} must be an integer, "
                              f"but is {_describe(item[1])}") from None  # fmt: skip

    def _check_labels(self, y: Tensor, index: Tensor, classes: int) -> None:
        wrong = (y < 0) | (y >= classes)
        if wrong.any():
            raise ConfigError(f"{self.path}: the label of item {index[wrong][0]} is {y[wrong][0]}, "
                              f"but must be from 0 to {classes - 1}")  # fmt: skip


def as_input(value: Any) -> Tensor:
    """One input as float32, on the CPU."""
    image = hasattr(value, "getbands")  # PIL, which need not be installed
    tensor = value.detach().cpu() if isinstance(value, Tensor) else torch.as_tensor(np.array(value))
    if image:
        tensor = tensor[None] if tensor.ndim == 2 else tensor.movedim(2, 0)
    if tensor.is_complex():
        raise TypeError("complex numbers")
    return tensor.float() / 255 if tensor.dtype == torch.uint8 else tensor.float()


def _count(classes: Any) -> int | None:
    return classes if isinstance(classes, int) else len(classes) if hasattr(classes, "__len__") else None


def _describe(value: Any) -> str:
    shape = getattr(value, "shape", None)
    if shape is not None:
        return f"{type(value).__name__} of shape {list(shape)} and type {value.dtype}"
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) < 60 else text[:57] + '...'}"
