"""A masked network -> a physically smaller one that computes the same."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.data.batch import call
from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.removal import pruned, useless
from lth_sweep.lottery.network.state import State
from lth_sweep.lottery.network.structure import Network, watched
from lth_sweep.lottery.network.tracing import copied
from lth_sweep.lottery.network.units.parts import units_dim
from lth_sweep.lottery.network.units.removable import CHANGES, called, changes, random_inputs, same
from lth_sweep.lottery.network.units.resizing import Plan, shrink


def compact(module: nn.Module, masks: Masks, example: Any) -> nn.Module:
    """A copy of `module` under `masks` without the units that do nothing; for inputs like those of `example`, a
    batch, it computes the same in evaluation mode, up to float rounding.

    Gone are units with no way out (nothing reads them), again and again, as their own inputs may then have none; and
    units with no way in, whose constant output goes into the next layer's bias. Such a unit stays where that would not
    be exact: a constant that zero padding surrounds. A layer keeps one unit at least, so that where the masks cut a
    layer off, a network remains whose output is constant. Layers that `Network.spared` names stay whole. `module`
    itself does not change; the copy is on the CPU.

    Raises ConfigError where the network computes something else without these units.
    """
    shapes = {name: tensor.shape for name, tensor in module.state_dict().items()}
    for name in masks:
        if masks[name].shape != shapes.get(name):
            raise ConfigError(f"the masks are another network's: the mask of {name} has the shape "
                              f"{list(masks[name].shape)}, but it has {list(shapes.get(name, []))}")  # fmt: skip
    masked = copied(module).cpu().eval()
    State.of(module).masked(masks).load(masked)
    network = Network(module, example)
    inputs = _inputs(masked, network, example)

    gone, biases = useless(network, masks, masked, inputs)
    tensors = dict(masked.state_dict())
    for weight, amount in biases.items():
        bias = f"{weight.removesuffix('weight')}bias"
        tensors[bias] = amount + tensors.get(bias, 0)
    smaller = shrink(masked, Plan.without(network.units, gone), tensors)
    random = random_inputs(example)
    with torch.no_grad():
        if not same(called(masked, random), called(smaller, random)):
            if changes(masked, random):
                raise ConfigError(CHANGES)
            raise ConfigError(
                "without the units that do nothing the network computes something else; they have to stay"
            )
    return smaller.train(module.training)


def pruned_units(module: nn.Module, masks: Masks, example: Any) -> Plan:
    """What remains without the units of which nothing is left: no weight in or out, no bias, no normalisation.

    Only these may be missing while a network is trained: all their parameters are masked, so that they neither change
    nor matter. Depends on the network's structure and the masks, not on weights, so that a run that is interrupted goes
    on with the same network. Empty where a network cannot be made smaller: it is then trained at its full size.
    """
    if not any(_has_gap(mask) for mask in masks.weights.values()):
        return Plan()
    network = Network(module, example)
    plan = Plan.without(network.units, pruned(network, masks))
    return plan if not plan or _trains(network, plan) else Plan()


def _trains(network: Network, plan: Plan) -> bool:
    """Whether the smaller network runs in training, too: what is computed only then, such as auxiliary logits or the
    noise of a variational autoencoder, may need the units that are gone."""
    module = network.module
    smaller = shrink(module, plan, module.state_dict()).train()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            call(smaller, network.inputs(4))
    except Exception:  # of any kind, in the user's code
        return False
    return True


def _has_gap(mask: Tensor) -> bool:
    """Whether a row or a column is gone as a whole."""
    there = mask.flatten(2).any(2) if mask.ndim > 2 else mask
    return not (there.any(0).all() and there.any(1).all())


@torch.no_grad()
def _inputs(module: nn.Module, network: Network, example: Any) -> dict[str, Tensor]:
    """What the layers that read units and have a bias for it get when the network sees random inputs: the name of their
    weight -> [columns, ...]."""
    read = {part.parameter for units in network.units.values() for part in units.consumers}
    names = {layer: f"{prefix}.weight" if prefix else "weight" for prefix, layer in module.named_modules()}
    layers = {layer: name for layer, name in names.items() if name in read and _has_bias(layer)}
    seen: dict[str, list[Tensor]] = {name: [] for name in layers.values()}

    def remember(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen[layers[layer]].append(inputs[0].movedim(units_dim(layer), 0).flatten(1))

    with watched(layers, remember):
        call(module, random_inputs(example))
    return {layer: torch.cat(parts, 1) for layer, parts in seen.items() if parts}


def _has_bias(layer: nn.Module) -> bool:
    """Whether a constant that it reads can be a part of its bias."""
    plain = isinstance(layer, _ConvNd) and not isinstance(layer, _ConvTransposeNd) and layer.groups == 1
    return plain or isinstance(layer, nn.Linear)
