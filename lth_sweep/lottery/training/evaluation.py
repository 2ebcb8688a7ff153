"""How good a network is on examples, by the metrics of its task."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lth_sweep.lottery.data.batch import call, device_of, joined
from lth_sweep.lottery.data.source import Source
from lth_sweep.lottery.network.linear import fast_linear
from lth_sweep.lottery.task import LOSS, Task

BATCH = 1000
TRAIN_LIMIT = 10_000
"""Metrics on the training split are of its first 10,000 examples (an order fixed by the split's seed): on MNIST the
whole split would cost a level half as long as 600 steps of training."""


@torch.no_grad()
def evaluate(module: nn.Module, task: Task, source: Source, limit: int | None = None) -> dict[str, float]:
    """The task's metrics and its loss on the first `limit` examples (default: all), in evaluation mode and float32; all
    are NaN where the loss is not finite."""
    totals: dict[str, Tensor] = {}
    kept: list[tuple[object, object]] = []
    wholly = not all(metric.per_example for metric in task.metrics)
    count = len(source) if limit is None else min(limit, len(source))
    with judged(module), fast_linear(module):
        for x, y in source.in_order(BATCH, limit):
            output = call(module, x)
            for name, values in {LOSS.name: task.loss(output, y), **task.values(output, y)}.items():
                total = values.sum(dtype=torch.float64)
                totals[name] = totals[name] + total if name in totals else total
            if wholly:
                kept.append((output, y))
    found = {name: total.item() / count for name, total in totals.items()}
    if wholly:
        found |= task.whole(joined([output for output, _ in kept]), joined([y for _, y in kept]))
    loss = found.pop(LOSS.name)
    if not math.isfinite(loss):
        return {**dict.fromkeys(found, math.nan), LOSS.name: math.nan}
    return {**found, LOSS.name: loss}


@torch.no_grad()
def is_constant(module: nn.Module, task: Task, source: Source) -> bool:
    """Whether the network says the same of all examples, in evaluation mode: it has learnt nothing, whatever its
    metrics. Seldom looks at more than the first batch."""
    with judged(module):
        first = None
        for x, _ in source.in_order(BATCH):
            said = task.predictions(call(module, x))
            first = said[:1] if first is None else first
            if not bool((said == first).all()):
                return False
    return True


@torch.no_grad()
def values(module: nn.Module, task: Task, source: Source, metric: str) -> Tensor:
    """Of a metric that is a mean over examples: the value of each, float64 [n], on the CPU."""
    with judged(module):
        outputs = ((call(module, x), y) for x, y in source.in_order(BATCH))
        found = [task.loss(*each) if metric == LOSS.name else task.values(*each)[metric] for each in outputs]
    return torch.cat(found).double().cpu()


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
