"""Items of any form and type, own splits, and a function that puts them together."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.common.identity import canonical
from lth_sweep.lottery.common.registry import find
from lth_sweep.lottery.data import Data, Splits
from tests.lottery.own import OwnModule

SOURCE = """
import numpy as np
import torch

READ = []

class Made:
    '''n items of a form; item i has label i % 3.'''
    def __init__(self, form="tokens", n=40, first=0):
        self.form, self.n, self.first = form, n, first

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        READ.append((self.first, i))
        return FORMS[self.form](i + self.first)

def image(i, mode):
    from PIL import Image
    return Image.new("RGB", (5, 4), (i, 51, 255)).convert(mode)

FORMS = {
    "tokens": lambda i: (torch.tensor([i, i + 1]), i % 3),
    "uint8": lambda i: (torch.tensor([i, i + 1], dtype=torch.uint8), i % 3),
    "uint16": lambda i: (np.array([i, i + 1], np.uint16), i % 3),
    "int32": lambda i: (np.array([i, i + 1], np.int32), i % 3),
    "bool": lambda i: (np.array([True, i > 5]), i % 2 == 0),
    "half": lambda i: (torch.tensor([i, 0.5]).half(), torch.tensor(i).bfloat16()),
    "number": lambda i: (i / 2, 1.5 * i),
    "two": lambda i: ((torch.ones(2) * i, np.array(i)), i % 3),
    "named": lambda i: ({"signal": np.ones(2) * i, "token": i}, i % 3),
    "one dict": lambda i: {"input_ids": [i, i + 1], "attention_mask": [1, 1], "labels": i % 3},
    "other dict": lambda i: {"x": [i, i + 1], "answer": i % 3},
    "two targets": lambda i: {"x": [i, i + 1], "label": i % 3, "y": 0.5},
    "only target": lambda i: {"label": i % 3},
    "pixels": lambda i: (torch.ones(3, 4, 4), np.full((4, 4), i % 3, np.uint8)),
    "multi-hot": lambda i: (torch.ones(3), np.array([i % 2, 1, 0], bool)),
    "several targets": lambda i: (torch.ones(3), {"box": np.ones(4), "kind": i % 3}),
    "ragged": lambda i: (torch.arange(1 + i % 7), i % 3),
    "ragged dict": lambda i: {"ids": torch.arange(1 + i % 7), "labels": i % 3},
    "ragged target": lambda i: (torch.ones(2), torch.arange(1 + i % 7)),
    "other type": lambda i: (i if i != 7 else 0.5, 0),
    "other names": lambda i: ({"a": i} if i != 7 else {"b": i}, 0),
    "random": lambda i: (torch.rand(2), 0),
    "rarely random": lambda i: (torch.rand(2).round() * (i % 5 == 0), 0),
    "random target": lambda i: (torch.ones(2), torch.rand(())),
    "palette": lambda i: (image(i, "P"), 0),
    "palette target": lambda i: (image(i, "RGB"), image(i, "P")),
    "nan target": lambda i: (torch.ones(2), float("nan") if i == 7 else 1.0),
    "inf by name": lambda i: ({"a": float("inf") if i == 7 else 1.0, "b": 1}, 1.0),
    "text": lambda i: {"x": 1.0, "title": "a cat", "y": 0},
    "none": lambda i: (torch.ones(2), None),
    "from 5": lambda i: (torch.ones(2), 5 + i % 2),
}

def needs(n):
    return Made(n=n)

def pad(items):
    READ.append(("pad", len(items)))
    xs, ys = zip(*items)
    x = torch.nn.utils.rnn.pad_sequence(list(xs), batch_first=True, padding_value=-1)
    return {"tokens": x, "mask": x >= 0}, torch.tensor(ys)

def pad_dicts(items):
    x = torch.nn.utils.rnn.pad_sequence([one["ids"] for one in items], batch_first=True)
    return {"ids": x, "labels": torch.tensor([one["labels"] for one in items])}

def one_row(items):
    return torch.ones(1, 2), torch.tensor([y for _, y in items])

def at_random(items):
    return torch.rand(len(items), 2), torch.tensor([y for _, y in items])

def fails(items):
    raise RuntimeError("no such thing")

class Labelled(Made):
    '''Says what kinds its items are of, whose targets are more than that.'''
    def __init__(self):
        super().__init__("several targets")
        self.labels = [i % 3 for i in range(self.n)]

