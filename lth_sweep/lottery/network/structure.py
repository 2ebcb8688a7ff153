"""The structure of a network: which layers can be pruned, and what belongs to a unit."""

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.data.batch import call, device_of, first
from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.units import PRUNABLE, Graph, Units, read, units_dim

_graphs: "WeakKeyDictionary[nn.Module, Graph]" = WeakKeyDictionary()
"""Each module's graph, which is read once."""


class Network:
    """A module's structure, without any particular weights.

    Layers that share one weight are one layer here, by the name of the first.
    """

    def __init__(self, module: nn.Module, example: Any) -> None:
        """`example`: a batch of inputs, of which the first two are looked at; their values do not matter."""
        self.module = module
        self.example = example
        self.shapes = {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}
        self.uses = _uses(module)
        """Each layer that can be pruned, with those that share its weight."""
        if not self.uses:
            raise ConfigError(f"{type(module).__name__} has no layer that can be pruned (Linear or convolution)")
        self.layers: dict[str, nn.Module] = {name: uses[0] for name, uses in self.uses.items()}
        self.weights = {layer: f"{layer}.weight" for layer in self.layers}
        """Layer -> the name of its prunable parameter."""
        order = list(module.modules())
        self.output = max(self.uses, key=lambda name: order.index(self.uses[name][-1]))

    def inputs(self, count: int) -> Any:
        """The first examples, where the module is."""
        return first(self.example, count, device_of(self.module))

    @property
    def full(self) -> Masks:
        """The masks that keep everything."""
        return Masks.full({name: self.shapes[name] for name in self.weights.values()})

    @cached_property
    def positions(self) -> dict[str, int]:
        """How often a layer's weights are used for one input: 1 for a Linear, the output pixels for a convolution."""
        counts = dict.fromkeys(self.layers, 0)
        names = {use: layer for layer, uses in self.uses.items() for use in uses}

        def count(use: nn.Module, inputs: Any, output: Tensor) -> None:
            counts[names[use]] += output[0].numel() // output.shape[units_dim(use)]

        with torch.no_grad(), evaluating(self.module), watched(names, count):
            call(self.module, self.inputs(1))
        return counts

    @property
    def units(self) -> dict[str, Units]:
        """What goes with the units of each layer, see `Graph`. Raises ConfigError where that cannot be told."""
        return self._graph.units

    @property
    def norms(self) -> dict[str, str]:
        """Layer -> the BatchNorm with a scale (gamma) that reads its output directly, where there is one."""
        return self._graph.norms

    @property
    def _graph(self) -> Graph:
        if self.module not in _graphs:
            # The graph is that of gradients, in which what is frozen does not show.
            module = copy.deepcopy(self.module).cpu().eval().requires_grad_()
            _graphs[self.module] = read(module, self.layers, self.output, first(self.example, 2, "cpu"))
        return _graphs[self.module]


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """While this is open, the module is in evaluation mode."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)


@contextmanager
def watched(parts: Iterable[nn.Module], look: Callable[[nn.Module, Any, Any], None]) -> Iterator[None]:
    """While this is open, `look` sees these parts of a module, their inputs and their output whenever they run."""
    handles = [part.register_forward_hook(look) for part in parts]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _uses(module: nn.Module) -> dict[str, list[nn.Module]]:
    """The layers that can be pruned, each with those that share its weight. Weights that something else has first, such
    as an embedding, are left out, and so are frozen ones."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in module.named_parameters()}
    found: dict[str, list[nn.Module]] = {}
    for layer in module.modules():
        if isinstance(layer, PRUNABLE) and layer.weight.requires_grad and (weight := names.get(layer.weight)):
            owner = weight.rpartition(".")[0]
            if isinstance(module.get_submodule(owner), PRUNABLE):
                found.setdefault(owner, []).append(layer)
    return found
