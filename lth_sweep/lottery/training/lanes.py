"""The replicas of one call to the trainer: a single one in the module itself, or several, mapped over."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils import _pytree as pytree

from lth_sweep.lottery.data.batch import mapped
from lth_sweep.lottery.data.source import Batch
from lth_sweep.lottery.network.compaction import pruned_units
from lth_sweep.lottery.network.initial.drawing import trained
from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.norms import tell
from lth_sweep.lottery.network.state import State, first_names
from lth_sweep.lottery.network.units.resizing import Plan, shrink
from lth_sweep.lottery.task import Task, mean_loss
from lth_sweep.lottery.training.mask_rules import MaskRule


class One:
    """A single replica, in the module itself, or, where whole units are pruned, in a smaller one without them: a level
    at 25% of conv-4's units trains that much faster (benchmarks/compaction.py). States have the full shapes again."""

    shape: tuple[int, ...] = ()

    def __init__(self, module: nn.Module, task: Task, state: State, device: torch.device, example: Any) -> None:
        """`example`: the inputs of a few examples; None where the network is to keep its size."""
        self.task, self.state, self.device = task, state, device
        self.numbers = state.numbers
        self.plan = Plan() if example is None else pruned_units(module, state.masks, example)
        self.module = shrink(module, self.plan, state.model) if self.plan else module
        self.module.to(device).train()
        if not self.plan:
            state.load(self.module)
        elif module._compiled_call_impl is not None:
            self.module.compile()
        self.parameters = trained(self.module)
        self.buffers = _float_buffers(self.module)
        self.masks = state.masks

    def optimizer_state(self, name: str) -> dict[str, Tensor]:
        kept = self.state.optimizer.get(name, {})
        return {key: self.plan.gather(name, tensor) for key, tensor in kept.items()}

    def averages(self) -> dict[str, Tensor]:
        """Those that training goes on from."""
        return {name: self.plan.gather(name, tensor).to(self.device, copy=True)
                for name, tensor in self.state.average.items()}  # fmt: skip

    def averaged(self) -> dict[str, Tensor]:
        """What averages are of, as it is now: the parameters that are trained, and floating-point buffers."""
        parameters = {name: parameter.detach() for name, parameter in self.parameters.items()}
        return parameters | {name: self.module.get_buffer(name) for name in self.buffers}

    def masked(self) -> dict[str, Tensor]:
        """What each parameter that is not wholly kept is multiplied with after every step: 1 for kept, 0 for gone."""
        masks = {name: mask for name, mask in self.masks.tensors.items() if name in self.parameters}
        left = {name: self.plan.gather(name, mask) for name, mask in masks.items()}
        return {name: mask.float().to(self.device) for name, mask in left.items() if not mask.all()}

    def change_masks(self, rule: MaskRule, step: int, seeds: Sequence[int]) -> dict[str, Tensor]:
        """Let the rule change the masks, after `step` steps; with what `masked` now gives."""
        self.masks = _changed(rule, self.masks, self.parameters, step, seeds[0])
        return self.masked()

    def together(self, batches: Sequence[Iterator[Batch]]) -> Iterator[Batch]:
        """One batch for all replicas of each one's."""
        return batches[0]

    def losses(self, x: Any, y: Any) -> Tensor:
        """The mean over the examples, for each replica, in `shape`."""
        positional, named = self.task.arguments(x, y)
        return mean_loss(self.task.losses(self.module(*positional, **named), y), self.task.weights(y))

    def weight(self, y: Any) -> Tensor:
        """How much a batch counts among others of its size, for each replica, in `shape`."""
        weights = self.task.weights(y)
        return torch.ones(self.shape) if weights is None else weights.sum()

    def modules(self, averages: Mapping[str, Tensor]) -> Iterator[nn.Module]:
        """The network of each replica in turn, with averages in place of what they are of."""
        own = self.averaged()
        before = {name: own[name].clone() for name in averages}
        for name, average in averages.items():
            own[name].copy_(average)
        yield self.module  # and whoever asks for a next one comes back here
        for name, tensor in before.items():
            own[name].copy_(tensor)

    def states(
        self, optimizer: Mapping[str, Mapping[str, Tensor]], averages: Mapping[str, Tensor], numbers: dict[str, float]
    ) -> list[State]:
        full = {name: tensor.shape for name, tensor in self.state.model.items()}
        model = {name: self.plan.scatter(name, t, full[name]) for name, t in State.of(self.module).model.items()}
        kept = {
            name: {key: self.plan.scatter(name, t.detach().cpu().clone(), full[name]) for key, t in entry.items()}
            for name, entry in optimizer.items()
            if entry
        }
        average = {name: self.plan.scatter(name, t.cpu().clone(), full[name]) for name, t in averages.items()}
        return [State(model, kept, self.masks, average, numbers)]


