"""A sweep's work on a Ray cluster, see `executor`."""

import gc
import logging
import math
import os
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_task_oom_retries", "2")  # of a network that is verified; by itself 15

import ray
import torch
from ray._private import ray_constants
from ray.exceptions import AuthenticationError, RayTaskError
from torch.utils import _pytree as pytree

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.common.identity import digest
from lth_sweep.lottery.data import Data, Examples, Splits, load
from lth_sweep.orchestration import ray_tune
from lth_sweep.orchestration.capacity import Capacity
from lth_sweep.orchestration.driver import Driver
from lth_sweep.orchestration.interruption import Interruption
from lth_sweep.orchestration.work import LOOP, Work
from lth_sweep.sweepfile.space import data_sets
from lth_sweep.sweepfile.spec import Resources

RETRIES = 2
"""Of a job, where a worker dies."""
POLL_SECONDS = 1.0
MOST = 20
"""Data sets of a sweep that are shared; where a space has more of them, workers read the others themselves."""


@contextmanager
def cluster(address: str | None) -> Iterator[None]:
    """Join the one at `address`, or start one on this machine. One that this process has joined is used as it is."""
    if ray.is_initialized():
        yield
        return
    on_network = ray_constants.ENABLE_RAY_CLUSTER
    if address is None:  # then Ray listens on loopback alone, as it always does on macOS and Windows
        ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        # "local" and not None, which would join what an address file names, even a cluster that is long gone.
        ray.init(address or "local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except AuthenticationError as error:
        raise ConfigError(f"Ray's token: {str(error).splitlines()[0]}", "ray_address") from error
    except (ConnectionError, ValueError, RuntimeError) as error:
        if address is None:
            raise
        raise ConfigError(f"cannot join a Ray cluster at {address!r}: {error}", "ray_address") from error
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = on_network
    try:
        yield
    finally:
        # Ray ends the process where, while it shuts down, another thread frees one of its references, of which Tune
        # leaves many in garbage: seen in 12 of 12 sweeps whose report was written meanwhile.
        gc.disable()
        try:
            ray.shutdown()
        finally:
            gc.enable()


@dataclass(frozen=True)
class OnRay:
    """Implements `Executor`, on the cluster that this process has joined."""

    resources: Resources
    """Of a trial, and of a job."""
    interruption: Interruption
    joined: bool
    """Whether the cluster is one that this process has not started, and that so may grow."""

    def search(self, driver: Driver, work: Work) -> None:
        ray_tune.search(driver, work, self.interruption, Capacity(self.resources, self.joined))

    def sharing(self, work: Work) -> Work:
        """Data sets once per node: this process, which has read them to check the sweep file, puts them into Ray's
        object store, and every worker sees them there without a copy of its own."""
        if work.run != LOOP:
            return work
        found = {digest(data): load(data) for data in islice(data_sets(work.spec.base, work.spec.space), MOST)}
        return replace(work, data={key: _Shared(parts) for key, splits in found.items() if (parts := _put(splits))})

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        options = {"num_cpus": self.resources.cpu, "num_gpus": self.resources.gpu, "max_retries": RETRIES}
        return ray.remote(_call).options(**options).remote(function, *arguments)

    def results(self, jobs: Sequence[Any], patience: float = math.inf) -> Generator[Any]:
        """One cannot tell a job that hangs from one that waits for a place, and so it is not each that has `patience`,
        but all of them together."""
        pending, last = list(jobs), time.monotonic()
        try:
            for job in jobs:
                while job in pending:
                    done, pending = ray.wait(pending, timeout=POLL_SECONDS)
                    if done:
                        last = time.monotonic()
                    elif time.monotonic() - last > patience:
                        raise TimeoutError(f"hung: no network within {patience:.0f} seconds, by far the slowest of "
                                           "this sweep; or no node has room for one")  # fmt: skip
                yield ray.get(job)
        except RayTaskError as error:
            raise error.cause from error
        finally:
            for job in pending:
                ray.cancel(job, force=True)


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    """Ray takes functions only; a method comes as an argument."""
    return function(*arguments)


def _put(splits: Splits) -> Any:
    """Of splits that are in memory; None for others, which are for each worker to open."""
    parts = [(source.x, source.y) for source in (splits.train, splits.validation) if isinstance(source, Examples)]
    if len(parts) < 2:
        return None
    return ray.put((pytree.tree_map(lambda tensor: tensor.numpy(), parts), splits.classes, splits.labels))


@dataclass(frozen=True)
class _Shared:
    """Gives the splits in a worker. The test split is not shared: it is read once, at the end, where it is needed."""

    arrays: Any
    """Of Ray's object store."""

    def __call__(self, data: Data) -> Splits:
        arrays, classes, labels = ray.get(self.arrays)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the arrays are read-only, and nothing writes to examples
            train, validation = (Examples(*part) for part in pytree.tree_map(torch.from_numpy, arrays))
        return Splits(train, validation, lambda: data.load().test(), classes, labels)
