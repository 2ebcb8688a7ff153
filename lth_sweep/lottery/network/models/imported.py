"""A user's own nn.Module, by import path."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import nn

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.common.registry import Imported
from lth_sweep.lottery.common.user_code import check_options, guarded
from lth_sweep.lottery.data.batch import call, described, device_of, first
from lth_sweep.lottery.network.models.base import Model


@dataclass(frozen=True)
class ImportedModel(Imported, Model):
    """`Name(**options)` of the user's module: an nn.Module that turns inputs [n, ...] into what the task asks for, such
    as logits [n, classes]; several inputs are the arguments of its forward, those in a dict by name. Its last Linear or
    convolution, in the order in which they are registered, must be the one that gives the logits."""

    def build(self, example: Any, outputs: int) -> nn.Module:
        module = self.make()
        if not isinstance(module, nn.Module):
            raise ConfigError(f"{self.path} must make a torch.nn.Module, but makes a {type(module).__name__}")
        training, some = module.training, first(example, 2, device_of(module))
        with guarded(self.path, f"forward on inputs of shape {described(some)}"), torch.no_grad():
            call(module.eval(), some)  # which makes what is lazy, too
        return module.train(training)

    @classmethod
    def of(cls, path: str, found: Any, options: Mapping[str, Any]) -> Self:
        if not callable(found) or (inspect.isclass(found) and not issubclass(found, nn.Module)):
            raise ConfigError(f"{path} cannot be used as a model: it must be a subclass of torch.nn.Module, or a "
                              "function that makes one")  # fmt: skip
        return cls(path, check_options(path, found, options))
