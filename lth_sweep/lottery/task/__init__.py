"""Tasks by name, or a user's own by import path."""

from lth_sweep.lottery.task.base import LOSS, Metric, Task
from lth_sweep.lottery.task.classification import Classification

TASKS: dict[str, type[Task]] = {"classification": Classification}
Task.kinds = TASKS

__all__ = ["LOSS", "TASKS", "Classification", "Metric", "Task"]
