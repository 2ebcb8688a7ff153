"""Stages in a folder; what holds for those in an object store, too, is in tests/remote/test_stages.py."""

import json
from pathlib import Path

import pytest
import torch

from lth_sweep.lottery.runs.stages import Stage, Store

STAGE = Stage({"model/w": torch.arange(6.0).view(2, 3)}, {"curve": [[1, 0.5, 0.9, 0.4]], "resumable": True})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "stages")


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
