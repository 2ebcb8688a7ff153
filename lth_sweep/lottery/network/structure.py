"""The structure of a network: which layers can be pruned, and what belongs to a unit."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.data.batch import call, device_of, first
from lth_sweep.lottery.network.masks import Masks

PRUNABLE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class UnitEntries:
    """The entries of one parameter, along `dim`, that go when units of a layer go: row u of `indices` for unit u."""

    parameter: str
    dim: int
    indices: Tensor

    @property
    def layer(self) -> str:
        return self.parameter.rpartition(".")[0]


class Network:
    """A module's structure, without any particular weights."""

    def __init__(self, module: nn.Module, example: Any) -> None:
        """`example`: a batch of inputs, of which the first two are looked at; their values do not matter."""
        self.module = module
        self.example = example
        self.layers = {name: layer for name, layer in module.named_modules() if isinstance(layer, PRUNABLE)}
        if not self.layers:
            raise ConfigError(f"{type(module).__name__} has no layer that can be pruned (Linear or convolution)")
        self.output = list(self.layers)[-1]
        self.shapes = {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}

    def inputs(self, count: int) -> Any:
        """The first examples, where the module is."""
        return first(self.example, count, device_of(self.module))

    @property
    def weights(self) -> list[str]:
        """Names of the prunable parameters."""
        return [f"{layer}.weight" for layer in self.layers]

    @property
    def full(self) -> Masks:
        """The masks that keep everything."""
        return Masks.full({name: self.shapes[name] for name in self.weights})

    @cached_property
    def positions(self) -> dict[str, int]:
        """How often a layer's weights are used for one input: 1 for a Linear, the output pixels for a convolution."""
        counts = dict.fromkeys(self.layers, 0)

        def counter(layer: str) -> Callable[[nn.Module, Any, Tensor], None]:
            def count(module: nn.Module, inputs: Any, output: Tensor) -> None:
                counts[layer] += output[0].numel() // self.shapes[f"{layer}.weight"][0]

            return count

        handles = [module.register_forward_hook(counter(layer)) for layer, module in self.layers.items()]
        training = self.module.training
        with torch.no_grad():
            call(self.module.eval(), self.inputs(1))
        self.module.train(training)
        for handle in handles:
            handle.remove()
        return counts

    @cached_property
    def units(self) -> dict[str, list[UnitEntries]]:
        """Per layer whose units can be removed: what goes with them. From Torch-Pruning's dependency graph.

        Left out: the output layer, and every layer that shares its units with another, as where the outputs of two
        layers are added (Li et al. 2016, section 3.3, prune only what touches no addition).
        """
        names = {module: name for name, module in self.module.named_modules()}
        entries = {layer: _group_entries(layer, group, names) for layer, group in self.groups.items()}
        return {layer: found for layer, found in entries.items() if found and layer != self.output}

    @cached_property
    def coupled_units(self) -> dict[str, list[UnitEntries]]:
        """Like `units`, and also those that several layers share, under the name of the first of these: unit u of one
        goes with unit u of all. Left out are only those of the output layer and of convolutions in groups."""
        names = {module: name for name, module in self.module.named_modules()}
        found: dict[str, list[UnitEntries]] = {}
        seen: set[str] = set()
        for layer, group in self.groups.items():
            entries = _group_entries(layer, group, names, coupled=True) if layer not in seen else []
            layers = {entry.layer for entry in entries if entry.dim == 0} & self.layers.keys()
            seen |= layers
            if entries and self.output not in layers:
                found[layer] = entries
        return found

    @cached_property
    def norms(self) -> dict[str, str]:
        """Layer -> the BatchNorm with a scale (gamma) that reads its output directly, where there is one."""
        names = {module: name for name, module in self.module.named_modules()}
        found = {}
        for layer, group in self.groups.items():
            for reader in group[0].dep.target.outputs:
                if isinstance(reader.module, nn.modules.batchnorm._BatchNorm) and reader.module.affine:
                    found[layer] = names[reader.module]
        return found

    @cached_property
    def groups(self) -> dict[str, Any]:
        """Per layer: Torch-Pruning's group of all that depends on its units, the layer itself among it."""
        try:
            from torch_pruning import DependencyGraph
        except ModuleNotFoundError as error:
            raise ConfigError("granularity unit needs the package torch-pruning: pip install torch-pruning") from error

        training = self.module.training
        with warnings.catch_warnings(), torch.enable_grad():  # the graph is read off autograd's
            warnings.simplefilter("ignore")
            try:
                graph = DependencyGraph().build_dependency(self.module.eval(), self.inputs(2), forward_fn=call)
                return {layer: _group(graph, module) for layer, module in self.layers.items()}
            except Exception as error:  # the user's network, which may do what a graph cannot be traced through
                raise ConfigError(f"cannot tell which units of {type(self.module).__name__} belong together: "
                                  f"{type(error).__name__}: {error}") from error  # fmt: skip
            finally:
                self.module.train(training)


def _group(graph: Any, module: nn.Module) -> Any:
    units = list(range(module.weight.shape[0]))  # type: ignore[index]
    return graph.get_pruning_group(module, graph.get_pruner_of_module(module).prune_out_channels, units)


def is_depthwise(module: nn.Module) -> bool:
    """Whether each unit of a convolution reads the one input channel of its own number."""
    groups = getattr(module, "groups", 1)
    return groups > 1 and groups == module.in_channels == module.out_channels


def _group_entries(layer: str, group: Any, names: dict[nn.Module, str], coupled: bool = False) -> list[UnitEntries]:
    """What goes with the units of `layer`; nothing where another layer would lose units too, unless `coupled`."""
    entries = []
    for item in group:
        module = item.dep.target.module
        name = names.get(module)
        if name is None:  # an operation without parameters, such as an activation
            continue
        removes_outputs = item.dep.handler.__name__ == "prune_out_channels"
        if isinstance(module, PRUNABLE):
            if getattr(module, "groups", 1) != 1 and not (coupled and is_depthwise(module)):
                return []
            if not coupled and removes_outputs != (name == layer):
                return []
        elif not isinstance(module, nn.modules.batchnorm._BatchNorm):
            return []
        indices = torch.tensor(item.idxs)[torch.tensor(item.root_idxs).argsort(stable=True)]
        indices = indices.view(len(set(item.root_idxs)), -1)
        dim = 0 if removes_outputs else 1
        parameters = ["weight"] if dim == 1 else ["weight", "bias"]
        entries += [
            UnitEntries(f"{name}.{parameter}", dim, indices)
            for parameter in parameters
            if getattr(module, parameter) is not None
        ]
    return entries
