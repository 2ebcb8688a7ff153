"""Steps a to b of one replica, or of several in one batched call: a pure function from state to state."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from lth_sweep.lottery.common.duration import Clock
from lth_sweep.lottery.common.identity import derive
from lth_sweep.lottery.data.base import FEW, permutation
from lth_sweep.lottery.data.batch import first as first_of
from lth_sweep.lottery.data.source import Batch, Source
from lth_sweep.lottery.network.linear import fast_linear
from lth_sweep.lottery.network.state import State
from lth_sweep.lottery.records import CurvePoint
from lth_sweep.lottery.task import Task
from lth_sweep.lottery.training.evaluation import evaluate
from lth_sweep.lottery.training.lanes import One, Stack, can_stack, generator_of
from lth_sweep.lottery.training.mask_rules import Fixed, MaskRule
from lth_sweep.lottery.training.train import Train
from lth_sweep.lottery.training.update import Update


@dataclass(frozen=True)
class Replica:
    """One run at one of its steps."""

    state: State
    seed: int
    """Of its noise: the order of the batches, augmentation, and what the network draws."""
    curve: tuple[CurvePoint, ...] = ()
    pending: tuple[float, int] = (0.0, 0)
    """Sum and number of the training losses since the last point of the curve: with it, the curve does not depend on
    where a run was interrupted."""


@dataclass(frozen=True)
class Trainer:
    """What all runs of a trial share. Batches lie on the device that trains."""

    module: nn.Module
    recipe: Train
    task: Task
    clock: Clock
    train_split: Source
    validation: Source
    device: torch.device

    @cached_property
    def example(self) -> Any:
        """The inputs of a few examples, on the CPU."""
        return first_of(self.train_split.first(FEW).x, FEW, "cpu")

    @cached_property
    def can_stack(self) -> bool:
        """Whether several replicas can be trained in one call."""
        batch = self.train_split.first(2)
        # The scale of float16 is one for all, and they could not be trained so one by one.
        alone = not self.recipe.optimizer.by_entry or self.recipe.precision == "float16"
        return not alone and can_stack(self.module, self.task, batch, self.device)

    def train(
        self, replicas: Sequence[Replica], first: int, last: int, end: int | None = None, rule: MaskRule | None = None
    ) -> list[Replica]:
        """Each replica after step `last` of a run that is at its state after step `first`, and which ends after step
        `end`, by default that of the clock. Beyond the clock's end the last learning rate stays.

        Several replicas are trained in one batched call. A masked weight is zero after every step: the update is
        followed by a multiplication with the mask, so that neither momentum, nor Adam's averages, nor weight decay
        bring it back. `rule` (default: masks are fixed) says whether and how masks change.
        """
        recipe, clock, device, rule = self.recipe, self.clock, self.device, rule or Fixed()
        module = rule.module(self.module)
        states = [replica.state for replica in replicas]
        lanes: One | Stack = (
            One(
                module, self.task, states[0], device, self.example if rule.fixed and recipe.optimizer.by_entry else None
            )
            if len(replicas) == 1
            else Stack(module, self.task, states, device)
        )
        update = Update(recipe, lanes, device)
        every, end = clock.steps(recipe.evaluate), end or clock.length
        progress = _Progress(replicas, every, lanes.shape, device)
        seeds = [replica.seed for replica in replicas]
        noise, generator = derive(seeds[0], "noise"), generator_of(device)
        half = {"bf16": torch.bfloat16, "float16": torch.float16}.get(recipe.precision)
        autocast = torch.autocast(device.type, half, enabled=half is not None, cache_enabled=False)
        fast = fast_linear(lanes.module) if len(replicas) == 1 else nullcontext()  # it cannot be mapped over
        with autocast, fast:
            batches = lanes.together([self.batches(seed, first, last) for seed in seeds])
            for step, (x, y) in enumerate(batches, start=first):
                generator.manual_seed(noise + step)  # for dropout and the like in users' networks
                losses = update.gradients(x, y)
                update.optimize(recipe.optimizer.lr * recipe.schedule.factor(min(step, clock.length - 1), clock))
                if rule.due(step + 1, clock):
                    update.change_masks(rule, step + 1, seeds)
                update.finish()
                progress.add(losses)
                if (step + 1) % every == 0 or step + 1 == end:
                    progress.look(step + 1, update.modules(), lambda one: evaluate(one, self.task, self.validation))
                    if all(map(_diverged, progress.curves)):
                        break
        found = progress.after(update.states())
        return [replace(one, state=rule.end(module, one.state)) for one in found] if last == end else found

    def batches(self, seed: int, first: int, last: int) -> Iterator[Batch]:
        """The batches of steps first to last - 1. Each epoch has an order of its own, derived from (seed, epoch)."""
        augment, generator = self.recipe.augment, torch.Generator()
        noise = derive(seed, "augment")
        batches = self.train_split.batches(self._orders(seed, first, last))
        for step, (x, y) in enumerate(batches, start=first):
            yield Batch(augment(x, generator.manual_seed(noise + step)), y)

    def _orders(self, seed: int, first: int, last: int) -> Iterator[Tensor]:
        """The numbers of each batch's examples."""
        size, per_epoch = self.recipe.batch, self.clock.per_epoch
        step = first
        while step < last:
            epoch, start = divmod(step, per_epoch)
            stop = min(per_epoch, start + last - step)
            order = permutation(len(self.train_split), derive(seed, "order", epoch))
            yield from order[start * size : stop * size].split(size)
            step += stop - start


class _Progress:
    """The training losses and the curves of the replicas of a call."""

    def __init__(self, replicas: Sequence[Replica], every: int, shape: tuple[int, ...], device: torch.device) -> None:
        self._replicas, self._every = replicas, every
        self.curves = [[point for point in replica.curve if point.step % every == 0] for replica in replicas]
        self._total = torch.tensor([replica.pending[0] for replica in replicas], device=device).view(shape)
        self._count = replicas[0].pending[1]

    def add(self, losses: Tensor) -> None:
        self._total += losses
        self._count += 1

    def look(self, step: int, networks: Iterable[nn.Module], judge: Callable[[nn.Module], dict[str, float]]) -> None:
        """Add a point to the curve of each replica that has not diverged."""
        means = (self._total / self._count).view(-1).tolist()
        for curve, mean, network in zip(self.curves, means, networks, strict=True):
            if not _diverged(curve):
                curve.append(CurvePoint(step, mean, judge(network)))
        if step % self._every == 0:
            self._total, self._count = torch.zeros_like(self._total), 0

    def after(self, states: Sequence[State]) -> list[Replica]:
        """The replicas, now at these states."""
        losses = self._total.view(-1).tolist()
        return [
            replace(replica, state=_nothing_left(state) if _diverged(curve) else state, curve=tuple(curve),
                    pending=(loss, self._count))
            for replica, state, curve, loss in zip(self._replicas, states, self.curves, losses, strict=True)
        ]  # fmt: skip


def _diverged(curve: Sequence[CurvePoint]) -> bool:
    """Once the loss is not finite, one more step makes every weight NaN, and NaN it stays."""
    return bool(curve) and not math.isfinite(curve[-1].train_loss)


def _nothing_left(state: State) -> State:
    model = {
        name: torch.full_like(tensor, math.nan) if tensor.is_floating_point() else tensor
        for name, tensor in state.model.items()
    }
    return State(model, masks=state.masks)
