"""A user's own map-style data sets, by import path."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from lth_sweep.lottery.common.errors import ConfigError, require
from lth_sweep.lottery.common.registry import Imported, Strategy, find
from lth_sweep.lottery.common.user_code import check_options, guarded, import_object, signature
from lth_sweep.lottery.data.base import Data, Splits, require_seed
from lth_sweep.lottery.data.items import TWICE, Part, Reader, describe
from lth_sweep.lottery.data.source import Examples
from lth_sweep.lottery.data.splitting import grouped, shuffled, stratified

SPLIT = ("split_seed", "validation", "test")
READING = ("scale", "target", "collate", "stratify", "group")
LISTED = ("targets", "labels", "y")
"""Attributes that may have the labels of all items."""


@dataclass(frozen=True)
class Own(Imported, Strategy):
    """A further data set, or function, of the user's."""

    family = "data set"

    @classmethod
    def of(cls, path: str, found: Any, options: Mapping[str, Any]) -> Self:
        if not callable(found):
            raise ConfigError(f"{path} must be a class or a function, but is {describe(found)}")
        return cls(path, check_options(path, found, options))

    @classmethod
    def written(cls, value: Any) -> Self:
        """The data set of "module:Name", or {kind: "module:Name", option: value}."""
        options = dict(value) if isinstance(value, Mapping) else {"kind": value}
        path = options.pop("kind", None)
        require(isinstance(path, str) and ":" in path, "", f'must be "module:Name", but got {value!r}')
        return cls.of(path, find(Data, path), options)

    @classmethod
    def function(cls, path: Any) -> Self:
        """Of "module:name"."""
        if not isinstance(path, str) or ":" not in path or not callable(find(Data, path)):
            raise ConfigError(f'must be a function, "module:name", but got {path!r}')
        return cls(path)


