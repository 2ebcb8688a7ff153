"""Tasks by name, or a user's own by import path."""

from lth_sweep.lottery.task.base import Task, mean_loss, output_of
from lth_sweep.lottery.task.classification import Classification, MultiLabel
from lth_sweep.lottery.task.language import LanguageModelling, Tagging
from lth_sweep.lottery.task.metric import LOSS, Metric
from lth_sweep.lottery.task.regression import Regression
from lth_sweep.lottery.task.segmentation import Segmentation

TASKS: dict[str, type[Task]] = {
    "classification": Classification,
    "multi-label": MultiLabel,
    "regression": Regression,
    "language-modelling": LanguageModelling,
    "tagging": Tagging,
    "segmentation": Segmentation,
}
Task.kinds = TASKS

__all__ = ["LOSS", "TASKS", "Classification", "LanguageModelling", "Metric", "MultiLabel", "Regression", "Segmentation",
           "Tagging", "Task", "mean_loss", "output_of"]  # fmt: skip
