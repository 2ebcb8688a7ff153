"""One local Ray cluster of two CPUs, and two GPUs that it hands out, for all tests of a file that ask for it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    os.environ["PYTHONPATH"] = str(REPOSITORY)  # for the workers
    from lth_sweep.orchestration.ray_tune import SETTINGS

    os.environ.update(SETTINGS)
    ray.init("local", num_cpus=2, num_gpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()