@dataclass(frozen=True)
class ImportedData(Imported, Data):
    """`Name(**options)` of the user's module: an object with `len` and items (input, target), read once into memory. It
    is split by a seed; or it has splits of its own, as attributes, methods without arguments or entries `train`,
    `validation` and `test`, of which one of the latter two may be missing and is then a share of `train`; or it is
    three data sets, such as `random_split` makes.

    An input is a tensor, an array or a number, a tuple of these, or a dict of them by name; an item may be one dict,
    with the target in it. Whole numbers, bytes and masks stay what they are, floating numbers become float32. A PIL
    image becomes [channels, height, width], its bytes divided by 255. Targets are float32 or int64, of any shape.
    Items must be the same each time: a random change is the work of `train.augment`.

    The number of classes is that of the attribute `classes` (a number, or a list of names), or else the largest label
    of all splits, plus 1. For that, and only then, the labels of the test split are looked at when the data set is
    loaded, and nothing else of it: its attribute `targets`, `labels` or `y`, where that agrees with the items, or else
    its items, once. A data set with `classes` has its test items read at the end alone.
    """

    split_seed: int = 0
    """Of the split, or of the order of the training items where there is a data set for each split."""
    validation: float | Own = 0.1
    """A share of the items, or another data set, `"module:Name"` or `{kind: "module:Name", option: value}`."""
    test: float | Own = 0.1
    """The same."""
    scale: bool = False
    """Divide inputs that are bytes (uint8) by 255."""
    target: str | None = None
    """The name of the target in items that are dicts; by default labels, label, targets, target or y."""
    collate: Own | None = None
    """A function that makes one batch of a list of items, as a DataLoader's does, such as one that pads sequences. It
    gets all items of all splits at once, so that the padding does not depend on batches."""
    stratify: bool = False
    """Take the shares of each class."""
    group: str | None = None
    """The attribute that has a group for each item, such as a patient; all items of a group are in one split."""

    def __post_init__(self) -> None:
        require(type(self.split_seed) is int, "split_seed", f"must be a whole number, but got {self.split_seed!r}")
        require_seed(self.split_seed)
        yes, name_of = (bool, "true or false"), (str | None, "a name")
        kinds = {"scale": yes, "stratify": yes, "target": name_of, "group": name_of}
        for name, (kind, words) in kinds.items():
            require(isinstance(getattr(self, name), kind), name, f"must be {words}, but got {getattr(self, name)!r}")
        require(not (self.stratify and self.group), "group", "cannot be had together with stratify; choose one")
        for name, share in self._shares.items():
            require(
                isinstance(share, int | float) and 0 < share < 1,
                name,
                f'must be a share between 0 and 1 exclusive, or a data set "module:Name", but got {share!r}',
            )
        together = " + ".join(f"{share:g}" for share in reversed(self._shares.values()))
        require(sum(self._shares.values()) < 1, "validation", "validation and test together must leave something to "
                f"train on, but {together} = {sum(self._shares.values()):g}")  # fmt: skip

    @classmethod
    def of(cls, path: str, found: Any, options: Mapping[str, Any]) -> Self:
        if not callable(found):
            raise ConfigError(f"{path} cannot be used as a data set: it must be a map-style Dataset class, or a "
                              f"function that makes one, but is {describe(found)}")  # fmt: skip
        known = signature(path, found)
        taken = [name for name in SPLIT if name in known]
        if taken:
            raise ConfigError(f"{path} has a parameter {taken[0]!r}, but here this name says how the set is split; "
                              "rename the parameter")  # fmt: skip
        ours = [*SPLIT, *(name for name in READING if name not in known)]
        given = {name: value for name, value in options.items() if name in ours}
        for name, value in given.items():
            try:
                if name == "collate":
                    given[name] = Own.function(value)
                elif name in ("validation", "test") and isinstance(value, str | Mapping):
                    given[name] = Own.written(value)
            except ConfigError as error:
                raise error.under(name) from None
        own = {name: value for name, value in options.items() if name not in ours}
        return cls(path, check_options(path, found, own, tuple(ours)), **given)

    def identity(self) -> dict[str, Any]:
        unusual = {name: getattr(self, name) for name in READING if getattr(self, name) != getattr(type(self), name)}
        return super().identity() | {name: getattr(self, name) for name in SPLIT} | unusual

    @property
    def _shares(self) -> dict[str, float]:
        """Those of test and validation that are shares."""
        both = {"test": self.test, "validation": self.validation}
        return {name: share for name, share in both.items() if not isinstance(share, Own)}

    @property
    def _reader(self) -> Reader:
        return Reader(self.path, self.scale, self.target, import_object(self.collate.path) if self.collate else None)

    def check(self, splits: Splits) -> None:
        if self.collate:
            same = self.load().digest == splits.digest
        else:
            train = self._parts(self._reader)[0]
            [again] = self._reader.read([replace(train, index=train.index[:TWICE])])
            same = again.fingerprint == Examples(*splits.train.first(TWICE)).fingerprint
        if not same:
            raise ConfigError(f"{self.path} is another data set each time it is made; give what it draws at random a "
                              "generator with a seed")  # fmt: skip

    def load(self) -> Splits:
        reader = self._reader
        train, validation, test = parts = self._parts(reader)
        read = reader.read(parts if reader.collate else [train, validation])
        targets = [examples.y for examples in read]
        classes = _count(getattr(train.dataset, "classes", None))
        if not reader.collate and classes is None and _are_whole(targets):
            probe = train if test.dataset is train.dataset else test
            targets.append(_labels(reader, test, probe, train))
        labels = tuple(torch.cat([y.unique() for y in targets]).unique().tolist()) if _are_whole(targets) else None
        if labels and targets[0].ndim == 1:
            classes = classes or (labels[-1] + 1 if labels[0] == 0 else None)
            for part, y in zip(parts, targets, strict=False):  # the test split's may not have been looked at
                self._check_labels(part, y, classes)

        def read_test() -> Examples:
            examples = reader.read(parts)[2] if reader.collate else reader.read([test], train)[0]
            self._check_labels(test, examples.y, classes if labels and targets[0].ndim == 1 else None)
            return examples

        return Splits(read[0], read[1], read_test, classes, labels)

    def _parts(self, reader: Reader) -> tuple[Part, Part, Part]:
        """Train, validation and test."""
        made = self.make()
        others = self._splits_of(made)
        pool = others.pop("train", made)
        for name in ("validation", "test"):
            given = getattr(self, name)
            if name in others:
                require(given == getattr(type(self), name), name, f"{self.path} has a {name} split of its own; leave "
                        "this out")  # fmt: skip
            elif isinstance(given, Own):
                others[name] = given.make()
        shares = {name: share for name, share in self._shares.items() if name not in others}
        index = self._shared_out(reader, pool, self._length(pool), shares)
        for name, dataset in others.items():
            index[name] = torch.arange(self._length(dataset, name))
            require(len(index[name]) > 0, name, f"{self.path}: the {name} split is empty")
        train, validation, test = (Part(others.get(name, pool), index[name], name if name in others else "")
                                   for name in ("train", "validation", "test"))  # fmt: skip
        return train, validation, test

    def _splits_of(self, made: Any) -> dict[str, Any]:
        """The data sets that it has as splits of its own; none of an object that is a data set itself."""
        with guarded(self.path, "asking for its splits"):
            names = ("train", "validation", "test")
            if isinstance(made, tuple | list) and len(made) == 3 and all(isinstance(one, Dataset) for one in made):
                found = dict(zip(names, made, strict=True))
            elif isinstance(made, Mapping):
                found = {name: made[name] for name in names if name in made}
            elif _is_map_style(made):
                return {}
            else:
                found = {name: getattr(made, name) for name in names if hasattr(made, name)}
            found = {name: value if _is_map_style(value) or not callable(value) else value()
                     for name, value in found.items()}  # fmt: skip
        return found if "train" in found else {}

    def _length(self, dataset: Any, split: str = "") -> int:
        if not _is_map_style(dataset):
            raise ConfigError(f"{self.path} makes a {type(dataset).__name__}{split and f' for the {split} split'}, "
                              "which is no map-style data set: it needs the methods __len__ and __getitem__, or splits "
                              "train, validation and test that have them")  # fmt: skip
        with guarded(self.path, "len()"):
            return len(dataset)

    def _shared_out(self, reader: Reader, pool: Any, n: int, shares: dict[str, float]) -> dict[str, Tensor]:
        way = "stratify" if self.stratify else "group"
        require(bool(shares) or not (self.stratify or self.group), way, "nothing is shared out here, since there is a "
                "data set for each split; leave this out")  # fmt: skip
        require(n > len(shares), "", f"{self.path} has {n} examples, which leaves none for the "
                f"{next(iter(shares), 'train')} split")  # fmt: skip
        try:
            if self.stratify:
                whole, some = Part(pool, torch.arange(n)), Part(pool, torch.linspace(0, n - 1, min(n, TWICE)).long())
                labels = _labels(reader, whole, some)
                require(_are_whole([labels]) and labels.ndim == 1, "stratify", "needs one whole number for each example"
                        ", but targets are none; leave it out")  # fmt: skip
                return stratified(labels, shares, self.split_seed)
            if self.group:
                return grouped(self._groups(pool, self.group, n), shares, self.split_seed)
            return shuffled(n, shares, self.split_seed)
        except ConfigError as error:
            raise ConfigError(f"{self.path}: {error.message}", error.path) from None

    def _groups(self, pool: Any, attribute: str, n: int) -> list[Any]:
        require(hasattr(pool, attribute), "group", f"{type(pool).__name__} has no attribute {attribute!r}")
        with guarded(self.path, f"asking for its {attribute}"):
            found = getattr(pool, attribute)
            groups = np.asarray(found() if callable(found) else found).tolist()
        require(isinstance(groups, list) and len(groups) == n, "group", f"{attribute} must have a group for each of "
                f"{n} items, but is {describe(groups)}")  # fmt: skip
        return list(groups)

    def _check_labels(self, part: Part, y: Tensor, classes: int | None) -> None:
        wrong = torch.zeros(len(part.index), dtype=torch.bool) if classes is None else (y < 0) | (y >= classes)
        if wrong.any():
            raise ConfigError(f"{self.path}: the label of {part.item(int(part.index[wrong][0]))} is {y[wrong][0]}, "
                              f"but must be from 0 to {(classes or 0) - 1}")  # fmt: skip


def _labels(reader: Reader, part: Part, probe: Part, like: Part | None = None) -> Any:
    """The targets of a part: as an attribute of the data set has them, if it agrees with the first items of `probe`,
    out of the same data set; else of the items."""
    some = replace(probe, index=probe.index[:TWICE])
    for name in LISTED:
        try:
            listed = torch.as_tensor(np.asarray(getattr(part.dataset, name)))
            whole = _are_whole([listed]) and len(listed) == len(part.dataset)
        except (AttributeError, TypeError, ValueError, RuntimeError):
            continue
        if whole and _are_whole([y := reader.read([some])[0].y]) and torch.equal(listed[some.index].long(), y):
            return listed[part.index].long()
    return reader.read([part], like)[0].y


def _are_whole(targets: list[Any]) -> bool:
    """Whether all targets are whole numbers."""
    return all(isinstance(y, Tensor) and y.ndim > 0 and not y.is_floating_point() for y in targets)


def _is_map_style(value: Any) -> bool:
    return hasattr(value, "__getitem__") and hasattr(value, "__len__")


def _count(classes: Any) -> int | None:
    return classes if isinstance(classes, int) else len(classes) if hasattr(classes, "__len__") else None
