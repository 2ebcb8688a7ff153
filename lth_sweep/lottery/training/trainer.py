"""Steps a to b of one replica, or of several in one batched call."""

import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional as F

from lth_sweep.lottery.common.duration import Clock
from lth_sweep.lottery.common.identity import derive
from lth_sweep.lottery.data import Examples
from lth_sweep.lottery.data.base import permutation
from lth_sweep.lottery.network.compaction import pruned_units, shrink
from lth_sweep.lottery.network.linear import fast_linear
from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.state import State
from lth_sweep.lottery.recipe.trial import Train
from lth_sweep.lottery.records import CurvePoint
from lth_sweep.lottery.training.evaluation import evaluate

GATHERED = 8
"""Batches that are gathered from the data set at once, which then are still in the cache when they are used."""


@dataclass(frozen=True)
class Replica:
    """What one replica trains from: its state, its masks (None: dense) and the seed of its noise: the order of
    the batches, augmentation, and what the network draws."""

    state: State
    masks: Masks | None
    seed: int
    pending: tuple[float, int] = (0.0, 0)
    """Sum and number of the training losses since the last point of the curve."""


@dataclass(frozen=True)
class Task:
    """What all replicas share. `train` and `validation` lie on the device that trains."""

    module: nn.Module
    recipe: Train
    clock: Clock
    train: Examples
    validation: Examples


@dataclass(frozen=True)
class Trained:
    state: State
    curve: tuple[CurvePoint, ...]
    masks: Masks | None = None
    """Where training is what finds them."""
    pending: tuple[float, int] = (0.0, 0)
    """As in Replica: with it, the curve does not depend on where a run was interrupted."""


def train(task: Task, replicas: Sequence[Replica], first: int, last: int, end: int | None = None) -> list[Trained]:
    """Each replica's state after step `last` of a run that is at `replica.state` after step `first`, and which ends
    after step `end`, by default that of the clock. Beyond the clock's end the last learning rate stays.

    Several replicas are trained in one batched call. A masked weight is zero after every step: the update is followed
    by a multiplication with the mask, so that neither momentum, nor Adam's averages, nor weight decay bring it back.
    """
    recipe, clock, device = task.recipe, task.clock, task.train.x.device
    lanes = _One(task, replicas[0]) if len(replicas) == 1 else _Stack(task, replicas)
    optimizer = recipe.optimizer.make(lanes.parameters.values())
    for name, parameter in lanes.parameters.items():
        if kept := lanes.optimizer_state(name):
            optimizer.state[parameter] = {key: tensor.to(device, copy=True) for key, tensor in kept.items()}
    masked = [(lanes.parameters[name].detach(), mask.to(device)) for name, mask in lanes.masks.items()]
    for weight, mask in masked:
        weight.mul_(mask)

    parameters = list(lanes.parameters.values())
    every, end = clock.steps(recipe.evaluate), end or clock.length
    curves: list[list[CurvePoint]] = [[] for _ in replicas]
    ones = torch.ones(lanes.shape, device=device)
    total = torch.tensor([replica.pending[0] for replica in replicas], device=device).view(lanes.shape)
    count = replicas[0].pending[1]
    noise = derive(replicas[0].seed, "noise")
    generator = torch.default_generator if device.type == "cpu" else torch.cuda.default_generators[device.index or 0]
    rate = math.nan
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16", cache_enabled=False)
    fast = fast_linear(lanes.module) if len(replicas) == 1 else nullcontext()  # it cannot be mapped over
    with autocast, fast:
        for step, (x, y) in enumerate(lanes.batches(first, last), start=first):
            generator.manual_seed(noise + step)  # for dropout and the like in users' networks
            now = recipe.optimizer.lr * recipe.schedule.factor(min(step, clock.length - 1), clock)
            if now != rate:
                rate = now
                for group in optimizer.param_groups:
                    group["lr"] = rate
            losses = lanes.losses(x, y)
            losses.backward(ones)
            optimizer.step()
            for parameter in parameters:
                parameter.grad = None
            for weight, mask in masked:
                weight.mul_(mask)
            total += losses.detach()
            count += 1
            if (step + 1) % every == 0 or step + 1 == end:
                means = (total / count).view(-1).tolist()
                for curve, mean, module in zip(curves, means, lanes.modules(), strict=True):
                    if not _diverged(curve):
                        accuracy, loss = evaluate(module, task.validation)
                        curve.append(CurvePoint(step + 1, mean, {"accuracy": accuracy, "loss": loss}))
                if (step + 1) % every == 0:
                    total, count = torch.zeros_like(total), 0
                if all(map(_diverged, curves)):
                    break
    optimizer_state = {name: optimizer.state.get(parameter, {}) for name, parameter in lanes.parameters.items()}
    return [
        Trained(_nothing_left(state) if _diverged(curve) else state, tuple(curve), pending=(loss, count))
        for state, curve, loss in zip(lanes.states(optimizer_state), curves, total.view(-1).tolist(), strict=True)
    ]