class Stack:
    """Several replicas: every parameter and buffer has a first dimension [replica], and the forward pass is mapped over
    it. Parameters are updated as one tensor each, which is right for optimizers that work entry by entry."""

    def __init__(self, module: nn.Module, task: Task, states: Sequence[State], device: torch.device) -> None:
        self.task, self.replicas = task, states
        self.shape = (len(states),)
        self.numbers = next(filter(None, (state.numbers for state in states)), {})
        self.module = module.to(device)
        self.module.train()
        tell(self.module, {})
        stacked = {name: torch.stack([state.model[name] for state in states]).to(device) for name in states[0].model}
        self.parameters = {name: stacked.pop(name).requires_grad_() for name in trained(self.module)}
        self.others = stacked
        """Buffers, and parameters that are frozen."""
        self.buffers = _float_buffers(self.module)
        self.masks = [state.masks for state in states]

        def forward(parameters: dict[str, Tensor], others: dict[str, Tensor], x: Any, y: Any) -> Any:
            return functional_call(self.module, (parameters, others), *task.arguments(x, y))

        self.forward = vmap(forward, randomness="different")
        if self.module._compiled_call_impl is not None:
            self.forward = torch.compile(self.forward)

    def optimizer_state(self, name: str) -> dict[str, Tensor]:
        """Entries of a parameter's shape are stacked; others, such as Adam's count of steps, are the same for all."""
        entries = [state.optimizer.get(name, {}) for state in self.replicas]
        known = next(filter(None, entries), {})  # a replica that has diverged keeps none
        shape = self.parameters[name].shape[1:]
        return {
            key: torch.stack([entry.get(key, tensor) for entry in entries]) if tensor.shape == shape else tensor
            for key, tensor in known.items()
        }

    def averages(self) -> dict[str, Tensor]:
        known = next(filter(None, (state.average for state in self.replicas)), {})
        return {name: torch.stack([state.averaged.model[name] for state in self.replicas]).to(tensor.device)
                for name, tensor in self.averaged().items() if name in known}  # fmt: skip

    def averaged(self) -> dict[str, Tensor]:
        parameters = {name: parameter.detach() for name, parameter in self.parameters.items()}
        return parameters | {name: self.others[name] for name in self.buffers}

    def masked(self) -> dict[str, Tensor]:
        found = {}
        for name in dict.fromkeys(name for masks in self.masks for name in masks if name in self.parameters):
            weight = self.parameters[name]
            whole = torch.ones(weight.shape[1:]).bool()
            each = [masks.tensors.get(name, whole) for masks in self.masks]
            found[name] = torch.stack(each).float().to(weight.device)
        return found

    def change_masks(self, rule: MaskRule, step: int, seeds: Sequence[int]) -> dict[str, Tensor]:
        for lane, seed in enumerate(seeds):
            own = {name: parameter.detach()[lane] for name, parameter in self.parameters.items()}
            for name, parameter in self.parameters.items():
                own[name].grad = None if parameter.grad is None else parameter.grad[lane]
            self.masks[lane] = _changed(rule, self.masks[lane], own, step, seed)
        return self.masked()

    def together(self, batches: Sequence[Iterator[Batch]]) -> Iterator[Batch]:
        for parts in zip(*batches, strict=True):
            yield Batch(*pytree.tree_map(lambda *some: torch.stack(some), *map(tuple, parts)))

    def losses(self, x: Any, y: Any) -> Tensor:
        output = self.forward(self.parameters, self.others, x, y)
        output, y = (mapped(lambda tensor: tensor.flatten(0, 1), part) for part in (output, y))
        losses, weights = self.task.losses(output, y), self.task.weights(y)
        each = (*self.shape, -1)
        return mean_loss(losses.view(each), None if weights is None else weights.view(each))

    def weight(self, y: Any) -> Tensor:
        weights = self.task.weights(mapped(lambda tensor: tensor.flatten(0, 1), y))
        return torch.ones(self.shape) if weights is None else weights.view(*self.shape, -1).sum(-1)

    def modules(self, averages: Mapping[str, Tensor]) -> Iterator[nn.Module]:
        for lane in range(len(self.replicas)):
            State(self._model(lane), average=_lane(averages, lane)).averaged.load(self.module)
            yield self.module

    def _model(self, lane: int) -> dict[str, Tensor]:
        return _lane(self.parameters | self.others, lane)

    def states(
        self, optimizer: Mapping[str, Mapping[str, Tensor]], averages: Mapping[str, Tensor], numbers: dict[str, float]
    ) -> list[State]:
        found = []
        for lane, masks in enumerate(self.masks):
            model = {name: tensor.cpu().clone() for name, tensor in self._model(lane).items()}
            kept = {
                name: {
                    key: (tensor[lane] if tensor.shape == self.parameters[name].shape else tensor).cpu().clone()
                    for key, tensor in entry.items()
                }
                for name, entry in optimizer.items()
                if entry
            }
            average = {name: tensor.cpu().clone() for name, tensor in _lane(averages, lane).items()}
            found.append(State(model, kept, masks, average, numbers))
        return found