class Three:
    def __init__(self, form="tokens", n=40):
        self.train, self.validation = Made(form, n), Made(form, 9, 100)
        self.form = form

    def test(self):
        return Made(self.form, 8, 200)

class Two:
    def __init__(self, form="tokens", n=40):
        self.train, self.test = Made(form, n), Made(form, 8, 200)

def by_name(form="tokens", n=40):
    return {"train": Made(form, n), "validation": Made(form, 9, 100), "test": Made(form, 8, 200)}

def in_turn(form="tokens"):
    parts = Made(form, 40), Made(form, 9, 100), Made(form, 8, 200)
    return [torch.utils.data.Subset(part, range(len(part))) for part in parts]

class Scaling(Made):
    def __init__(self, scale=2):
        super().__init__("uint8")
        self.scale = scale

    def __getitem__(self, i):
        x, y = super().__getitem__(i)
        return x * self.scale, y

class Patients(Made):
    @property
    def patient(self):
        return [f"p{i // 4}" for i in range(self.n)]

    def wrong(self):
        return [1, 2]
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnModule]:
    yield from OwnModule.put(tmp_path, monkeypatch, "own_items", SOURCE)


def adopt(name: str, **options: Any) -> Data:
    path = f"own_items:{name}"
    return Data.adopt(path, find(Data, path), options)


def loaded(form: str, **options: Any) -> Splits:
    return adopt("Made", form=form, **options).load()


@pytest.mark.parametrize(("form", "inputs", "targets"), [
    ("tokens", torch.int64, torch.int64), ("uint8", torch.uint8, torch.int64), ("uint16", torch.int32, torch.int64),
    ("int32", torch.int32, torch.int64), ("bool", torch.bool, torch.int64), ("half", torch.float32, torch.float32),
    ("number", torch.float32, torch.float32),
    ("pixels", torch.float32, torch.int64), ("multi-hot", torch.float32, torch.int64),
])  # fmt: skip
def test_types_stay(own: OwnModule, form: str, inputs: torch.dtype, targets: torch.dtype) -> None:
    splits = loaded(form)
    for part in (splits.train, splits.validation, splits.test()):
        assert (part.x.dtype, part.y.dtype, len(part.x)) == (inputs, targets, len(part))


def test_the_labels_of_all_splits_are_known(own: OwnModule) -> None:
    assert (loaded("tokens").labels, loaded("tokens").classes) == ((0, 1, 2), 3)
    assert (loaded("pixels").labels, loaded("pixels").classes) == ((0, 1, 2), None)
    assert (loaded("from 5").labels, loaded("from 5").classes) == ((5, 6), None)
    assert (loaded("number").labels, loaded("number").classes) == (None, None)
    assert (loaded("several targets").labels, loaded("several targets").classes) == (None, None)


def test_several_inputs_by_place_and_by_name(own: OwnModule) -> None:
    two, named = loaded("two").train, loaded("named").train
    assert [(part.shape, part.dtype) for part in two.x] == [((32, 2), torch.float32), ((32,), torch.int64)]
    assert {name: (part.shape, part.dtype) for name, part in named.x.items()} == {
        "signal": ((32, 2), torch.float32), "token": ((32,), torch.int64)}  # fmt: skip
    assert torch.equal(two.x[0], named.x["signal"])
    assert set(loaded("several targets").train.y) == {"box", "kind"}


def test_a_dict_with_the_target_in_it(own: OwnModule) -> None:
    train = loaded("one dict").train
    assert list(train.x) == ["input_ids", "attention_mask"]
    assert torch.equal(train.y, train.x["input_ids"][:, 0] % 3)
    other = loaded("other dict", target="answer").train
    assert (list(other.x), other.y.dtype) == (["x"], torch.int64)
    assert list(loaded("two targets", target="y").train.x) == ["x", "label"]


def test_scaling_is_asked_for_and_a_parameter_of_that_name_is_the_classes_own(own: OwnModule) -> None:
    assert torch.equal(loaded("uint8", scale=True).train.x, loaded("uint8").train.x / 255)
    assert torch.equal(loaded("tokens", scale=True).train.x, loaded("tokens").train.x)
    assert torch.equal(adopt("Scaling", scale=3).load().train.x, loaded("uint8").train.x * 3)


def test_a_mask_with_a_palette_has_labels(own: OwnModule) -> None:
    pytest.importorskip("PIL")
    splits = loaded("palette target")
    assert (splits.train.y.shape, splits.train.y.dtype) == ((32, 4, 5), torch.int64)
    assert splits.train.x.dtype == torch.float32


