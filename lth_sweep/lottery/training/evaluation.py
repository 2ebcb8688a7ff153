"""Accuracy and loss of a network on examples."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from lth_sweep.lottery.data import Examples
from lth_sweep.lottery.network.linear import fast_linear

BATCH = 1000
TRAIN_LIMIT = 10_000
"""Metrics on the training split are of its first 10,000 examples (an order fixed by the split's seed): on MNIST the
whole split would cost a level half as long as 600 steps of training."""


@torch.no_grad()
def evaluate(module: nn.Module, examples: Examples) -> tuple[float, float]:
    """(accuracy in [0, 1], mean cross-entropy), in evaluation mode and float32; both NaN if the loss is not finite."""
    training = module.training
    module.eval()
    correct = torch.zeros((), dtype=torch.int64, device=examples.y.device)
    total = torch.zeros((), dtype=torch.float64, device=examples.y.device)
    with torch.autocast(examples.x.device.type, enabled=False), fast_linear(module):
        for x, y in zip(examples.x.split(BATCH), examples.y.split(BATCH), strict=True):
            logits = module(x)
            correct += (logits.argmax(1) == y).sum()
            total += F.cross_entropy(logits, y, reduction="sum")
    module.train(training)
    loss = total.item() / len(examples.y)
    if not math.isfinite(loss):
        return math.nan, math.nan
    return correct.item() / len(examples.y), loss


@torch.no_grad()
def is_constant(module: nn.Module, examples: Examples) -> bool:
    """Whether all examples get the same class, in evaluation mode: such a network has learnt nothing, whatever its
    accuracy. Seldom looks at more than the first batch."""
    training = module.training
    module.eval()
    first = module(examples.x[:1]).argmax(1)
    constant = all(bool((module(x).argmax(1) == first).all()) for x in examples.x.split(BATCH))
    module.train(training)
    return constant
