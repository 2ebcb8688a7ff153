"""Everything that a training run carries from one step to the next."""

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from lth_sweep.lottery.network.masks import Masks, pack, unpack
from lth_sweep.lottery.network.norms import tell

NONE = Masks({})
"""Masks nothing."""


@dataclass(frozen=True)
class State:
    """Of one replica, on the CPU. There is no generator state: randomness is derived from (seed, purpose, step)."""

    model: dict[str, Tensor]
    """Parameters and buffers as in `state_dict`, each once: one that layers share by the first of its names."""
    optimizer: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    """Parameter name -> what the optimizer keeps for it; empty at the start, and where nothing goes on from here."""
    masks: Masks = NONE
    """What is kept of the parameters that have one; a dense network has none."""
    average: dict[str, Tensor] = field(default_factory=dict)
    """What is evaluated in place of parameters and buffers of the same names, where a recipe takes averages."""
    numbers: dict[str, float] = field(default_factory=dict)
    """What else training goes on from, such as the number of steps in the average."""

    @classmethod
    def of(cls, module: nn.Module) -> "State":
        names = first_names(module)
        found = {name: tensor for name, tensor in module.state_dict().items() if names[name] == name}
        return cls({name: tensor.detach().cpu().clone() for name, tensor in found.items()})

    def load(self, module: nn.Module) -> None:
        """Give a module these parameters and buffers, and tell its norms which channels are left."""
        tell(module, self.masks.tensors)
        module.load_state_dict({name: self.model[first] for name, first in first_names(module).items()})

    def masked(self, masks: Masks) -> "State":
        """The same state under other masks, with all weights that are not kept at zero."""
        model, average = (
            {name: tensor * masks[name] if name in masks else tensor for name, tensor in part.items()}
            for part in (self.model, self.average)
        )
        return replace(self, model=model, average=average, masks=masks)

    @property
    def averaged(self) -> "State":
        """With averages, where there are some, in place of what they are of: the network that is evaluated."""
        return replace(self, model=self.model | self.average)

    @property
    def at_rest(self) -> "State":
        """The same network, with nothing that only training needs."""
        return replace(self, optimizer={}, numbers={})

    @property
    def fresh(self) -> "State":
        """The same weights, of which training starts anew."""
        return replace(self, optimizer={}, average={}, numbers={})

    def scaled(self) -> "State":
        """The same state with each layer's weights multiplied by sqrt(1 / k), k = the share of them that is kept."""
        model = dict(self.model)
        for name, mask in self.masks.weights.items():
            model[name] = model[name] * math.sqrt(mask.numel() / max(1, self.masks.kept[name]))
        return replace(self, model=model)

    @property
    def is_finite(self) -> bool:
        return all(bool(torch.isfinite(tensor).all()) for tensor in self.model.values() if tensor.is_floating_point())

    def to_tensors(self) -> dict[str, Tensor]:
        """Flat, for a stage: "model/NAME", "optimizer/NAME/KEY", "average/NAME", "number/NAME", and, eight entries to a
        byte, "mask/NAME" of weights and "other-mask/NAME"."""
        model = {f"model/{name}": tensor for name, tensor in self.model.items()}
        optimizer = {
            f"optimizer/{name}/{key}": tensor for name, kept in self.optimizer.items() for key, tensor in kept.items()
        }
        masks = {f"mask/{name}": pack(mask) for name, mask in self.masks.weights.items()}
        others = {f"other-mask/{name}": pack(mask) for name, mask in self.masks.others.items()}
        average = {f"average/{name}": tensor for name, tensor in self.average.items()}
        numbers = {f"number/{name}": torch.tensor(number, dtype=torch.float64) for name, number in self.numbers.items()}
        return model | optimizer | masks | others | average | numbers

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> "State":
        parts: dict[str, dict[str, Tensor]] = {}
        for path, tensor in tensors.items():
            kind, _, name = path.partition("/")
            parts.setdefault(kind, {})[name] = tensor
        model = parts.get("model", {})
        optimizer: dict[str, dict[str, Tensor]] = {}
        for name, tensor in parts.get("optimizer", {}).items():
            parameter, _, key = name.rpartition("/")
            optimizer.setdefault(parameter, {})[key] = tensor
        masks, others = (
            {name: unpack(bits, model[name].shape) for name, bits in parts.get(kind, {}).items()}
            for kind in ("mask", "other-mask")
        )
        biases = {name: mask for name, mask in masks.items() if mask.ndim == 1}  # in stages of early versions
        weights = {name: masks[name] for name in masks if name not in biases}
        numbers = {name: number.item() for name, number in parts.get("number", {}).items()}
        return cls(model, optimizer, Masks(weights, biases | others), parts.get("average", {}), numbers)


def first_names(module: nn.Module) -> dict[str, str]:
    """Each name in a module's `state_dict` -> the first name of the same tensor."""
    first: dict[int, str] = {}
    tensors = module.state_dict(keep_vars=True)
    return {name: first.setdefault(id(tensor), name) for name, tensor in tensors.items()}
