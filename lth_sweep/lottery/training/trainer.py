"""Steps a to b of one replica, or of several in one batched call: a pure function from state to state."""

import math
from collections.abc import Iterator, Sequence
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
        return self.recipe.optimizer.by_entry and can_stack(self.module, self.task, batch, self.device)

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
            One(module, self.task, states[0], device, self.example if rule.fixed else None)
            if len(replicas) == 1
            else Stack(module, self.task, states, device)
        )
        optimizer = recipe.optimizer.make(lanes.parameters.values())
        for name, parameter in lanes.parameters.items():
            if kept := lanes.optimizer_state(name):
                optimizer.state[parameter] = {key: tensor.to(device, copy=True) for key, tensor in kept.items()}
        masked = lanes.masked()
        weights, masks = [lanes.parameters[name].detach() for name in masked], list(masked.values())
        if weights:
            torch._foreach_mul_(weights, masks)

        parameters = list(lanes.parameters.values())
        every, end = clock.steps(recipe.evaluate), end or clock.length
        curves = [[point for point in replica.curve if point.step % every == 0] for replica in replicas]
        ones = torch.ones(lanes.shape, device=device)
        total = torch.tensor([replica.pending[0] for replica in replicas], device=device).view(lanes.shape)
        count = replicas[0].pending[1]
        noise = derive(replicas[0].seed, "noise")
        generator = generator_of(device)
        rate = math.nan
        autocast = torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16", cache_enabled=False)
        fast = fast_linear(lanes.module) if len(replicas) == 1 else nullcontext()  # it cannot be mapped over
        with autocast, fast:
            batches = lanes.together([self.batches(replica.seed, first, last) for replica in replicas])
            for step, (x, y) in enumerate(batches, start=first):
                generator.manual_seed(noise + step)  # for dropout and the like in users' networks
                now = recipe.optimizer.lr * recipe.schedule.factor(min(step, clock.length - 1), clock)
                if now != rate:
                    rate = now
                    for group in optimizer.param_groups:
                        group["lr"] = rate
                losses = lanes.losses(x, y)
                losses.backward(ones)
                optimizer.step()
                if rule.due(step + 1, clock):
                    for name, mask in masked.items():  # what comes back has no past
                        for kept in optimizer.state[lanes.parameters[name]].values():
                            if kept.shape == mask.shape:
                                kept.mul_(mask)
                    masked = lanes.change_masks(rule, step + 1, [replica.seed for replica in replicas])
                    weights, masks = [lanes.parameters[name].detach() for name in masked], list(masked.values())
                for parameter in parameters:
                    parameter.grad = None
                if weights:
                    torch._foreach_mul_(weights, masks)
                total += losses.detach()
                count += 1
                if (step + 1) % every == 0 or step + 1 == end:
                    means = (total / count).view(-1).tolist()
                    for curve, mean, network in zip(curves, means, lanes.modules(), strict=True):
                        if not _diverged(curve):
                            curve.append(CurvePoint(step + 1, mean, evaluate(network, self.task, self.validation)))
                    if (step + 1) % every == 0:
                        total, count = torch.zeros_like(total), 0
                    if all(map(_diverged, curves)):
                        break
        last_state = {name: optimizer.state.get(parameter, {}) for name, parameter in lanes.parameters.items()}
        found = []
        for replica, state, curve, loss in zip(
            replicas, lanes.states(last_state), curves, total.view(-1).tolist(), strict=True
        ):
            state = _nothing_left(state) if _diverged(curve) else state
            state = rule.end(module, state) if last == end else state
            found.append(replace(replica, state=state, curve=tuple(curve), pending=(loss, count)))
        return found

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


def _diverged(curve: Sequence[CurvePoint]) -> bool:
    """Once the loss is not finite, one more step makes every weight NaN, and NaN it stays."""
    return bool(curve) and not math.isfinite(curve[-1].train_loss)


def _nothing_left(state: State) -> State:
    model = {
        name: torch.full_like(tensor, math.nan) if tensor.is_floating_point() else tensor
        for name, tensor in state.model.items()
    }
    return State(model, masks=state.masks)