def can_stack(task: Task) -> bool:
    """Whether replicas can be trained in one call: the optimizer treats each entry for itself, and the network does
    nothing that cannot be mapped over, such as a decision by a value."""
    if not task.recipe.optimizer.by_entry:
        return False
    lanes = _Stack(task, [Replica(State.of(task.module), None, seed=0)] * 2)
    x, y = task.train.x[:2], task.train.y[:2]
    try:
        lanes.losses(torch.stack([x, x]), torch.stack([y, y])).sum().backward()
    except Exception:  # of any kind: the network may be the user's own, and alone it may well train
        return False
    return True


def _diverged(curve: Sequence[CurvePoint]) -> bool:
    """Once the loss is not finite, one more step makes every weight NaN, and NaN it stays."""
    return bool(curve) and not math.isfinite(curve[-1].train_loss)


def _nothing_left(state: State) -> State:
    return State(
        {
            name: torch.full_like(tensor, math.nan) if tensor.is_floating_point() else tensor
            for name, tensor in state.model.items()
        },
        {},
    )


def batches(task: Task, seed: int, first: int, last: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of steps first to last - 1. Each epoch has an order of its own, derived from (seed, epoch)."""
    size, per_epoch = task.recipe.batch, task.clock.per_epoch
    augmentation = torch.Generator()
    noise = derive(seed, "augment")
    step = first
    while step < last:
        epoch, start = divmod(step, per_epoch)
        stop = min(per_epoch, start + last - step)
        order = permutation(len(task.train.y), derive(seed, "order", epoch)).to(task.train.x.device)
        for begin in range(start, stop, GATHERED):
            index = order[begin * size : min(begin + GATHERED, stop) * size]
            # index_select copies row by row: 23 microseconds for a batch of 60 MNIST images, against 67 by x[index].
            gathered = [part.index_select(0, index).split(size) for part in task.train]
            for x, y in zip(*gathered, strict=True):
                yield task.recipe.augment(x, augmentation.manual_seed(noise + step)), y
                step += 1


class _One:
    """A single replica, in the module itself, or, where whole units are pruned, in a smaller one without them: a level
    at 25% of conv-4's units trains that much faster (benchmarks/compaction.py). States have the full shapes again."""

    shape: tuple[int, ...] = ()

    def __init__(self, task: Task, replica: Replica) -> None:
        self.task, self.replica = task, replica
        masks = replica.masks or Masks({})
        self.plan = pruned_units(task.module, masks, task.train.x[:2])
        self.module = shrink(task.module, self.plan, replica.state.model) if self.plan else task.module
        self.module.to(task.train.x.device).train()
        if not self.plan:
            replica.state.load(self.module)
        elif task.module._compiled_call_impl is not None:
            self.module.compile()
        self.parameters = dict(self.module.named_parameters())
        left = {name: self.plan.gather(name, mask) for name, mask in masks.tensors.items()}
        self.masks = {name: mask.float() for name, mask in left.items() if not mask.all()}

    def optimizer_state(self, name: str) -> dict[str, Tensor]:
        kept = self.replica.state.optimizer.get(name, {})
        return {key: self.plan.gather(name, tensor) for key, tensor in kept.items()}

    def batches(self, first: int, last: int) -> Iterator[tuple[Tensor, Tensor]]:
        return batches(self.task, self.replica.seed, first, last)

    def losses(self, x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(self.module(x), y)

    def modules(self) -> Iterator[nn.Module]:
        yield self.module

    def states(self, optimizer: dict[str, dict[str, Tensor]]) -> list[State]:
        full = {name: tensor.shape for name, tensor in self.replica.state.model.items()}
        model = {name: self.plan.scatter(name, t, full[name]) for name, t in State.of(self.module).model.items()}
        kept = {
            name: {key: self.plan.scatter(name, t.detach().cpu().clone(), full[name]) for key, t in entry.items()}
            for name, entry in optimizer.items()
            if entry
        }
        return [State(model, kept)]


class _Stack:
    """Several replicas: every parameter and buffer has a first dimension [replica], and the forward pass is mapped over
    it. Parameters are updated as one tensor each, which is right for optimizers that work entry by entry."""

    def __init__(self, task: Task, replicas: Sequence[Replica]) -> None:
        self.task, self.replicas = task, replicas
        self.shape = (len(replicas),)
        device = task.train.x.device
        self.module = task.module.to(device)
        self.module.train()
        trained = [name for name, _ in self.module.named_parameters()]
        stacked = {
            name: torch.stack([replica.state.model[name] for replica in replicas]).to(device)
            for name in replicas[0].state.model
        }
        self.parameters = {name: stacked.pop(name).requires_grad_() for name in trained}
        self.buffers = stacked
        names = {name for replica in replicas if replica.masks for name in replica.masks}
        self.masks = {name: torch.stack([self._mask(replica, name) for replica in replicas]) for name in names}

        def forward(parameters: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor) -> Tensor:
            return functional_call(self.module, (parameters, buffers), (x,))

        self.forward = vmap(forward, randomness="different")
        if self.module._compiled_call_impl is not None:
            self.forward = torch.compile(self.forward)

    def _mask(self, replica: Replica, name: str) -> Tensor:
        if replica.masks and name in replica.masks:
            return replica.masks[name].float()
        return torch.ones(replica.state.model[name].shape)

    def optimizer_state(self, name: str) -> dict[str, Tensor]:
        """Entries of a parameter's shape are stacked; others, such as Adam's count of steps, are the same for all."""
        entries = [replica.state.optimizer.get(name, {}) for replica in self.replicas]
        shape = self.parameters[name].shape[1:]
        return {
            key: torch.stack([entry[key] for entry in entries]) if tensor.shape == shape else tensor
            for key, tensor in entries[0].items()
        }

    def batches(self, first: int, last: int) -> Iterator[tuple[Tensor, Tensor]]:
        each = [batches(self.task, replica.seed, first, last) for replica in self.replicas]
        for parts in zip(*each, strict=True):
            yield torch.stack([x for x, _ in parts]), torch.stack([y for _, y in parts])

    def losses(self, x: Tensor, y: Tensor) -> Tensor:
        logits = self.forward(self.parameters, self.buffers, x)
        return F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none").view(y.shape).mean(1)

    def modules(self) -> Iterator[nn.Module]:
        """The module with each replica's weights in turn."""
        for lane in range(len(self.replicas)):
            State(self._model(lane), {}).load(self.module)
            yield self.module

    def _model(self, lane: int) -> dict[str, Tensor]:
        return {name: tensor.detach()[lane] for name, tensor in (self.parameters | self.buffers).items()}

    def states(self, optimizer: dict[str, dict[str, Tensor]]) -> list[State]:
        states = []
        for lane in range(len(self.replicas)):
            model = {name: tensor.cpu().clone() for name, tensor in self._model(lane).items()}
            kept = {
                name: {
                    key: (tensor[lane] if tensor.shape == self.parameters[name].shape else tensor).cpu().clone()
                    for key, tensor in entry.items()
                }
                for name, entry in optimizer.items()
                if entry
            }
            states.append(State(model, kept))
        return states
