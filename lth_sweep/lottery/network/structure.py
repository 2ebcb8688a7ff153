"""The structure of a network: which layers can be pruned, and what belongs to a unit."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from itertools import count
from math import prod
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn

from lth_sweep.lottery.data.batch import device_of, first
from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.prunable import DEFAULT, Prunable, find
from lth_sweep.lottery.network.tracing import trace
from lth_sweep.lottery.network.units.graph import read
from lth_sweep.lottery.network.units.parts import Graph, Units

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
    def inputs_dim(self) -> dict[str, int]:
        """The dimension of each layer's weight along which it is multiplied with its inputs: 1 in [out, in]."""
        return {layer: self.trace.inputs_dim.get(name, 1) for layer, name in self.weights.items()}

    @property
    def other_flops(self) -> float:
        """Of one input, in products that are of no prunable weight: those of attention, and of what is left out."""
        of_weights = sum(self.trace.flops.get(name, 0) for name in self.weights.values())
        return self.trace.other_flops + sum(self.trace.flops.values()) - of_weights

    @cached_property
    def units(self) -> dict[str, Units]:
        """What goes together with the units of each layer, by the first of the layers that can be pruned, and a number
        where it has several kinds of units, as where its output is split: "a", "a#2". Where no such layer makes them,
        by the name of the first parameter that does.

        The network has been seen to compute the same without them.
        """
        found: dict[str, Units] = {}
        layer_of = {name: layer for layer, name in self.weights.items()}
        for units in self._graph.units:
            layers = {layer_of[part.parameter]: part for part in units.rows if part.parameter in layer_of}
            layers = {layer: layers[layer] for layer in self.weights if layer in layers}
            first = next(iter(layers), units.rows[0].parameter)
            names = (first if number == 1 else f"{first}#{number}" for number in count(1))
            found[next(name for name in names if name not in found)] = replace(units, layers=layers)
        return found

    @property
    def norms(self) -> dict[str, str]:
        """Layer -> the BatchNorm with a scale (gamma) that reads its output, and nothing else, where there is one."""
        norms = self._graph.norms
        return {layer: norms[name] for layer, name in self.weights.items() if name in norms}

    @property
    def spared(self) -> dict[str, str]:
        """Layer without units that can be removed -> why."""
        removable = {layer for units in self.units.values() for layer in units.layers}
        reasons = self._graph.spared
        unknown = reasons.get("", "it is used as a parameter of its own, and not by a layer")
        return {layer: reasons.get(name, unknown) for layer, name in self.weights.items() if layer not in removable}

    @property
    def _graph(self) -> Graph:
        if self.module not in _graphs:
            _graphs[self.module] = read(self.module, self.example)
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
