"""How good a network is on examples, by the metrics of its task."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lth_sweep.lottery.data.batch import device_of, examples_of, leaves, mapped
from lth_sweep.lottery.data.source import Source
from lth_sweep.lottery.network.linear import fast_linear
from lth_sweep.lottery.task import LOSS, Task, output_of

BATCH = 1000
MOST = 2**24
"""Numbers that a network may give for one batch: outputs for each token or pixel are large."""
TRAIN_LIMIT = 10_000
"""Metrics on the training split are of its first 10,000 examples (an order fixed by the split's seed): on MNIST the
whole split would cost a level half as long as 600 steps of training."""


@torch.no_grad()
def evaluate(module: nn.Module, task: Task, source: Source, limit: int | None = None) -> dict[str, float]:
    """The task's metrics and its loss on the first `limit` examples (default: all), in evaluation mode and float32; all
    are NaN where the loss is not finite."""
    totals: dict[str, Tensor] = {}
    count: Tensor | int = 0
    meters = dict(task.meters()) | {one.metric.name: one.make(device_of(module)) for one in task.metrics}
    with judged(module), fast_linear(module):
        for given, y in _given(module, task, source, limit):
            output, weights = output_of(given), task.weights(y)
            count += examples_of(y) if weights is None else weights.sum(dtype=torch.float64)
            for name, values in {LOSS.name: task.losses(given, y), **task.values(output, y)}.items():
                total = (values if weights is None else values * weights).sum(dtype=torch.float64)
                totals[name] = totals[name] + total if name in totals else total
            for meter in meters.values():
                meter.update(*task.for_meters(output, y))
    found = {name: task.metric(name).of(float(total / count)) for name, total in totals.items()}
    found |= {name: float(meter.compute()) for name, meter in meters.items()}
    if not math.isfinite(found[LOSS.name]):
        return {metric.name: math.nan for metric in task.measured}
    return {metric.name: found[metric.name] for metric in task.measured}


@torch.no_grad()
def is_constant(module: nn.Module, task: Task, source: Source) -> bool:
    """Whether the network says the same of all examples, in evaluation mode: it has learnt nothing, whatever its
    metrics. Seldom looks at more than the first batch."""
    with judged(module):
        first = None
        for given, _ in _given(module, task, source):
            said = task.predictions(output_of(given))
            first = said[:1] if first is None else first
            if not bool((said == first).all()):
                return False
    return True


@torch.no_grad()
def values(module: nn.Module, task: Task, source: Source, metric: str) -> tuple[Tensor, Tensor]:
    """Of a metric that is known of each example: its value for each, and how much each counts, float64 [n], on the
    CPU."""
    found, weights = [], []
    with judged(module):
        for given, y in _given(module, task, source):
            each = task.losses(given, y) if metric == LOSS.name else task.values(output_of(given), y)[metric]
            weight = task.weights(y)
            found.append(each)
            weights.append(torch.ones_like(each, dtype=torch.float64) if weight is None else weight)
    return torch.cat(found).double().cpu(), torch.cat(weights).double().cpu()


def _given(module: nn.Module, task: Task, source: Source, limit: int | None = None) -> Iterator[tuple[Any, Any]]:
    """What the network gives, and the targets, batch by batch: of 1,000 examples, or of fewer where targets have more
    than one number, and so outputs may be large."""
    size = 0
    for x, y in source.in_order(BATCH, limit):
        n, start = examples_of(y), 0
        size = size or (BATCH if all(part.ndim == 1 for part in leaves(y)) else 1)
        while start < n:
            some = (x, y) if not start and size >= n else mapped(lambda part: part[start : start + size], (x, y))  # noqa: B023
            positional, named = task.arguments(*some)
            given = module(*positional, **named)
            yield given, some[1]
            start += size
            if size == 1:
                size = max(1, min(BATCH, MOST // sum(part.numel() for part in leaves(given))))


@contextmanager
def judged(module: nn.Module) -> Iterator[None]:
    """The module in evaluation mode and float32; then as it was."""
    training = module.training
    module.eval()
    try:
        with torch.autocast(device_of(module).type, enabled=False):
            yield
    finally:
        module.train(training)
