"""Functions as Ray tasks, each with a trial's resources."""

import math
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any

import ray
from ray.exceptions import RayTaskError

from lth_sweep.sweepfile.spec import Resources

RETRIES = 2
"""Where a worker dies."""
POLL_SECONDS = 1.0


class RayTasks:
    """Implements `verification.Runner`, on the cluster that this process has joined."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        options = {"num_cpus": self._resources.cpu, "num_gpus": self._resources.gpu, "max_retries": RETRIES}
        return ray.remote(_call).options(**options).remote(function, *arguments)

    def results(self, jobs: Sequence[Any], patience: float = math.inf) -> Generator[Any]:
        """One cannot tell a task that hangs from one that waits for a place, and so it is not each that has `patience`,
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
