"""ReLU accounting: units that do nothing on the data, or have no way in or out, and the density without them.

A ReLU unit that is never active passes nothing forward and no gradient back: in effect it is pruned, with all its
weights, in dense networks too.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lth_sweep.lottery.data.batch import call, leaves
from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.removal import connections, reached
from lth_sweep.lottery.network.structure import Network, watched
from lth_sweep.lottery.network.tracing import evaluating
from lth_sweep.lottery.network.units.parts import units_dim

RARE = 0.01
"""A unit that is active on fewer than this share of the examples is rarely active."""

UNIT_BY_UNIT = ("BatchNorm", "Pool")
"""In the names of the operations that may lie between a layer and its ReLU."""


@dataclass(frozen=True)
class Activity:
    """Which units of each layer do nothing, bool [units]; layers of which that cannot be told are left out."""

    cut: dict[str, Tensor]
    """No path of kept weights leads to it from the input, or from it to the output. Not told where its units are added
    to another layer's, or cannot be told apart."""
    dead: dict[str, Tensor]
    """Of those that are not cut, as are `rare`: active on no example; in a convolution, at no position of any. Told
    where the layer has a ReLU of its own."""
    rare: dict[str, Tensor]
    """Active, but on fewer than 1% of the examples."""
    left: Masks
    """Weights kept, without those of cut and dead units, and of those that are cut off without these."""

    @property
    def effective_density(self) -> float:
        """Of all prunable weights. An upper bound where `cut` or `dead` is not known of all hidden layers."""
        return self.left.density

    @property
    def metrics(self) -> dict[str, float]:
        """Totals; cut_units, dead_units and rare_units only where they are known of at least one layer."""
        kinds = {"cut_units": self.cut, "dead_units": self.dead, "rare_units": self.rare}
        totals = {kind: sum(int(units.sum()) for units in layers.values()) for kind, layers in kinds.items() if layers}
        return {"effective_density": self.effective_density, **totals}


@dataclass
class Count:
    """On how many examples each unit of a layer was active, int64 [units], and on how many it was looked at."""

    active: Tensor
    examples: int = 0


@contextmanager
def counted(network: Network) -> Iterator[dict[str, Count]]:
    """While this is open, count activity in every forward pass of the network: at no pass of its own, and nothing
    under torch.compile. Yields the counts, by layer."""
    counts: dict[str, Count] = {}
    layers = {network.module.get_submodule(place): layer for layer, place in relu_inputs(network).items()}

    def count(place: nn.Module, inputs: Any, output: Tensor) -> None:
        layer = layers[place]
        highest = output.detach().movedim(units_dim(network.layers[layer]), 1)
        if highest.ndim > 2:
            highest = highest.flatten(2).amax(2)
        active = (~(highest <= 0)).sum(0)  # so that NaN, of which nothing is known, is not called dead
        known = counts.setdefault(layer, Count(torch.zeros_like(active)))
        known.active += active
        known.examples += len(output)

    with watched(layers, count):
        yield counts


def activity(network: Network, masks: Masks, counts: Mapping[str, Count]) -> Activity:
    """The accounting of a network under `masks` (full ones for a dense network) with the `counts` of its activity."""
    cut = _cut(network, masks)
    dead, rare = {}, {}
    alive = dict(masks.weights)
    for layer, count in counts.items():
        active, weight = count.active.cpu(), network.weights[layer]
        there = ~cut[layer] if layer in cut else torch.ones_like(active, dtype=torch.bool)
        dead[layer] = there & (active == 0)
        rare[layer] = there & (active > 0) & (active < RARE * count.examples)
        alive[weight] = alive[weight].index_fill(0, dead[layer].nonzero().flatten(), False)
    for name, gone in _cut_units(network, Masks(alive)).items():
        for part in network.units[name].parts:
            if part.parameter in alive:
                alive[part.parameter] = alive[part.parameter].index_fill(part.dim, part.entries(gone), False)
    return Activity(cut, dead, rare, Masks(alive))


def _cut(network: Network, masks: Masks) -> dict[str, Tensor]:
    """Bool [rows] for each layer with units of its own: those with no way in, or none out."""
    found: dict[str, Tensor] = {}
    for name, gone in _cut_units(network, masks).items():
        layer, rows = next(iter(network.units[name].layers.items()))
        found.setdefault(layer, torch.zeros(rows.size, dtype=torch.bool))[rows.entries(gone)] = True
    return found


def _cut_units(network: Network, masks: Masks) -> dict[str, Tensor]:
    """Bool [units] for each kind of them that is not coupled."""
    units = {name: units for name, units in network.units.items() if units.layers and not units.coupled}
    connected = connections(network, masks)
    ways_in, ways_out = (reached(units, connected, forwards) for forwards in (True, False))
    return {name: ~(ways_in[name] & ways_out[name]) for name in units}


def relu_inputs(network: Network) -> dict[str, str]:
    """Layer -> the module whose output is what a ReLU makes of the layer's units: the layer itself, or the BatchNorm
    or pooling after it.

    Read off the graph that autograd records, so that nn.ReLU and functional ones are both found. Only where nothing
    but the ReLU reads the layer's output, and each module on the way runs once in a forward pass. Not found, on
    purpose: ReLU after an addition or a flatten (it acts on other units than the layer's), functional normalisation,
    other activations, and clamp.
    """
    module = network.module
    names = {
        part: name
        for name, part in module.named_modules()
        if not list(part.children()) and not isinstance(part, torch.jit.ScriptModule)  # which takes no hooks
    }
    outputs: dict[Any, str] = {}
    calls: Counter[str] = Counter()

    def note(part: nn.Module, inputs: Any, output: Any) -> None:
        calls[names[part]] += 1
        if isinstance(output, Tensor) and output.grad_fn is not None:
            outputs.setdefault(output.grad_fn, names[part])

    with torch.enable_grad(), evaluating(module), watched(names, note):
        # Not through __call__, which may be compiled: hooks are not seen there.
        output = call(module.forward, network.inputs(2))

    readers = _readers(dict.fromkeys(part.grad_fn for part in leaves(output) if part.grad_fn))
    found: dict[str, str] = {}
    for relu in [node for node in readers if node.name().startswith("ReluBackward")]:
        way = []
        node = relu.next_functions[0][0]
        while node in outputs and readers[node] == calls[outputs[node]] == 1:
            way.append(node)
            if not any(kind in node.name() for kind in UNIT_BY_UNIT):
                break
            node = node.next_functions[0][0]
        pooled = any("Pool" in node.name() for node in way)
        uses = network.uses.get(outputs[way[-1]], []) if way else []  # of a shared weight no use tells what it does
        # Where a Linear has positions, its units lie in the last dimension, and pooling would mix them.
        if len(uses) == 1 and not (pooled and isinstance(uses[0], nn.Linear)):
            found[outputs[way[-1]]] = outputs[way[0]]
    return found


def _readers(ends: Iterable[Any]) -> Counter[Any]:
    """Every node of an autograd graph, with the number of nodes that read its result, from its ends on."""
    readers: Counter[Any] = Counter(dict.fromkeys(ends, 0))
    waiting = list(readers)
    while waiting:
        for node, _ in waiting.pop().next_functions:
            if node is not None:
                if node not in readers:
                    waiting.append(node)
                readers[node] += 1
    return readers
