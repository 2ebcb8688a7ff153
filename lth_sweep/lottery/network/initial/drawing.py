"""Which parameters of a network are drawn, and which stay as its constructor or a file gives them."""

import random
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from lth_sweep.lottery.common.identity import derive
from lth_sweep.lottery.network.initial.initialization import Init
from lth_sweep.lottery.network.state import State


def loaded(build: Callable[[], nn.Module]) -> Mapping[str, Tensor]:
    """The parameters and buffers that a constructor loads: built twice, under two seeds, what differs was drawn, and
    what is equal was loaded, or is a constant, such as the ones of a norm, which is left out here."""
    models = []
    for seed in (0, 1):
        with seeded(seed):
            models.append(State.of(build()).model)
    one, other = models
    return {
        name: tensor for name, tensor in one.items()
        if name in other and torch.equal(tensor, other[name]) and not _is_constant(tensor)
    }  # fmt: skip


def trained(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that are not frozen, by name."""
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


def draw(
    module: nn.Module, init: Init, seed: int, purpose: tuple[str, ...], given: Collection[str], own: bool, resized: bool
) -> None:
    """Turn what a constructor has made into initial weights, in place.

    `given`: the parameters that the constructor, or the file of `init: pretrained`, has loaded. `own`: whether the
    network is the user's own, whose constructor has drawn what it wanted to draw, under a seed of this replica.

    - Parameters that do not require gradients stay as they are, always.
    - An `init` that is a scheme (kaiming-normal, ...) draws all others.
    - Otherwise what is given stays, and what is not is drawn by its layer; in the user's own network it has been drawn.
    - Another draw for some `purpose`, such as the control reinit, is one of everything that is trained: what is given
      is drawn, too. A network that is `resized` is drawn for its own shapes.

    Each layer draws from a stream of its own, so that another layer more changes none of them. What is given to a layer
    that cannot draw (a parameter of the user's own layer) is drawn normal, with the mean and deviation that it has.
    Running statistics are no parameters: training changes them, in frozen layers, too, unless the network keeps such a
    layer in evaluation mode.
    """
    parameters = trained(module)

    def is_drawn(name: str) -> bool:
        if init.redraws or resized:
            return True
        return bool(purpose) or init.is_fresh(name) if name in given else not own

    chosen = {parameter for name, parameter in parameters.items() if is_drawn(name)}
    replaced = chosen & {parameter for name, parameter in parameters.items() if name in given}
    for name, layer in module.named_modules():
        if not chosen.isdisjoint(layer.parameters(recurse=False)):
            _draw_layer(layer, init, derive(seed, "init", *purpose, name), chosen, replaced)


@torch.no_grad()
def _draw_layer(
    layer: nn.Module, init: Init, seed: int, chosen: Collection[nn.Parameter], replaced: Collection[nn.Parameter]
) -> None:
    """Draw those of a layer's parameters that are chosen. `replaced`: those that must not keep their values."""
    before = {parameter: parameter.clone() for parameter in layer.parameters()
              if parameter not in chosen or parameter in replaced}  # fmt: skip
    torch.manual_seed(seed)
    init.draw(layer)
    for parameter, value in before.items():
        if parameter not in chosen:
            parameter.copy_(value)
    for parameter in layer.parameters(recurse=False):
        if parameter in replaced and torch.equal(parameter, before[parameter]) and not _is_constant(parameter):
            parameter.normal_(float(parameter.mean()), float(parameter.std()))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """While this is open, what a constructor draws (with PyTorch, NumPy or Python) comes from this seed."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def _is_constant(tensor: Tensor) -> bool:
    return tensor.numel() == 0 or bool((tensor == tensor.flatten()[0]).all())
