"""The structure of a network: which layers can be pruned, and what belongs to a unit."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from math import prod
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.data.batch import device_of, first
from lth_sweep.lottery.network.graph import read
from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.prunable import DEFAULT, Prunable, find
from lth_sweep.lottery.network.tracing import trace
from lth_sweep.lottery.network.units import Graph, Units

_graphs: "WeakKeyDictionary[nn.Module, Graph]" = WeakKeyDictionary()
"""Each module's graph, which is read once."""


class Network:
    """A module's structure, without any particular weights.

    Layers that share one weight are one layer here, by the name of the first.
    """

    def __init__(self, module: nn.Module, example: Any, prunable: Prunable = DEFAULT) -> None:
        """`example`: a batch of inputs, of which the first two are looked at; their values do not matter."""
        self.module = module
        self.example = example
        self.trace = trace(module, example)
        self.shapes = {name: tuple(one.shape) for name, one in module.named_parameters() if name in self.trace.used}
        """Of all parameters that a forward pass uses, by the first of their names."""
        found, self.left = find(module, self.trace.used, prunable)
        """Layers, and parameters of two or more dimensions, that cannot be pruned, and why."""
        owners = Counter(places[0].prefix for places in found.values())
        self.weights: dict[str, str] = {}
        """Layer -> the name of its prunable parameter. A layer is a module, or, of a module with several prunable
        parameters, one of these."""
        self.uses: dict[str, list[nn.Module]] = {}
        """Each layer -> the modules that share its weight."""
        for parameter, places in found.items():
            layer = places[0].layer if owners[places[0].prefix] == 1 else places[0].name
            self.weights[layer] = parameter
            self.uses[layer] = [place.part for place in places]
        if not self.weights:
            reasons = "".join(f"; {layer}: {reason}" for layer, reason in self.left.items())
            raise ConfigError(f"{type(module).__name__} has no layer that can be pruned (Linear, convolution, "
                              f"attention or recurrent){reasons}")  # fmt: skip
        self.layers: dict[str, nn.Module] = {layer: uses[0] for layer, uses in self.uses.items()}
        self.output = tuple(layer for layer, name in self.weights.items() if name in self.trace.last)
        """The layers that a forward pass ends with."""

    def inputs(self, count: int) -> Any:
        """The first examples, where the module is."""
        return first(self.example, count, device_of(self.module))

    @cached_property
    def full(self) -> Masks:
        """The masks that keep everything."""
        return Masks.full({name: self.shapes[name] for name in self.weights.values()})

    @property
    def positions(self) -> dict[str, float]:
        """How often a layer's weights are used for one input: 1 for a Linear, the output pixels for a convolution, the
        steps for a recurrent layer."""
        flops = self.trace.flops
        return {layer: flops.get(name, 0) / (2 * prod(self.shapes[name])) for layer, name in self.weights.items()}

    @property
    def other_flops(self) -> float:
        """Of one input, in products that are of no prunable weight: of attention, and of what is left out."""
        of_weights = sum(self.trace.flops.get(name, 0) for name in self.weights.values())
        return self.trace.other_flops + sum(self.trace.flops.values()) - of_weights

    @property
    def units(self) -> dict[str, Units]:
        """What goes with the units of each layer, see `Graph`."""
        return self._graph.units

    @property
    def norms(self) -> dict[str, str]:
        """Layer -> the BatchNorm with a scale (gamma) that reads its output, and nothing else, where there is one."""
        return self._graph.norms

    @property
    def spared(self) -> dict[str, str]:
        """Layer without units that can be removed -> why."""
        return self._graph.spared

    @property
    def _graph(self) -> Graph:
        if self.module not in _graphs:
            _graphs[self.module] = read(self.module, self.weights, self.example)
        return _graphs[self.module]


@contextmanager
def watched(parts: Iterable[nn.Module], look: Callable[[nn.Module, Any, Any], None]) -> Iterator[None]:
    """While this is open, `look` sees these parts of a module, their inputs and their output whenever they run."""
    handles = [part.register_forward_hook(look) for part in parts]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
