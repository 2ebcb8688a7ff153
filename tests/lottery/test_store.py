"""Stages in a folder; what holds for those in an object store, too, is in tests/remote/test_stages.py."""

import json
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lth_sweep.lottery.runs.stages import Stage, Store, decode, encode

STAGE = Stage({"model/w": torch.arange(6.0).view(2, 3)}, {"curve": [[1, 0.5, 0.9, 0.4]], "resumable": True})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "stages")


def test_its_folder_may_be_text(store: Store) -> None:
    store.publish("abcd", 50, STAGE)
    assert Store(str(store.root)).load("abcd", 50) is not None


@pytest.mark.parametrize("name", ["tensors.safetensors", "stage.json"])
@pytest.mark.parametrize("harm", ["flip", "truncate", "empty", "remove"])
def test_a_damaged_stage_is_set_aside(store: Store, name: str, harm: str) -> None:
    store.publish("abcd", 50, STAGE)
    file = store.root / "ab" / "abcd" / "00000050" / name
    content = bytearray(file.read_bytes())
    if harm == "remove":
        file.unlink()
    else:
        content[len(content) // 2] ^= 1
        file.write_bytes({"flip": bytes(content), "truncate": bytes(content[:-3]), "empty": b""}[harm])
    assert store.load("abcd", 50) is None
    assert store.steps("abcd") == []
    assert len(list((store.root / "damaged").iterdir())) == 1
    store.publish("abcd", 50, STAGE)
    assert store.load("abcd", 50) is not None


def test_a_number_that_was_changed_by_hand_is_found(store: Store) -> None:
    store.publish("abcd", 50, STAGE)
    file = store.root / "ab" / "abcd" / "00000050" / "stage.json"
    facts = json.loads(file.read_text())
    facts["curve"][0][2] = 0.95
    file.write_text(json.dumps(facts))
    assert store.load("abcd", 50) is None


def test_a_writer_that_dies_leaves_nothing_that_counts(store: Store) -> None:
    unfinished = store.root / "ab" / "abcd" / ".0123"
    unfinished.mkdir(parents=True)
    (unfinished / "tensors.safetensors").write_bytes(b"half")
    assert store.steps("abcd") == []
    assert store.load("abcd", 123) is None


DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.int16, torch.uint8, torch.bool]
shapes = st.lists(st.integers(0, 4), max_size=3)
kinds = st.tuples(shapes, st.sampled_from(DTYPES))


@given(st.dictionaries(st.text("ab./é", min_size=1, max_size=5), kinds, max_size=4))
def test_tensors_survive_whatever_their_order(kinds: dict[str, tuple[list[int], torch.dtype]]) -> None:
    tensors = {name: (torch.rand(shape) * 3).to(dtype) for name, (shape, dtype) in kinds.items()}
    content = encode(tensors)
    assert encode(dict(reversed(tensors.items()))) == content
    read = decode(content)
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert (read[name].dtype, read[name].shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(read[name], tensor)


def test_tensors_of_any_layout_and_ones_that_share_their_memory() -> None:
    tensor = torch.arange(6.0).view(2, 3)
    read = decode(encode({"transposed": tensor.t(), "row": tensor[1], "tied": tensor}))
    assert torch.equal(read["transposed"], tensor.t())
    assert torch.equal(read["row"], tensor[1])
    read["tied"] += 1  # what was read belongs to the reader


def test_stages_of_earlier_versions_are_read() -> None:
    """They were written in the order of the names, whatever the alignment."""
    header = (b'{"a":{"dtype":"BOOL","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"F32","shape":[2],"data_offsets":'
              b'[3,11]},"c":{"dtype":"I64","shape":[],"data_offsets":[11,19]}}      ')  # fmt: skip
    content = len(header).to_bytes(8, "little") + header + bytes([1, 0, 1]) + struct.pack("<2fq", 0.5, 2, 7)
    read = decode(content)
    assert (read["a"].tolist(), read["b"].tolist(), read["c"].item()) == ([True, False, True], [0.5, 2.0], 7)


@pytest.mark.parametrize("length", [0, 7, 8, 20, -1])
def test_a_truncated_file_is_an_error(length: int) -> None:
    with pytest.raises(ValueError):
        decode(encode({"weight": torch.ones(3, 3)})[:length])
