"""The structure of a network: which layers can be pruned, and what belongs to a unit."""

import warnings
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from lth_sweep.lottery.errors import ConfigError

PRUNABLE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class UnitEntries:
    """The entries of one parameter, along `dim`, that go when units of a layer go: row u of `indices` for unit u."""

    parameter: str
    dim: int
    indices: Tensor


class Network:
    """A module's structure, without any particular weights."""

    def __init__(self, module: nn.Module, shape: tuple[int, ...]) -> None:
        self.module = module
        self.shape = shape
        self.layers = {name: layer for name, layer in module.named_modules() if isinstance(layer, PRUNABLE)}
        if not self.layers:
            raise ConfigError(f"{type(module).__name__} has no layer that can be pruned (Linear or convolution)")
        self.output = list(self.layers)[-1]
        self.shapes = {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}

    @property
    def weights(self) -> list[str]:
        """Names of the prunable parameters."""
        return [f"{layer}.weight" for layer in self.layers]

    @cached_property
    def units(self) -> dict[str, list[UnitEntries]]:
        """Per layer whose units can be removed: what goes with them. From Torch-Pruning's dependency graph.

        Left out: the output layer, and layers whose outputs are added to others' (a residual addition), since removing
        them would touch more than one layer (Li et al. 2016, section 3.3).
        """
        try:
            from torch_pruning import DependencyGraph
        except ModuleNotFoundError as error:
            raise ConfigError("granularity unit needs the package torch-pruning: pip install torch-pruning") from error

        names = {module: name for name, module in self.module.named_modules()}
        was_training = self.module.training
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = DependencyGraph().build_dependency(self.module.eval(), torch.zeros(2, *self.shape))
        self.module.train(was_training)
        units = {}
        for layer, module in self.layers.items():
            if layer == self.output:
                continue
            count = module.weight.shape[0]
            group = graph.get_pruning_group(module, graph.get_pruner_of_module(module).prune_out_channels, list(range(count)))
            units[layer] = group
        return {layer: entries for layer, group in units.items() if (entries := self._entries(layer, group, names))}

    def _entries(self, layer: str, group: object, names: dict[nn.Module, str]) -> list[UnitEntries] | None:
        raise NotImplementedError
