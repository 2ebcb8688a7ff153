"""Edge-popup: learn which weights of a random network to keep (Ramanujan et al. 2020, section 3).

Weights stay at their initial values. Each has a score; the forward pass keeps those with the highest |score| of each
layer, and the gradient passes straight through that selection to the scores. There are no biases, and BatchNorm has no
scale and shift.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lth_sweep.lottery.common.identity import derive
from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.state import State
from lth_sweep.lottery.network.tracing import copied
from lth_sweep.lottery.pruning.selection import lowest
from lth_sweep.lottery.training.mask_rules import MaskRule

WITH_BIAS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""Layers whose biases are left out."""


class ScoredNetwork(nn.Module):
    """A network whose only parameters are the scores of its weights; all that was a parameter is a buffer."""

    def __init__(self, inner: nn.Module, removed: Mapping[str, int]) -> None:
        """removed: how many entries each weight goes without, by its name; other weights keep all of theirs."""
        super().__init__()
        self.inner = inner
        self.removed = removed
        self.frozen = {name for name, parameter in inner.named_parameters() if not parameter.requires_grad}
        self.scores = nn.ParameterList(torch.empty_like(inner.get_parameter(name)) for name in removed)
        self.shared: dict[str, str] = {}
        """Further names of parameters that several layers share -> the first of their names."""
        first: dict[nn.Parameter, str] = {}
        for prefix, module in inner.named_modules():
            for name, parameter in list(module.named_parameters(recurse=False)):
                path = f"{prefix}.{name}" if prefix else name
                delattr(module, name)
                module.register_buffer(name, parameter.detach(), persistent=parameter not in first)
                if first.setdefault(parameter, path) != path:
                    self.shared[path] = first[parameter]

    def forward(self, *inputs: Any, **named: Any) -> Any:
        weights = {}
        for (name, count), score in zip(self.removed.items(), self.scores, strict=True):
            size = score.abs()
            # The value is the selection, exactly 0 or 1; the gradient is that of |score|.
            weights[name] = self.inner.get_buffer(name) * (kept(size.detach(), count) + (size - size.detach()))
        for name, original in self.shared.items():
            weights[name] = weights[original] if original in weights else self.inner.get_buffer(original)
        return functional_call(self.inner, weights, inputs, named)


@dataclass(frozen=True)
class Supermask(MaskRule):
    """Trains the scores; the masks are those of its end."""

    removed: Mapping[str, int]
    """How many weights each layer goes without."""
    weights: Mapping[str, str]
    """Each layer that can be pruned -> the name of its weight."""
    scaled: bool
    """Whether the weights of a layer are multiplied by sqrt(1 / k), k = the share of them that is kept."""

    finds: ClassVar[bool] = True

    @property
    def kind(self) -> str:
        return "edge-popup"

    def module(self, network: nn.Module) -> nn.Module:
        removed = {self.weights[layer]: count for layer, count in self.removed.items()}
        return ScoredNetwork(copied(network), removed)

    def start(self, module: nn.Module, state: State, seed: int) -> State:
        """From initial weights; scores from Kaiming uniform with a = sqrt(5), each layer's from a stream of its own."""
        model = {f"inner.{name}": tensor.clone() for name, tensor in state.model.items()}
        learnt = {name: tensor for name, tensor in model.items() if name.partition(".")[2] not in frozen_of(module)}
        for name, layer in inner_of(module).named_modules():
            is_norm = isinstance(layer, nn.modules.batchnorm._BatchNorm)
            if (is_norm or isinstance(layer, WITH_BIAS)) and (bias := learnt.get(f"inner.{name}.bias")) is not None:
                bias.zero_()
            if is_norm and (scale := learnt.get(f"inner.{name}.weight")) is not None:
                scale.fill_(1)
        for number, (layer, count) in enumerate(self.removed.items()):
            weight = model[f"inner.{self.weights[layer]}"]
            if self.scaled:
                weight *= math.sqrt(weight.numel() / (weight.numel() - count))
            generator = torch.Generator().manual_seed(derive(seed, "edge-popup", layer))
            model[f"scores.{number}"] = nn.init.kaiming_uniform_(
                torch.empty_like(weight), a=math.sqrt(5), generator=generator
            )
        return State(model)

    def end(self, module: nn.Module, state: State) -> State:
        """The network that the scores select: its weights, those that are not kept at zero, and its masks."""
        inner = {name.partition(".")[2]: tensor for name, tensor in state.model.items() if name.startswith("inner.")}
        weights = {name: torch.ones(inner[name].shape, dtype=torch.bool) for name in self.weights.values()}
        for number, (layer, count) in enumerate(self.removed.items()):
            weights[self.weights[layer]] = kept(state.model[f"scores.{number}"].abs(), count).bool()
        biases = {
            f"{name}.bias": torch.zeros(bias.shape, dtype=torch.bool)
            for name, layer in inner_of(module).named_modules()
            if isinstance(layer, WITH_BIAS) and f"{name}.bias" not in frozen_of(module)
            and (bias := inner.get(f"{name}.bias")) is not None
        }  # fmt: skip
        return State(inner).masked(Masks(weights, biases))


def frozen_of(module: nn.Module) -> set[str]:
    """The parameters that stay as they are, whatever is scored."""
    assert isinstance(module, ScoredNetwork)
    return module.frozen


def inner_of(module: nn.Module) -> nn.Module:
    """The network whose weights are scored."""
    assert isinstance(module, ScoredNetwork)
    return module.inner


def kept(size: Tensor, count: int) -> Tensor:
    """1 for each entry but the `count` lowest, which are 0."""
    flat = size.flatten()
    return (~lowest(flat, torch.ones_like(flat, dtype=torch.bool), count)).view_as(size).to(size.dtype)
