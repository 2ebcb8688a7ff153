"""A byte flipped in, and the end cut off, each kind of file of a run's folder."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.harness import Sandbox

KINDS = {
    "record": "broken/records/001.jsonl",
    "sweep file": "broken/sweep.yaml",
    "meaning": "broken/sweep.json",
    "study": "broken/optuna.db",
    "evidence": "broken/verification.json",
    "levels": "broken/levels.parquet",
    "trials": "broken/trials.parquet",
    "stage": "stages/??/*/00000040/tensors.safetensors",
    "facts": "stages/??/*/00000040/stage.json",
    "MLflow's name": "broken/mlflow-sweep-id",
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    sandbox = Sandbox.make(tmp_path_factory.mktemp("damage") / "whole", trials=3)
    sandbox.run("--serial")
    return sandbox


def flip(file: Path, draw: random.Random) -> None:
    content = bytearray(file.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(7)
    file.write_bytes(content)


def truncate(file: Path, draw: random.Random) -> None:
    os.truncate(file, draw.randrange(file.stat().st_size))