@pytest.mark.parametrize(("name", "options", "collate"), [
    ("Made", {"form": "ragged"}, "own_items:pad"), ("Three", {"form": "ragged"}, "own_items:pad"),
    ("Made", {"form": "ragged dict"}, "own_items:pad_dicts"),
])  # fmt: skip
def test_sequences_are_padded_to_the_longest_of_all(own: OwnModule, name: str, options: dict, collate: str) -> None:
    splits = adopt(name, **options, collate=collate).load()
    for part in (splits.train, splits.validation, splits.test()):
        assert {tensor.shape[1:] for tensor in part.x.values()} == {(7,)}
        assert all(len(tensor) == len(part) for tensor in part.x.values())
    assert splits.labels == (0, 1, 2)
    assert splits.digest == adopt(name, **options, collate=collate).load().digest
    if collate == "own_items:pad":
        assert torch.equal(splits.train.x["mask"], splits.train.x["tokens"] >= 0)
    else:
        assert list(splits.train.x) == ["ids"]


def test_the_code_of_collate_counts(own: OwnModule) -> None:
    before = canonical(adopt("Made", collate="own_items:pad"), source=True)
    assert canonical(adopt("Made"), source=True).keys() == before.keys() - {"collate"}
    own.write(SOURCE.replace("padding_value=-1", "padding_value=-2"))
    after = canonical(adopt("Made", collate="own_items:pad"), source=True)
    assert before["collate"]["source code"] != after["collate"]["source code"]


def firsts(splits: Splits) -> list[list[int]]:
    return [sorted(part.x[:, 0].tolist()) for part in (splits.train, splits.validation, splits.test())]


@pytest.mark.parametrize("name", ["Three", "by_name", "in_turn"])
def test_splits_of_ones_own(own: OwnModule, name: str) -> None:
    assert firsts(adopt(name).load()) == [[*range(40)], [*range(100, 109)], [*range(200, 208)]]


def test_splits_by_path(own: OwnModule) -> None:
    test = {"kind": "own_items:Made", "n": 8, "first": 200}
    assert firsts(adopt("Made", validation={**test, "first": 100}, test=test).load()) == [
        [*range(40)], [*range(100, 108)], [*range(200, 208)]]  # fmt: skip
    data = adopt("Made", n=41, test="own_items:Made")
    assert [len(part) for part in firsts(data.load())] == [37, 4, 40]
    assert canonical(data)["test"] == {"kind": "own_items:Made", "options": {}}
    assert data != adopt("Made", n=41, test=test)


def test_a_split_that_is_missing_is_a_share(own: OwnModule) -> None:
    train, validation, test = firsts(adopt("Two", n=50, validation=0.2).load())
    assert (sorted(train + validation), len(validation), test) == ([*range(50)], 10, [*range(200, 208)])


def test_the_test_split_of_ones_own_is_looked_at_for_its_labels_alone(own: OwnModule) -> None:
    splits = adopt("Three", form="number").load()
    read = find(Data, "own_items:READ")
    assert {first for first, _ in read} == {0, 100}
    assert splits.test().y.tolist() == [1.5 * i for i in range(200, 208)]
    assert adopt("Three").load().labels == (0, 1, 2)
    assert {first for first, _ in read} == {0, 100, 200}


