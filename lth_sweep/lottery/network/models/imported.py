"""A user's own nn.Module, by import path."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.common.registry import Imported
from lth_sweep.lottery.common.user_code import check_options, guarded
from lth_sweep.lottery.data.batch import call, described, device_of, first, leaves, mapped
from lth_sweep.lottery.network.models.base import Model


@dataclass(frozen=True)
class ImportedModel(Imported, Model):
    """`Name(**options)` of the user's module: an nn.Module that turns inputs [n, ...] into what the task asks for, such
    as logits [n, classes]; several inputs are the arguments of its forward, those in a dict by name, and it cannot
    change them."""

    def build(self, example: Any, outputs: int) -> nn.Module:
        module = self.make()
        if not isinstance(module, nn.Module):
            raise ConfigError(f"{self.path} must make a torch.nn.Module, but makes a {type(module).__name__}")
        training, some = module.training, first(example, 2, device_of(module))
        with guarded(self.path, f"forward on inputs of shape {described(some)}"), torch.no_grad():
            call(module.eval(), some)  # which makes what is lazy, too
        if any(tensor._version for tensor in leaves(some)):
            module.register_forward_pre_hook(_on_copies, with_kwargs=True)
        return module.train(training)

    @classmethod
    def of(cls, path: str, found: Any, options: Mapping[str, Any]) -> Self:
        if not callable(found) or (inspect.isclass(found) and not issubclass(found, nn.Module)):
            raise ConfigError(f"{path} cannot be used as a model: it must be a subclass of torch.nn.Module, or a "
                              "function that makes one")  # fmt: skip
        return cls(path, check_options(path, found, options))


def _on_copies(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """Before a forward that works on its inputs in place: those that it is given stay as they are."""
    return mapped(Tensor.clone, args), mapped(Tensor.clone, kwargs)
