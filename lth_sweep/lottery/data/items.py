"""Items of a user's data set as tensors: of the types that they have, several inputs by place or by name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.common.user_code import guarded
from lth_sweep.lottery.data.batch import described, leaves, mapped
from lth_sweep.lottery.data.source import Batch, Examples

TARGETS = ("labels", "label", "targets", "target", "y")
"""Names of the target in an item that is a dict, unless the sweep file names it."""
TWICE = 32
"""Items of a split that are read twice."""
UNUSABLE = (TypeError, ValueError, RuntimeError, OverflowError)
"""What PyTorch and NumPy raise for what is no array of numbers."""
WIDER = {torch.uint16: torch.int32, torch.uint32: torch.int64, torch.uint64: torch.int64}
"""What PyTorch can hold, but not compute with."""


@dataclass(frozen=True, eq=False)
class Part:
    """A split, as the numbers of its items in a data set."""

    dataset: Any
    index: Tensor
    split: str = ""
    """Its name, where it has a data set of its own."""

    def item(self, i: int) -> str:
        """For people."""
        return f"{self.split} item {i}".strip()


@dataclass(frozen=True)
class Reader:
    """Reads items of the data set at an import path."""

    path: str
    scale: bool = False
    """Whether bytes become numbers from 0 to 1; those of an image do so always."""
    target: str | None = None
    """The name of the target in items that are dicts."""
    collate: Callable[[list[Any]], Any] | None = None

    def read(self, parts: Sequence[Part], like: Part | None = None) -> list[Examples]:
        """The examples of each split, in the order of its index; ConfigError for an item that cannot be used, such as
        one that is unlike the first of `like`, by default that of the first split."""
        if self.collate:
            found = self._collated(parts, self.collate)
        else:
            model = like or parts[0]
            first = self._item(model, int(model.index[0]))
            found = [self._stacked(part, first, TWICE if like is None else 0) for part in parts]
        for part, examples in zip(parts, found, strict=True):
            self._require_finite(part, examples)
        return found

    def _stacked(self, part: Part, like: Batch, twice: int) -> Examples:
        """Raises ConfigError for an item of another form than `like`, or of another one when it is read again, as so
        many are."""
        wanted, form = _flat(like)
        kinds = [*map(_kind, wanted)]
        columns = [torch.empty(len(part.index), *leaf.shape, dtype=leaf.dtype) for leaf in wanted]
        for row, i in enumerate(part.index.tolist()):
            item = self._item(part, i)
            found, its_form = _flat(item)
            if its_form != form or [*map(_kind, found)] != kinds:
                raise self._unlike(part.item(i), item, like)
            for column, leaf in zip(columns, found, strict=True):
                column[row] = leaf
        for row, i in enumerate(part.index[:twice].tolist()):
            again, _ = _flat(self._item(part, i))
            if not all(_equal(column[row], leaf) for column, leaf in zip(columns, again, strict=True)):
                raise self._changing(part.item(i))
        return Examples(*(pytree.tree_unflatten(columns, form) if form else columns))

    def _collated(self, parts: Sequence[Part], collate: Callable[[list[Any]], Any]) -> list[Examples]:
        """All in one call, so that all are padded to the longest, whatever the batches are."""

        def batch(items: list[Any]) -> Batch:
            with guarded(self.path, f"collate on a list of {len(items)} items"):
                made = self._pair(lambda: "what collate gives", collate(items))
            for tensor in leaves(made):
                if tensor.ndim == 0 or len(tensor) != len(items):
                    raise ConfigError(f"{self.path}: collate must give tensors whose first dimension is the examples, "
                                      f"but for {len(items)} items gives {described(made)}", "collate")  # fmt: skip
            return made

        for part in parts:
            first = part.index[:TWICE].tolist()
            once, again = ([self._raw(part, i) for i in first] for _ in range(2))
            if not all(map(_equal, leaves(batch(once)), leaves(batch(again)))):
                raise self._changing(f"one of {part.item(first[0])} and those after it")
        whole = batch([self._raw(part, i) for part in parts for i in part.index.tolist()])
        sizes = [len(part.index) for part in parts]
        split = [[rows.clone() for rows in tensor.split(sizes)] for tensor in pytree.tree_leaves(whole)]
        form = pytree.tree_flatten(whole)[1]
        return [Examples(*pytree.tree_unflatten(columns, form)) for columns in zip(*split, strict=True)]

    def _raw(self, part: Part, i: int) -> Any:
        try:
            return part.dataset[i]
        except (Exception, SystemExit):  # the user's code, which may fail in any way
            with guarded(self.path, f"reading {part.item(i)}"):
                raise

    def _item(self, part: Part, i: int) -> Batch:
        return self._pair(lambda: part.item(i), self._raw(part, i))

    def _pair(self, name: Callable[[], str], item: Any) -> Batch:
        if isinstance(item, Mapping):
            inputs = dict(item)
            target = inputs.pop(self._target(name, inputs))
        elif isinstance(item, tuple | list) and len(item) == 2:
            inputs, target = item
        else:
            raise ConfigError(f"{self.path}: {name()} must be a pair (input, target), or a dict with both by name, but "
                              f"is {describe(item)}")  # fmt: skip
        return Batch(self._tensors(name, "input", inputs, self._input), self._tensors(name, "target", target, _target))

    def _target(self, name: Callable[[], str], item: Mapping[str, Any]) -> str:
        """Which of its entries is the target."""
        found = [entry for entry in ([self.target] if self.target else TARGETS) if entry in item]
        if len(found) != 1 or len(item) == 1:
            wanted = f"{self.target!r}" if self.target else f"one of {', '.join(TARGETS)}"
            raise ConfigError(f"{self.path}: {name()} must have a target, {wanted}, and inputs, but has "
                              f"{', '.join(map(str, item)) or 'nothing'}; say which it is: target: NAME",
                              "target")  # fmt: skip
        return found[0]

    def _tensors(self, name: Callable[[], str], side: str, value: Any, leaf: Callable[[Any], Tensor]) -> Any:
        try:
            return _nested(value, leaf)
        except UNUSABLE as error:
            reason = str(error).partition(". ")[0]
            raise ConfigError(f"{self.path}: the {side} of {name()} must be a tensor, an array, an image or a number, "
                              f"or several of these in a tuple or by name, but is {describe(value)} ({reason})"
                              ) from error  # fmt: skip

    def _input(self, value: Any) -> Tensor:
        tensor = _tensor(value)
        if is_image(value):
            if value.mode.startswith("P"):
                raise TypeError("an image with a palette: its numbers are of colours, and no colours; convert it, "
                                "such as by image.convert('RGB')")  # fmt: skip
            tensor = tensor[None] if tensor.ndim == 2 else tensor.movedim(2, 0)
        if tensor.dtype == torch.uint8 and (self.scale or is_image(value)):
            return tensor.float() / 255
        return tensor.float() if is_image(value) else tensor

    def _unlike(self, name: str, item: Batch, like: Batch) -> ConfigError:
        side = 1 if _form(item.x) == _form(like.x) else 0
        if mapped(_shape, item[side]) != mapped(_shape, like[side]):
            pad = "; for sequences of different lengths name a function that pads them: collate: module:name"
            what, found, others = "shape", described(item[side]), described(like[side])
        else:
            pad = ""
            what, found, others = "type", mapped(_type, item[side]), mapped(_type, like[side])
        return ConfigError(f"{self.path}: {('inputs', 'targets')[side]} must all have the same {what}, but {name} has "
                           f"{found} where others have {others}{pad}")  # fmt: skip

    def _changing(self, name: str) -> ConfigError:
        return ConfigError(f"{self.path}: {name} is another one each time it is read, but items must stay the same; "
                           "random changes are the work of train.augment")  # fmt: skip

    def _require_finite(self, part: Part, examples: Examples) -> None:
        for side, batch in (("an input", examples.x), ("a target", examples.y)):
            for tensor in leaves(batch):
                wrong = ~tensor.isfinite().reshape(len(tensor), -1).all(1)
                if wrong.any():
                    raise ConfigError(f"{self.path}: {part.item(int(part.index[wrong][0]))} has {side} that is "
                                      "infinite or not a number")  # fmt: skip


def is_image(value: Any) -> bool:
    """Of PIL, which need not be installed."""
    return hasattr(value, "getbands")


def describe(value: Any) -> str:
    """For people."""
    if is_image(value):
        return f"an image of mode {value.mode}"
    shape = getattr(value, "shape", None)
    if shape is not None:
        return f"{type(value).__name__} of shape {list(shape)} and type {value.dtype}"
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) < 60 else text[:57] + '...'}"


def _flat(item: Batch) -> tuple[Sequence[Tensor], Any]:
    """Its tensors, and how they are nested; None where they are not, which is soon seen."""
    if isinstance(item.x, Tensor) and isinstance(item.y, Tensor):
        return item, None
    return pytree.tree_flatten(item)


def _nested(value: Any, leaf: Callable[[Any], Tensor]) -> Any:
    """Tuples and dicts of arrays stay such; lists of numbers are arrays."""
    if isinstance(value, Tensor):
        return leaf(value)
    if isinstance(value, Mapping):
        return {str(name): _named(name, part, leaf) for name, part in value.items()}
    if isinstance(value, tuple | list) and any(isinstance(part, Tensor | np.ndarray | Mapping) or is_image(part)
                                               for part in value):  # fmt: skip
        return tuple(_nested(part, leaf) for part in value)
    return leaf(value)


def _named(name: Any, value: Any, leaf: Callable[[Any], Tensor]) -> Any:
    try:
        return _nested(value, leaf)
    except UNUSABLE as error:
        raise TypeError(f"{name}: {error}") from error


def _tensor(value: Any) -> Tensor:
    """On the CPU; floating numbers as float32, others as they are."""
    tensor = value.detach().cpu() if isinstance(value, Tensor) else torch.as_tensor(np.array(value))
    if tensor.is_complex():
        raise TypeError("complex numbers")
    return tensor.float() if tensor.is_floating_point() else tensor.to(WIDER.get(tensor.dtype, tensor.dtype))


def _target(value: Any) -> Tensor:
    """Whole numbers, true and false are int64."""
    tensor = _tensor(value)
    return tensor if tensor.is_floating_point() else tensor.long()


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _kind(tensor: Tensor) -> tuple[torch.Size, torch.dtype]:
    return tensor.shape, tensor.dtype


def _form(batch: Any) -> Any:
    return mapped(_kind, batch)


def _equal(one: Tensor, other: Tensor) -> bool:
    """NaN is equal to itself."""
    return one.shape == other.shape and torch.equal(one.nan_to_num(), other.nan_to_num())