def test_groups_stay_whole(own: OwnModule) -> None:
    found = firsts(adopt("Patients", group="patient", validation=0.2).load())
    assert sorted(chain(*found)) == [*range(40)]
    assert [len(part) for part in found] == [28, 8, 4]
    assert all(set(part) == {4 * (i // 4) + j for i in part for j in range(4)} for part in found)


def test_classes_are_shared_out_evenly(own: OwnModule) -> None:
    splits = loaded("tokens", n=90, stratify=True)
    assert [torch.bincount(part.y).tolist() for part in (splits.train, splits.validation, splits.test())] == [
        [24] * 3, [3] * 3, [3] * 3]  # fmt: skip
    assert loaded("tokens", n=90, stratify=True, split_seed=1).digest != splits.digest


@pytest.mark.parametrize(("name", "options", "message"), [
    ("Made", {"form": "ragged"}, r"inputs must all have the same shape, but item \d+ has \[\d\] where others have "
                                 r"\[\d\]; for sequences of different lengths .*: collate: module:name"),
    ("Made", {"form": "ragged target"}, r"targets must all have the same shape, but item \d+ has \[\d\]"),
    ("Made", {"form": "other type"}, "inputs must all have the same type, but item 7 has float32 where others have"),
    ("Made", {"form": "other names"}, r"but item 7 has \{'b': \[\]\} where others have \{'a': \[\]\}"),
    ("Made", {"form": "random"}, r"item \d+ is another one each time it is read, .* the work of train.augment"),
    ("Made", {"form": "rarely random"}, r"item \d+ is another one each time it is read"),
    ("Made", {"form": "random target"}, r"item \d+ is another one each time it is read"),
    ("Made", {"form": "nan target"}, "item 7 has a target that is infinite or not a number"),
    ("Made", {"form": "inf by name"}, "item 7 has an input that is infinite or not a number"),
    ("Made", {"form": "text"}, r"the input of item \d+ must .*\(title: can't convert np.ndarray of type numpy.str_\)"),
    ("Made", {"form": "none"}, r"the target of item \d+ must be a tensor, .* but is NoneType None"),
    ("Made", {"form": "two targets"}, r"target: .* must have a target, one of labels, .*, but has x, label, y"),
    ("Made", {"form": "other dict"}, r"target: .* and inputs, but has x, answer; say which it is: target: NAME"),
    ("Made", {"form": "one dict", "target": "anwser"}, "must have a target, 'anwser', and inputs, but"),
    ("Made", {"form": "only target"}, r"item \d+ must have a target, .* and inputs, but has label"),
    ("Made", {"form": "ragged", "collate": "own_items:one_row"}, "collate: .* is the examples, but for 32"),
    ("Made", {"form": "ragged", "collate": "own_items:at_random"}, r"is another one each time it is read"),
    ("Made", {"form": "ragged", "collate": "own_items:fails"}, r"collate on a list of \d+ items raised Run"),
    ("Made", {"n": 12, "stratify": True}, "stratify: own_items:Made: class 0 has 4 examples, too few for a share "
                                          "of 0.1 in the test split"),
    ("Made", {"form": "number", "stratify": True}, "stratify: .*needs one whole number for each example"),
    ("Labelled", {"stratify": True}, "stratify: .*needs one whole number for each example"),
    ("Patients", {"group": "doctor"}, "group: .*Patients has no attribute 'doctor'"),
    ("Patients", {"group": "wrong"}, "group: .*wrong must have a group for each of 40 items"),
    ("Patients", {"group": "patient", "n": 8}, "group: .*there are 2 groups for 3 splits"),
    ("Three", {"test": 0.2}, "test: own_items:Three has a test split of its own; leave this out"),
    ("Three", {"stratify": True}, "stratify: nothing is shared out here"),
    ("Three", {"n": 0}, "own_items:Three has 0 examples, which leaves none for the train split"),
    ("Made", {"n": 40, "test": {"kind": "own_items:Made", "n": 0}}, "test: own_items:Made: the test split is empty"),
    ("Made", {"test": {"kind": "own_items:Made", "form": "ragged"}}, r"inputs must all have .* but test item \d+ has"),
    ("Made", {"validation": "own_items:number"}, "validation: module 'own_items': unknown name 'number'"),
    ("Made", {"validation": {"kind": "own_items:Made", "m": 3}}, "validation.m: own_items:Made: unknown option 'm'"),
    ("Made", {"validation": {"n": 3}}, 'validation: must be "module:Name", but got'),
    ("Made", {"collate": "pad"}, 'collate: must be a function, "module:name", but got .pad'),
    ("Made", {"collate": "own_items:READ"}, 'collate: must be a function, "module:name", but got'),
    ("Made", {"test": "own_items:needs"}, "test.n: own_items:needs needs the option 'n', which is not given"),
    ("Made", {"scale": 1}, "scale: must be true or false, but got 1"),
    ("Patients", {"group": "patient", "stratify": True}, "group: cannot be had together with stratify; choose one"),
])  # fmt: skip
def test_what_cannot_be_used(own: OwnModule, name: str, options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        adopt(name, **options).load()


def test_a_palette_is_no_input(own: OwnModule) -> None:
    pytest.importorskip("PIL")
    with pytest.raises(
        ConfigError, match=r"the input of item \d+ .* image of mode P .*palette: .*image.convert\('RGB'\)"
    ):
        loaded("palette")
