"""Functions as Ray tasks, each with a trial's resources."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ray
from ray.exceptions import RayTaskError

from lth_sweep.spec.sweep import Resources

RETRIES = 2
"""Where a worker dies."""


class RayTasks:
    """Implements `verification.Runner`, on the cluster that this process has joined."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        options = {"num_cpus": self._resources.cpu, "num_gpus": self._resources.gpu, "max_retries": RETRIES}
        return ray.remote(_call).options(**options).remote(function, *arguments)

    def results(self, jobs: Sequence[Any]) -> Iterator[Any]:
        for job in jobs:
            try:
                yield ray.get(job)
            except RayTaskError as error:
                raise error.cause from error


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    """Ray takes functions only; a method comes as an argument."""
    return function(*arguments)
