"""Everything that a training run carries from one step to the next."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lth_sweep.lottery.network.masks import Masks


@dataclass(frozen=True)
class State:
    """Of one replica, on the CPU. There is no generator state: randomness is derived from (seed, purpose, step)."""

    model: dict[str, Tensor]
    """Parameters and buffers as in `state_dict`, each once: one that layers share by the first of its names."""
    optimizer: dict[str, dict[str, Tensor]]
    """Parameter name -> what the optimizer keeps for it; empty at the start, and where nothing goes on from here."""

    @classmethod
    def of(cls, module: nn.Module) -> "State":
        names = _names(module)
        found = {name: tensor for name, tensor in module.state_dict().items() if names[name] == name}
        return cls({name: tensor.detach().cpu().clone() for name, tensor in found.items()}, {})

    def load(self, module: nn.Module) -> None:
        """Give a module these parameters and buffers."""
        module.load_state_dict({name: self.model[first] for name, first in _names(module).items()})

    def masked(self, masks: Masks) -> "State":
        """The same state with all weights that are not kept at zero."""
        model = {name: tensor * masks[name] if name in masks else tensor for name, tensor in self.model.items()}
        return State(model, self.optimizer)

    def scaled(self, masks: Masks) -> "State":
        """The same state with each layer's weights multiplied by sqrt(1 / k), k = the share of them that is kept."""
        model = dict(self.model)
        for name, mask in masks.prunable.items():
            model[name] = model[name] * math.sqrt(mask.numel() / max(1, masks.kept[name]))
        return State(model, self.optimizer)

    @property
    def is_finite(self) -> bool:
        return all(bool(torch.isfinite(tensor).all()) for tensor in self.model.values() if tensor.is_floating_point())

    def to_tensors(self) -> dict[str, Tensor]:
        """Flat, for a stage: "model/NAME" and "optimizer/NAME/KEY"."""
        optimizer = {
            f"optimizer/{name}/{key}": tensor for name, kept in self.optimizer.items() for key, tensor in kept.items()
        }
        return {f"model/{name}": tensor for name, tensor in self.model.items()} | optimizer

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> "State":
        model: dict[str, Tensor] = {}
        optimizer: dict[str, dict[str, Tensor]] = {}
        for path, tensor in tensors.items():
            kind, _, name = path.partition("/")
            if kind == "model":
                model[name] = tensor
            elif kind == "optimizer":
                parameter, _, key = name.rpartition("/")
                optimizer.setdefault(parameter, {})[key] = tensor
        return cls(model, optimizer)


def _names(module: nn.Module) -> dict[str, str]:
    """Each name in a module's `state_dict` -> the first name of the same tensor."""
    first: dict[int, str] = {}
    tensors = module.state_dict(keep_vars=True)
    return {name: first.setdefault(id(tensor), name) for name, tensor in tensors.items()}
