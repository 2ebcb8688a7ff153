from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
import torch

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.common.identity import canonical
from lth_sweep.lottery.common.registry import find
from lth_sweep.lottery.data import Data, ImportedData, Splits, load
from lth_sweep.lottery.task import Classification
from tests.lottery.own import OwnModule

SOURCE = """
import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset

READ = []

class Numbers(Dataset):
    '''Item i is the vector (i, i + 0.5) with label i % classes.'''

    def __init__(self, n=20, kinds=3, form="tensor", bad=None):
        self.n, self.kinds, self.form, self.bad = n, kinds, form, bad

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        READ.append(i)
        item = {
            "tensor": lambda: (torch.tensor([i, i + 0.5], requires_grad=True), i % self.kinds),
            "double": lambda: [np.array([i, i + 0.5], np.float64), np.int64(i % self.kinds)],
            "list": lambda: ([i, i + 0.5], torch.tensor(i % self.kinds)),
            "bytes": lambda: (np.full((1, 2, 2), i, np.uint8), np.array(i % self.kinds)),
        }[self.form]()
        return item if self.bad is None else BAD[self.bad](i, *item)

BAD = {
    "ragged": lambda i, x, y: (x if i != 7 else x[:1], y),
    "label float": lambda i, x, y: (x, float(y)),
    "label from 1": lambda i, x, y: (x, y + 1),
    "label negative": lambda i, x, y: (x, y if i != 7 else -1),
    "label one-hot": lambda i, x, y: (x, torch.eye(3)[y]),
    "one": lambda i, x, y: x,
    "three": lambda i, x, y: (x, y, i),
    "text": lambda i, x, y: ("a cat", y),
    "nan": lambda i, x, y: (x if i != 7 else x * float("nan"), y),
    "raises": lambda i, x, y: (x, y) if i != 7 else 1 / 0,
    "complex": lambda i, x, y: (torch.complex(x, x), y),
}

class Named(Numbers):
    classes = ["cat", "dog", "hen", "emu", "yak"]

class Wrong(Numbers):
    classes = 2


class Images(Dataset):
    def __init__(self, mode):
        self.mode = mode

    def __len__(self):
        return 10

    def __getitem__(self, i):
        from PIL import Image
        color = {"RGB": (i, 51, 255), "L": 51 + i, "I": 1000 + i}[self.mode]
        return Image.new(self.mode, (5, 4), color), i % 2

class Listed(Numbers):
    def __init__(self, n=20, moved=0):
        super().__init__(n)
        self.targets = [(i + moved) % self.kinds for i in range(n)]

class Rare(Numbers):
    def __getitem__(self, i):
        x, y = super().__getitem__(i)
        return x, 3 if i == 7 else y

class RareListed(Rare):
    def __init__(self):
        super().__init__()
        self.y = torch.tensor([3 if i == 7 else i % 3 for i in range(20)])

class Stream(IterableDataset):
    def __iter__(self):
        yield from range(3)

class Taken(Numbers):
    def __init__(self, validation=0.3):
        super().__init__()

def anything(**options):
    return Numbers(**options)

def needs(folder):
    raise FileNotFoundError(folder)

number = 3
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnModule]:
    yield from OwnModule.put(tmp_path, monkeypatch, "own_data", SOURCE)


def adopt(name: str, **options: object) -> Data:
    path = f"own_data:{name}"
    return Data.adopt(path, find(Data, path), options)


def numbers(splits: Splits) -> list[list[int]]:
    """Which items each split has, by their first entry."""
    return [part.x[:, 0].int().tolist() for part in (splits.train, splits.validation, splits.test())]


@pytest.mark.parametrize("form", ["tensor", "double", "list"])
def test_items_become_float32_and_int64(own: OwnModule, form: str) -> None:
    splits = adopt("Numbers", form=form).load()
    assert [len(part) for part in numbers(splits)] == [16, 2, 2]
    assert sorted(chain(*numbers(splits))) == list(range(20))
    assert (splits.shape, splits.classes) == ((2,), 3)
    for part in (splits.train, splits.validation, splits.test()):
        assert (part.x.dtype, part.y.dtype, part.x.requires_grad) == (torch.float32, torch.int64, False)
        assert torch.equal(part.x[:, 1], part.x[:, 0] + 0.5)
        assert torch.equal(part.y, part.x[:, 0].long() % 3)


def test_bytes_are_scaled_where_asked(own: OwnModule) -> None:
    assert adopt("Numbers", form="bytes").load().train.x.dtype == torch.uint8
    splits = adopt("Numbers", form="bytes", scale=True).load()
    assert splits.shape == (1, 2, 2)
    values = torch.cat([splits.train.x, splits.validation.x, splits.test().x])[:, 0, 0, 0]
    assert torch.equal(values.sort().values, torch.arange(20) / 255)


@pytest.mark.parametrize(("mode", "shape", "pixel"), [
    ("RGB", (3, 4, 5), [None, 51 / 255, 1.0]), ("L", (1, 4, 5), [None]), ("I", (1, 4, 5), [None]),
])  # fmt: skip
def test_pil_images(own: OwnModule, mode: str, shape: tuple[int, ...], pixel: list[float | None]) -> None:
    pytest.importorskip("PIL")
    splits = adopt("Images", mode=mode).load()
    assert splits.shape == shape
    varying = {"RGB": torch.arange(10) / 255, "L": (51 + torch.arange(10)) / 255, "I": 1000.0 + torch.arange(10)}[mode]
    x = torch.cat([splits.train.x, splits.validation.x, splits.test().x])
    assert torch.equal(x[:, 0, 3, 4].sort().values, varying)
    for channel, value in enumerate(pixel):
        if value is not None:
            torch.testing.assert_close(x[:, channel], torch.full((10, 4, 5), value))


def test_test_items_are_not_read_before_they_are_asked_for(own: OwnModule) -> None:
    """Where the labels are listed; an attribute that says something else than the items is not believed."""
    data = adopt("Listed", test=0.25, validation=0.15)
    splits = data.load()
    read = set(find(Data, "own_data:READ"))
    train, validation, _ = numbers(splits)
    assert read == {*train, *validation}
    assert len(read) == 15
    assert splits.labels == (0, 1, 2)
    assert set(find(Data, "own_data:READ")) == set(range(20))  # `numbers` has asked for the test split
    find(Data, "own_data:READ").clear()
    assert adopt("Listed", moved=1, n=20).load().labels == (0, 1, 2)
    assert set(find(Data, "own_data:READ")) == set(range(20))


@pytest.mark.parametrize("name", ["Rare", "RareListed"])
def test_a_label_that_only_the_test_split_has_counts(own: OwnModule, name: str) -> None:
    seed = next(seed for seed in range(100) if 7 in numbers(adopt("Numbers", split_seed=seed).load())[2])
    splits = adopt(name, split_seed=seed).load()
    assert (splits.classes, splits.labels) == (4, (0, 1, 2, 3))
    assert splits.test().y.max() == 3 > splits.train.y.max()


def test_the_split_seed_decides(own: OwnModule) -> None:
    once, again, other = (adopt("Numbers", split_seed=seed).load() for seed in (1, 1, 2))
    assert once.digest == again.digest
    assert numbers(once) == numbers(again)
    assert numbers(once) != numbers(other)


def test_classes_by_attribute(own: OwnModule) -> None:
    assert adopt("Named").load().classes == 5
    with pytest.raises(ConfigError, match=r"the label of item \d+ is 2, but must be from 0 to 1"):
        adopt("Wrong").load()


def test_it_can_be_hashed_and_is_loaded_once(own: OwnModule) -> None:
    one, same = adopt("anything", n=12, kinds=2), adopt("anything", kinds=2, n=12)
    assert isinstance(one, ImportedData)
    assert load(one) is load(same)
    assert one.kind == "own_data:anything"


def test_identity(own: OwnModule) -> None:
    before = adopt("Numbers", n=12).identity()
    assert before["kind"] == "own_data:Numbers"
    assert before["options"] == {"n": 12}
    assert adopt("Numbers", n=12).identity() == before
    assert adopt("Numbers", n=12, split_seed=1).identity() == {**before, "split_seed": 1}
    before = canonical(adopt("Numbers", n=12), source=True)
    own.write(SOURCE.replace("i + 0.5", "i + 0.25"))
    after = canonical(adopt("Numbers", n=12), source=True)
    assert {key for key in before if before[key] != after[key]} == {"source code"}


@pytest.mark.parametrize(("name", "options", "message"), [
    ("Numbers", {"kind": 2}, "kind: own_data:Numbers: unknown option 'kind'; allowed: bad, collate, form, "
                             "group, kinds, n, scale, split_seed, stratify, target, test, validation; did you mean"),
    ("Numbers", {"validaton": 0.2}, "validaton: .* did you mean 'validation'"),
    ("needs", {}, "folder: own_data:needs needs the option 'folder', which is not given"),
    ("Numbers", {"n": {1, 2}}, r"n: own_data:Numbers: must be a number, .* but got \{1, 2\}"),
    ("Numbers", {"split_seed": 1.5}, "split_seed: must be a whole number, but got 1.5"),
    ("Numbers", {"validation": 1}, "validation: must be a share between 0 and 1 exclusive, or .*, but got 1"),
    ("Numbers", {"test": "some"}, "test: must be \"module:Name\", but got 'some'"),
    ("Numbers", {"test": 0.5, "validation": 0.5}, "validation: .* must leave something to train on, but "
                                                  r"0.5 \+ 0.5 = 1"),
    ("Taken", {}, "own_data:Taken has a parameter 'validation', but here this name says how the set is split"),
    ("number", {}, "own_data:number cannot be used as a data set: .* but is int 3"),
])  # fmt: skip
def test_wrong_options_and_objects(own: OwnModule, name: str, options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        adopt(name, **options)


@pytest.mark.parametrize(("options", "message"), [
    ({"bad": "label float"}, "needs one label for each example, .*, but the targets of an example are float32"),
    ({"bad": "label one-hot"}, r"but the targets of an example are float32 of shape \[3\]"),
    ({"bad": "label negative"}, "labels must be whole numbers from 0 to 2, but one is -1"),
    ({"bad": "label from 1"}, "labels go from 1 to 3, but must start at 0: subtract 1 in the data set"),
])  # fmt: skip
def test_labels_that_are_no_classes(own: OwnModule, options: dict, message: str) -> None:
    splits = adopt("Numbers", **options).load()
    with pytest.raises(ConfigError, match=message):
        Classification().check(splits)


@pytest.mark.parametrize(("name", "options", "message"), [
    ("Numbers", {"bad": "ragged", "split_seed": 0}, r"inputs must all have the same shape, but item \d+ has \[\d\] "
                                                    r"where others have \[\d\]"),
    ("Numbers", {"bad": "one"}, r"item \d+ must be a pair \(input, target\), .*, but is Tensor of shape \[2\]"),
    ("Numbers", {"bad": "three"}, r"item \d+ must be a pair \(input, target\), .*, but is tuple \("),
    ("Numbers", {"bad": "text"}, r"the input of item \d+ must be a tensor, .* or by name, but is str 'a cat'"),
    ("Numbers", {"bad": "nan"}, "item 7 has an input that is infinite or not a number"),
    ("Numbers", {"bad": "raises"}, r"reading item 7 raised ZeroDivisionError: division by zero \(.*own_data.py, line"),
    ("Numbers", {"bad": "complex"}, r"the input of item \d+ must be .* \(complex numbers\)"),
    ("Numbers", {"n": 4}, "test: own_data:Numbers: 4 examples leave none for the test split"),
    ("Numbers", {"n": "many"}, "own_data:Numbers: len.. raised TypeError"),
    ("Stream", {}, "own_data:Stream makes a Stream, which is no map-style data set"),
    ("needs", {"folder": "there"}, "own_data:needs: making the data set raised FileNotFoundError: there"),
])  # fmt: skip
def test_data_sets_that_cannot_be_used(own: OwnModule, name: str, options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        adopt(name, **options).load()
