"""ReLU accounting: units that do nothing on the data, or have no way in or out, and the density without them.

A ReLU unit that is never active passes nothing forward and no gradient back: in effect it is pruned, with all its
weights, in dense networks too.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.data.batch import call
from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.removal import connections, reached
from lth_sweep.lottery.network.structure import Network

RARE = 0.01
"""A unit that is active on fewer than this share of the examples is rarely active."""

UNIT_BY_UNIT = ("BatchNorm", "Pool")
"""In the names of the operations that may lie between a layer and its ReLU."""


@dataclass(frozen=True)
class LayerActivity:
    """The units of one layer. Each is counted once: as cut, else as dead, else as rare, if any of these."""

    units: int
    cut: int | None
    """No path of kept weights leads to it from the input, or from it to the output. None where its units are added to
    another layer's, or their readers are not known."""
    dead: int | None
    """Active on no example; in a convolution, at no position of any. None where the layer has no ReLU of its own."""
    rare: int | None
    """Active, but on fewer than 1% of the examples."""
    effective_density: float
    """Weights kept, without those of cut and dead units / all."""


@dataclass(frozen=True)
class Activity:
    effective_density: float
    """Of all prunable weights. An upper bound where `cut` or `dead` is not known of all hidden layers."""
    layers: dict[str, LayerActivity]

    @property
    def metrics(self) -> dict[str, float]:
        """Totals; cut_units, dead_units and rare_units only where they are known of at least one layer."""
        totals: dict[str, float] = {"effective_density": self.effective_density}
        for kind in ("cut", "dead", "rare"):
            known = [count for layer in self.layers.values() if (count := getattr(layer, kind)) is not None]
            if known:
                totals[f"{kind}_units"] = sum(known)
        return totals

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


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
    handles = [
        network.module.get_submodule(place).register_forward_hook(_counter(counts, layer, network.layers[layer]))
        for layer, place in relu_inputs(network).items()
    ]
    try:
        yield counts
    finally:
        for handle in handles:
            handle.remove()


def _counter(counts: dict[str, Count], name: str, layer: nn.Module) -> Callable[[nn.Module, Any, Tensor], None]:
    unit_dim = -1 if isinstance(layer, nn.Linear) else 1

    def count(module: nn.Module, inputs: Any, output: Tensor) -> None:
        highest = output.detach().movedim(unit_dim, 1)
        if highest.ndim > 2:
            highest = highest.flatten(2).amax(2)
        active = (~(highest <= 0)).sum(0)  # so that NaN, of which nothing is known, is not called dead
        if name in counts:
            counts[name].active += active
        else:
            counts[name] = Count(active)
        counts[name].examples += len(output)

    return count


@dataclass(frozen=True)
class Idle:
    """Which units of each layer do nothing, bool [units]; layers of which that cannot be told are left out."""

    cut: dict[str, Tensor]
    dead: dict[str, Tensor]
    """Of those that are not cut, as are `rare`."""
    rare: dict[str, Tensor]


def idle(network: Network, masks: Masks, counts: Mapping[str, Count]) -> Idle:
    """The units that do nothing in a network under `masks` with the `counts` of its activity."""
    found = Idle(_cut(network, masks), {}, {})
    for layer, count in counts.items():
        active = count.active.cpu()
        there = ~found.cut[layer] if layer in found.cut else torch.ones_like(active, dtype=torch.bool)
        found.dead[layer] = there & (active == 0)
        found.rare[layer] = there & (active > 0) & (active < RARE * count.examples)
    return found


def activity(network: Network, masks: Masks, counts: Mapping[str, Count]) -> Activity:
    """The accounting of a network under `masks` (full ones for a dense network) with the `counts` of its activity."""
    idle_units = idle(network, masks, counts)
    alive = dict(masks.prunable)
    for layer, dead in idle_units.dead.items():
        alive[f"{layer}.weight"] = alive[f"{layer}.weight"].index_fill(0, dead.nonzero().flatten(), False)
    for layer, gone in _cut(network, Masks(alive)).items():
        for part in network.units[layer].parts:
            for name in part.parameters:
                if name in alive:
                    alive[name] = alive[name].index_fill(part.dim, part.entries(gone), False)
    left = Masks(alive)

    def number(units: dict[str, Tensor], layer: str) -> int | None:
        return int(units[layer].sum()) if layer in units else None

    layers = {
        layer: LayerActivity(
            masks[f"{layer}.weight"].shape[0],
            number(idle_units.cut, layer),
            number(idle_units.dead, layer),
            number(idle_units.rare, layer),
            left.kept[f"{layer}.weight"] / masks[f"{layer}.weight"].numel(),
        )
        for layer in network.layers
    }
    return Activity(left.density, layers)


def _cut(network: Network, masks: Masks) -> dict[str, Tensor]:
    """Bool [units] for each layer with units of its own: those with no way in, or none out. Nothing where it cannot be
    told which units those are, for only pruning units depends on it."""
    try:
        units = {layer: units for layer, units in network.units.items() if not units.coupled}
    except ConfigError:
        return {}
    connected = connections(network, masks)
    ways_in, ways_out = (reached(units, connected, forwards) for forwards in (True, False))
    return {layer: ~(ways_in[layer] & ways_out[layer]) for layer in units}


def relu_inputs(network: Network) -> dict[str, str]:
    """Layer -> the module whose output is what a ReLU makes of the layer's units: the layer itself, or the BatchNorm
    or pooling after it.

    Read off the graph that autograd records, so that nn.ReLU and functional ones are both found. Only where nothing
    but the ReLU reads the layer's output, and each module on the way runs once in a forward pass. Not found, on
    purpose: ReLU after an addition or a flatten (it acts on other units than the layer's), functional normalisation,
    other activations, and clamp.
    """
    module = network.module
    names = {part: name for name, part in module.named_modules() if not list(part.children())}
    outputs: dict[Any, str] = {}
    calls: Counter[str] = Counter()

    def note(part: nn.Module, inputs: Any, output: Any) -> None:
        calls[names[part]] += 1
        if isinstance(output, Tensor) and output.grad_fn is not None:
            outputs.setdefault(output.grad_fn, names[part])

    handles = [part.register_forward_hook(note) for part in names]
    training = module.training
    try:
        with torch.enable_grad():
            # Not through __call__, which may be compiled: hooks are not seen there.
            logits = call(module.eval().forward, network.inputs(2))
    finally:
        module.train(training)
        for handle in handles:
            handle.remove()

    readers = _readers(logits.grad_fn)
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
        # Where a Linear has positions, its units lie in the last dimension, and pooling would mix them.
        if way and (layer := network.layers.get(outputs[way[-1]])) and not (pooled and isinstance(layer, nn.Linear)):
            found[outputs[way[-1]]] = outputs[way[0]]
    return found


def _readers(end: Any) -> Counter[Any]:
    """Every node of an autograd graph, with the number of nodes that read its result; the end itself has none."""
    readers: Counter[Any] = Counter({end: 0})
    waiting = [end]
    while waiting:
        for node, _ in waiting.pop().next_functions:
            if node is not None:
                if node not in readers:
                    waiting.append(node)
                readers[node] += 1
    return readers