def can_stack(module: nn.Module, task: Task, batch: Batch, device: torch.device) -> bool:
    """Whether replicas of a network can be trained in one call. Not where it does what cannot be mapped over, such as a
    decision by a value; nor where it draws, as dropout does: the draws of a replica would depend on which others are
    trained beside it."""
    lanes = Stack(module, task, [State.of(module)] * 2, device)
    if any(parameter.ndim == 1 for parameter in lanes.parameters.values()):  # as are an optimizer's counts, alone
        return False
    try:
        x, y = next(lanes.together([repeat(batch), repeat(batch)]))
        lanes.losses(x, y).sum().backward()
        before = generator_of(device).get_state()
        positional, named = task.arguments(*batch)
        module(*positional, **named)
        return torch.equal(before, generator_of(device).get_state())
    except Exception:  # of any kind: the network may be the user's own, and alone it may well train
        return False


def generator_of(device: torch.device) -> torch.Generator:
    """What dropout and the like draw from."""
    return torch.default_generator if device.type == "cpu" else torch.cuda.default_generators[device.index or 0]


def _lane(tensors: Mapping[str, Tensor], lane: int) -> dict[str, Tensor]:
    """Those of one replica."""
    return {name: tensor.detach()[lane] for name, tensor in tensors.items()}


def _float_buffers(module: nn.Module) -> list[str]:
    """The names of those that a state has."""
    first = first_names(module)
    return [name for name, buffer in module.named_buffers() if buffer.is_floating_point() and first.get(name) == name]


def _changed(rule: MaskRule, masks: Masks, parameters: Mapping[str, Tensor], step: int, seed: int) -> Masks:
    """The masks of one replica, as the rule has them after `step` steps."""
    weights = {name: parameters[name].detach() for name in masks.weights}
    gradients = {name: grad for name in weights if (grad := parameters[name].grad) is not None}
    there = {name: mask.to(weights[name].device) for name, mask in masks.weights.items()}
    return masks.replace({name: new.cpu() for name, new in rule.update(weights, there, gradients, step, seed).items()})
