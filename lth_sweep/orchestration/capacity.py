"""How many trials a cluster has room for, now: nodes come and go."""

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import ray

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.sweepfile.spec import Resources

REFRESH_SECONDS = 5.0
PATIENCE_SECONDS = 1800.0
"""For the first node that has room for a trial: a cloud takes minutes to start one, more where it has a GPU."""


class Capacity:
    """Called, it says how many trials may be under way at a time."""

    def __init__(self, resources: Resources, joined: bool) -> None:
        """`joined`: the cluster is not one that this process has started, and so may grow. Where no node has room for a
        trial, that is said, and one is proposed all the same, for an autoscaler to see; on a cluster that cannot grow,
        unless `max_concurrent` says that there will be other nodes, it is a ConfigError."""
        self._resources, self.joined = resources, joined
        self._since = self._asked = time.monotonic()
        self._slots = slots(resources, ray.nodes())
        self._had_room = bool(self._slots)
        if not self._had_room:
            problem = _too_little(resources, ray.nodes())
            if not joined and resources.max_concurrent is None:
                raise problem
            print(f"{problem}; waiting for a node that has room", file=sys.stderr)

    def __call__(self) -> int:
        """Raises ConfigError where there has never been room, for so long that no autoscaler can be at work."""
        if self._resources.max_concurrent is not None:
            return self._resources.max_concurrent
        if time.monotonic() - self._asked > REFRESH_SECONDS:
            self._asked, self._slots = time.monotonic(), slots(self._resources, ray.nodes())
            self._had_room = self._had_room or bool(self._slots)
        if not self._had_room and self._asked - self._since > PATIENCE_SECONDS:
            raise _too_little(self._resources, ray.nodes())
        return max(1, self._slots + self.joined)


def slots(resources: Resources, nodes: Sequence[Mapping[str, Any]]) -> int:
    """Trials that these nodes can run at a time. A share of a GPU is one of a single GPU."""
    total = 0
    for has in _resources(nodes):
        room = [has.get("CPU", 0) / resources.cpu + 1e-9]
        if resources.gpu:
            room.append(has.get("GPU", 0) * int(1 / resources.gpu + 1e-9))
        total += int(min(room))
    return total


def _resources(nodes: Sequence[Mapping[str, Any]]) -> list[Mapping[str, float]]:
    return [node["Resources"] for node in nodes if node["Alive"]]


def _too_little(resources: Resources, nodes: Sequence[Mapping[str, Any]]) -> ConfigError:
    remedy = "ask for less, or, where other nodes will come, however late, set resources.max_concurrent"
    for name in ("cpu", "gpu"):
        asked, most = getattr(resources, name), max((has.get(name.upper(), 0) for has in _resources(nodes)), default=0)
        if asked > most:
            return ConfigError(
                f"a trial asks for {asked:g}, but no node of the cluster has more than {most:g}; {remedy}",
                f"resources.{name}",
            )
    return ConfigError(
        f"no node of the cluster has both the {resources.cpu:g} CPUs and the {resources.gpu:g} GPUs that a trial asks "
        f"for; {remedy}",
        "resources",
    )
