"""Tune's workers, as its controller handles them: whatever Ray loses one by, its trial has failed and not the sweep.

Ray has several errors for that, and Tune knows one of them. It ends with "Caught unexpected exception" where a worker
was killed because its node was short of memory, or where a node was lost with a result on it (seen in Ray 2.60,
`RayActorManager._actor_task_failed`).
"""

from typing import Any

from ray.air.execution._internal import RayActorManager
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.tune.execution import tune_controller


class Actors(RayActorManager):
    def _actor_task_failed(self, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, RayError) and not isinstance(exception, RayActorError | RayTaskError):
            exception = RayActorError(error_msg=str(exception))
        super()._actor_task_failed(tracked_actor_task, exception)


def use() -> None:
    """From now on, by Tune in this process."""
    tune_controller.RayActorManager = Actors
