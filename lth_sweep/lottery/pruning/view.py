"""What a criterion may look at: a network that is about to be pruned. Nothing is computed before it is asked for."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lth_sweep.lottery.common.identity import derive
from lth_sweep.lottery.data import Source
from lth_sweep.lottery.data.base import permutation
from lth_sweep.lottery.data.batch import mapped
from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.norms import tell
from lth_sweep.lottery.network.state import State
from lth_sweep.lottery.network.structure import Network
from lth_sweep.lottery.task import Task

BATCH = 200
"""Examples of one backward pass of a gradient."""


@dataclass(frozen=True, eq=False)
class View:
    """One replica. Weights and scores are per layer, in the shape of the layer's weight, on the CPU."""

    network: Network
    state: State
    """Trained, or the initial one where pruning comes before training."""
    masks: Masks
    seed: int
    first: Callable[[], State]
    """Gives the state at step 0."""
    task: Task
    source: Source
    """The training split, whose batches are on `device`, which trains."""
    device: torch.device
    layers: tuple[str, ...] = ()
    """Those that are to be scored."""

    @property
    def module(self) -> nn.Module:
        """The network, on the device that trains, with norms that know which of their channels are left."""
        module = self.network.module.to(self.device)
        tell(module, self.masks.tensors)
        return module

    @cached_property
    def model(self) -> dict[str, Tensor]:
        """All parameters and buffers, weights that are not kept at zero."""
        return self.state.masked(self.masks).model

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        return {layer: self.model[self.network.weights[layer]] for layer in self.layers}

    @cached_property
    def initial(self) -> dict[str, Tensor]:
        """w_0, all of it."""
        model = self.first().model
        return {layer: model[self.network.weights[layer]] for layer in self.layers}

    def kept(self, layer: str) -> Tensor:
        """Whether each weight of a layer is still there."""
        return self.masks[self.network.weights[layer]]

    def leaves(self) -> dict[str, Tensor]:
        """The weights as leaves of a graph, on the device that trains."""
        return {name: weight.to(self.device, copy=True).requires_grad_()
                for name, weight in self.weights.items()}  # fmt: skip

    def losses(self, leaves: Mapping[str, Tensor], count: int, temperature: float = 1.0) -> Iterator[Tensor]:
        """The task's loss of outputs / temperature, batch by batch, as a function of `leaves`; the sum over all batches
        is the mean over `count` training examples (all, if there are fewer).

        Which examples is derived from (seed, "score"). In training mode, because an untrained BatchNorm has no running
        statistics yet; those of the network do not change.
        """
        module = self.module
        chosen = permutation(len(self.source), derive(self.seed, "score"))[:count]
        fixed = {name: tensor.to(self.device) for name, tensor in self.model.items()}
        weights = {self.network.weights[layer]: leaf for layer, leaf in leaves.items()}
        training = module.training
        module.train()
        try:
            for x, y in self.source.batches(chosen.split(BATCH)):
                model = {name: weights[name] if name in weights else tensor.clone() for name, tensor in fixed.items()}
                with torch.random.fork_rng(devices=[]), torch.enable_grad():
                    torch.manual_seed(derive(self.seed, "score"))  # for dropout and the like
                    output = functional_call(module, model, *self.task.arguments(x, y))
                    losses = self.task.losses(mapped(lambda part: part / temperature, output), y)
                    if (counts := self.task.weights(y)) is not None:
                        losses = losses * (counts / counts.float().mean())
                    loss = losses.sum() / len(chosen)
                yield loss
        finally:
            module.train(training)

    def gradient(self, leaves: Mapping[str, Tensor], count: int, temperature: float = 1.0) -> list[Tensor]:
        """Of the loss, one tensor for each leaf."""
        total = [torch.zeros_like(leaf) for leaf in leaves.values()]
        for loss in self.losses(leaves, count, temperature):
            for sum_, part in zip(total, derivative(loss, leaves), strict=True):
                sum_ += part
        return total


def derivative(value: Tensor, leaves: Mapping[str, Tensor], create_graph: bool = False) -> tuple[Tensor, ...]:
    """Zeros for a leaf that `value` does not depend on."""
    return torch.autograd.grad(
        value, list(leaves.values()), create_graph=create_graph, allow_unused=True, materialize_grads=True
    )
