"""Which entries of which parameters go together when a unit goes; read from Torch-Pruning's dependency graph."""

import warnings
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.data.batch import call

PRUNABLE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class Part:
    """The rows (dim 0) or columns (dim 1) of a layer that belong to units: to unit u those in row u of `indices`."""

    layer: str
    role: Literal["producer", "depthwise", "norm", "consumer"]
    """Computes the units; works on each by itself on the way, as depthwise convolutions and BatchNorm do; or reads."""
    size: int
    """All rows or columns of the layer."""
    indices: Tensor
    parameters: tuple[str, ...]
    """Those of the layer that have these rows or columns, by their full names."""

    @property
    def dim(self) -> int:
        return 1 if self.role == "consumer" else 0

    def units(self, entries: Tensor) -> Tensor:
        """Bool [units]: those any of whose entries are true in `entries`, a bool for each row or column."""
        return entries[self.indices].any(1)

    def entries(self, units: Tensor) -> Tensor:
        """The rows or columns of these units (a bool for each)."""
        return self.indices[units].flatten()


@dataclass(frozen=True)
class Units:
    """The units of a layer, or those that several layers share: unit u of one goes with unit u of all."""

    parts: tuple[Part, ...]
    whole: bool
    """Whether `parts` are all that depends on them; else a parameter that is no layer's does, too."""

    @property
    def count(self) -> int:
        return len(self.parts[0].indices)

    @property
    def rows(self) -> list[Part]:
        """The rows of weights that they are: of what computes them, and of depthwise convolutions."""
        return [part for part in self.parts if part.role in ("producer", "depthwise")]

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(part.layer for part in self.rows)

    @property
    def producers(self) -> list[Part]:
        """Several where their outputs are added."""
        return [part for part in self.parts if part.role == "producer"]

    @property
    def consumers(self) -> list[Part]:
        """None where the units are an output of the network."""
        return [part for part in self.parts if part.role == "consumer"]

    @property
    def coupled(self) -> bool:
        """Whether a unit of one layer cannot go alone, as where the outputs of two layers are added."""
        return len(self.layers) > 1 or any(part.layer == self.layers[0] for part in self.consumers)

    @property
    def removable(self) -> bool:
        """Whether the network can be made smaller by them."""
        return self.whole and bool(self.producers and self.consumers)


@dataclass(frozen=True)
class Graph:
    units: dict[str, Units]
    """By the first of their layers. Left out are those of the output layer, and those that cannot go one by one, as of
    convolutions in groups, of layers with a shared weight, or of a layer whose output is split."""
    norms: dict[str, str]
    """Layer -> the BatchNorm with a scale (gamma) that reads its output directly, where there is one."""


def read(module: nn.Module, layers: Iterable[str], output: Collection[str], inputs: Any) -> Graph:
    """The graph of a module, in evaluation mode, with these prunable layers. Raises ConfigError where it has none."""
    try:
        from torch_pruning import DependencyGraph
    except ModuleNotFoundError as error:
        raise ConfigError("granularity unit needs the package torch-pruning: pip install torch-pruning") from error

    with warnings.catch_warnings(), torch.enable_grad():  # the graph is read off autograd's
        warnings.simplefilter("ignore")
        try:
            graph = DependencyGraph().build_dependency(module, inputs, forward_fn=call)
            groups = {layer: _group(graph, module.get_submodule(layer)) for layer in layers}
        except Exception as error:  # the user's network, which may do what a graph cannot be traced through
            raise ConfigError(f"cannot tell which units of {type(module).__name__} belong together: "
                              f"{type(error).__name__}: {error}") from error  # fmt: skip
    names = {part: name for name, part in module.named_modules()}
    uses = Counter(parameter for part in names for parameter in part.parameters(recurse=False))
    shared = {part for part in names if any(uses[parameter] > 1 for parameter in part.parameters(recurse=False))}
    found = Graph({}, {})
    seen: set[str] = set()
    for layer, group in groups.items():
        for reader in group[0].dep.target.outputs:
            if isinstance(reader.module, _BatchNorm) and reader.module.affine:
                found.norms[layer] = names[reader.module]
        units = _units(group, names, shared) if layer not in seen else None
        if units:
            seen.update(units.layers)
            if not any(layer in output for layer in units.layers):
                found.units[layer] = units
    return found


def _group(graph: Any, layer: Any) -> Any:
    """All that depends on the units of a layer, itself first."""
    units = list(range(layer.weight.shape[0]))
    return graph.get_pruning_group(layer, graph.get_pruner_of_module(layer).prune_out_channels, units)


def _units(group: Any, names: dict[nn.Module, str], shared: set[nn.Module]) -> Units | None:
    """None where the units cannot go one by one."""
    count = len(set(group[0].root_idxs))
    parts, whole = [], True
    for item in group:
        module = item.dep.target.module
        name = names.get(module)
        if name is None:  # an operation without parameters, such as an activation
            whole = whole and not isinstance(module, nn.Parameter)
            continue
        if module in shared:
            return None
        role: Literal["producer", "depthwise", "norm", "consumer"]
        if isinstance(module, _BatchNorm):
            role = "norm"
        elif is_depthwise(module):
            role = "depthwise"
        elif isinstance(module, PRUNABLE) and getattr(module, "groups", 1) == 1:
            role = "producer" if item.dep.handler.__name__ == "prune_out_channels" else "consumer"
        else:
            return None
        unit = torch.tensor(item.root_idxs)
        each = unit.bincount(minlength=count)
        if (each != each[0]).any():  # some units are read here, and some elsewhere
            return None
        indices = torch.tensor(item.idxs)[unit.argsort(stable=True)].view(count, -1)
        kinds = ("weight",) if role == "consumer" else ("weight", "bias")
        parameters = tuple(f"{name}.{kind}" for kind in kinds if getattr(module, kind) is not None)
        size = module.num_features if role == "norm" else module.weight.shape[role == "consumer"]
        parts.append(Part(name, role, size, indices, parameters))
    return Units(tuple(parts), whole)


def units_dim(layer: nn.Module) -> int:
    """The dimension of a layer's inputs and outputs along which its columns and rows lie."""
    return -1 if isinstance(layer, nn.Linear) else 1


def is_depthwise(module: nn.Module) -> bool:
    """Whether each unit of a convolution reads the one input channel of its own number."""
    groups = getattr(module, "groups", 1)
    return groups > 1 and groups == module.in_channels == module.out_channels
