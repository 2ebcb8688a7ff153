"""Twins: two runs that part at a step, with different noise, and the error on the straight line between their ends.

Instability analysis (Frankle, Dziugaite, Roy & Carbin 2019, arXiv 1912.05671, section 2). Where two runs that differ in
nothing but the order of their batches and their augmentation end in different valleys, they have parted too early.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from torch import nn

from lth_sweep.lottery.data import Source
from lth_sweep.lottery.data.batch import call
from lth_sweep.lottery.network.state import State
from lth_sweep.lottery.runs.states import States
from lth_sweep.lottery.runs.tree import Trajectory, Tree
from lth_sweep.lottery.task import Metric
from lth_sweep.lottery.training.evaluation import BATCH, TRAIN_LIMIT, evaluate

POINTS = 30
ALPHAS = tuple(point / (POINTS - 1) for point in range(POINTS))
"""Evenly spaced from one twin, 0, to the other, 1, both included."""

Split = Literal["train", "validation"]


@dataclass(frozen=True)
class StabilityRecord:
    """Two twins of one replica that part at `step`, and what lies between their ends."""

    step: int
    """k: the last step that they share."""
    seed: int
    density: float
    """Of the masks that they train under; 1.0 for dense ones."""
    train: tuple[float, ...]
    """Error, as the task's main metric has it, at each of ALPHAS, on the first 10,000 training examples. NaN where
    the loss is not finite. Of a metric that is no share it is relative to the mean of the two ends, so that a barrier
    of 0.02 is 2% more error than they have."""
    validation: tuple[float, ...]
    """The same on the validation split."""
    steps_trained: int
    """Optimizer steps that were run for this record."""

    @property
    def barriers(self) -> dict[Split, float]:
        return {"train": barrier(self.train), "validation": barrier(self.validation)}

    @property
    def metrics(self) -> dict[str, float]:
        """As those of a level: `barrier` on the validation split, and `train_barrier`."""
        return {"barrier": self.barriers["validation"], "train_barrier": self.barriers["train"]}

    def to_json(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "barriers": self.barriers}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Self:
        """NaN may be null, as in JSON that was printed."""
        errors = {
            split: tuple(math.nan if error is None else error for error in fields[split])
            for split in ("train", "validation")
        }
        return cls(**{name: value for name, value in fields.items() if name != "barriers"} | errors)


def barrier(errors: Sequence[float]) -> float:
    """The highest error on the line, minus the mean of its two ends'; NaN where there is a NaN."""
    if any(map(math.isnan, errors)):
        return math.nan
    return max(errors) - (errors[0] + errors[-1]) / 2


def parting(tree: Tree, path: Trajectory) -> int:
    """Where the twin of a level's run parts from it: at the trial's rewind point, the dense network's twin too; and
    where that is not a step of the run, as for the dense network of a trial that fine-tunes, at its start."""
    k = tree.start.first
    return k if path.first <= k < path.last else path.first


def between_twins(
    states: States, paths: Sequence[Trajectory], step: int, end: int | None = None
) -> list[StabilityRecord]:
    """For each run, what lies between it and a twin that parts from it at `step`, both after step `end`, by default
    their last. Only the twin is trained anew."""
    before = dict(states.trained)
    end = end or paths[0].last
    ends = states.at(paths, end, via=[step])
    states.at(paths, step)  # which both go on from
    other_ends = states.at([states.tree.twin(path, step, noise=1) for path in paths], end)
    records = []
    for path, one, other in zip(paths, ends, other_ends, strict=True):
        train, validation = errors_between(states, one.state.averaged, other.state.averaged)
        density = states.network.full.replace(one.state.masks.tensors).density
        steps_trained = states.trained[path.seed] - before[path.seed]
        records.append(StabilityRecord(step, path.seed, density, train, validation, steps_trained))
    return records


def errors_between(states: States, one: State, other: State) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The errors at ALPHAS, on the first 10,000 training examples and on the validation split.

    BatchNorm's running statistics belong to the weights that they were taken under, and those between the twins never
    were trained: interpolated ones show a barrier where there may be none. So they are taken anew at each point, the
    ends included, on the same training examples (as Izmailov et al. 2018, arXiv 1803.05407, do for averaged weights).
    ResNet-8 of half the width on digits, SGD 0.3, 300 steps, twins from step 0: 0.8 points so, 25 with interpolated
    statistics. It doubles the cost in networks with BatchNorm; others have none of it.
    """
    trainer, task = states.trainer, states.trial.task
    module, metric = trainer.module.to(trainer.device), states.trial.task.metric()
    train, validation = [], []
    for alpha in ALPHAS:
        interpolate(one, other, alpha).load(module)
        renew_statistics(module, trainer.train_split)
        train.append(metric.error(evaluate(module, task, trainer.train_split, TRAIN_LIMIT)[metric.name]))
        validation.append(metric.error(evaluate(module, task, trainer.validation)[metric.name]))
    return scaled(train, metric), scaled(validation, metric)


def scaled(errors: Sequence[float], metric: Metric) -> tuple[float, ...]:
    """Shares as they are, others relative to the mean of the two ends."""
    ends = abs(errors[0] + errors[-1]) / 2
    return tuple(errors) if metric.format == "percent" or not ends else tuple(error / ends for error in errors)


def interpolate(one: State, other: State, alpha: float) -> State:
    """(1 - alpha) one + alpha other, exact at both ends and where the two are equal; counters are those of `one`."""
    between = {
        name: torch.lerp(tensor, other.model[name], alpha) if tensor.is_floating_point() else tensor
        for name, tensor in one.model.items()
    }
    return State(between, masks=one.masks)


@torch.no_grad()
def renew_statistics(module: nn.Module, source: Source) -> None:
    """Set the running statistics of all BatchNorm layers to the means over the first 10,000 examples, in batches of up
    to 1,000; all else stays in evaluation mode. Does nothing where there are no such layers."""
    norms = [
        layer
        for layer in module.modules()
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.track_running_stats
    ]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    module.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches, which are therefore of one size, give or take one
        norm.train()
    order = torch.arange(min(len(source), TRAIN_LIMIT))
    for x, _ in source.batches(order.tensor_split(math.ceil(len(order) / BATCH))):
        call(module, x)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    module.eval()
