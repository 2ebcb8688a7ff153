"""A network of another size: what it keeps of each parameter and buffer, and layers that say so of themselves."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from lth_sweep.lottery.network.norms import forget
from lth_sweep.lottery.network.tracing import copied
from lth_sweep.lottery.network.units.attention import resize_attention
from lth_sweep.lottery.network.units.parts import Units, is_depthwise


@dataclass(frozen=True)
class Plan:
    """What a smaller network keeps: parameter or buffer -> dimension -> indices. What is not named is kept whole."""

    kept: dict[str, dict[int, Tensor]] = field(default_factory=dict)

    @classmethod
    def without(cls, units: Mapping[Any, Units], gone: Mapping[Any, Tensor]) -> "Plan":
        """gone: bool [units], for each of `units`."""
        left: dict[tuple[str, int], Tensor] = {}
        for name, group in units.items():
            for part in group.parts:
                entries = left.setdefault((part.parameter, part.dim), torch.ones(part.size, dtype=torch.bool))
                entries[part.entries(gone[name])] = False
        kept: dict[str, dict[int, Tensor]] = {}
        for (parameter, dim), entries in left.items():
            if not entries.all():
                kept.setdefault(parameter, {})[dim] = entries.nonzero().flatten()
        return cls(kept)

    def __bool__(self) -> bool:
        return bool(self.kept)

    def gather(self, name: str, tensor: Tensor) -> Tensor:
        """The part that is kept. Tensors without that many dimensions, such as a count of steps, are kept whole."""
        for dim, index in self.kept.get(name, {}).items():
            if dim < tensor.ndim:
                tensor = tensor.index_select(dim, index.to(tensor.device))
        return tensor

    def scatter(self, name: str, tensor: Tensor, shape: torch.Size) -> Tensor:
        """Back to `shape`, with zeros where nothing was kept."""
        for dim, index in self.kept.get(name, {}).items():
            if dim < tensor.ndim:
                size = [*tensor.shape[:dim], shape[dim], *tensor.shape[dim + 1 :]]
                tensor = tensor.new_zeros(size).index_copy(dim, index.to(tensor.device), tensor)
        return tensor


def masked_with(
    units: Mapping[Any, Units], gone: Mapping[Any, Tensor], shapes: Mapping[str, tuple[int, ...]],
    masks: Mapping[str, Tensor],
) -> dict[str, Tensor]:  # fmt: skip
    """The masks of all parameters of `units` without what belongs to those that are gone. `masks`: those so far."""
    kept: dict[str, Tensor] = {}
    for name, those in gone.items():
        for part in units[name].parts:
            if (shape := shapes.get(part.parameter)) is not None:  # a buffer has no mask
                before = kept.get(part.parameter, masks.get(part.parameter))
                before = torch.ones(shape, dtype=torch.bool) if before is None else before
                kept[part.parameter] = before.index_fill(part.dim, part.entries(those), False)
    return kept


def shrink(module: nn.Module, plan: Plan, tensors: Mapping[str, Tensor]) -> nn.Module:
    """A copy of `module` of the size that the plan keeps, with what it keeps of `tensors`, the state of a whole one."""
    replaced = {id(tensor): tensor for tensor in module.state_dict(keep_vars=True).values()}  # not to be copied
    smaller = copied(module, replaced)
    return fit(smaller, {name: plan.gather(name, tensor) for name, tensor in tensors.items()})


def fit(module: nn.Module, tensors: Mapping[str, Tensor]) -> nn.Module:
    """`module` itself with these parameters and buffers, by their names in its state, whatever their shapes.

    A bias is added where there is a tensor for one and the layer had none.
    """
    parameters: dict[nn.Parameter | None, nn.Parameter] = {}
    for prefix, layer in module.named_modules():
        if isinstance(layer, torch.jit.ScriptModule):  # whose tensors cannot be exchanged, and keep their size
            _fill(layer, prefix, tensors)
            continue
        for key, old in layer._parameters.items():
            new = tensors.get(f"{prefix}.{key}" if prefix else key)
            if old in parameters:  # one that two layers share is still shared afterwards
                layer._parameters[key] = parameters[old]
            elif new is not None:
                made = nn.Parameter(new.detach().clone(), requires_grad=old is None or old.requires_grad)
                layer._parameters[key] = made
                if old is not None:
                    parameters[old] = made
        for key in layer._buffers:
            new = tensors.get(f"{prefix}.{key}" if prefix else key)
            if new is not None:
                layer._buffers[key] = new.detach().clone()
    for layer in module.modules():
        _resize(layer)
    return module


@torch.no_grad()
def _fill(layer: nn.Module, prefix: str, tensors: Mapping[str, Tensor]) -> None:
    """Its own parameters and buffers."""
    for key, old in (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)):
        new = tensors.get(f"{prefix}.{key}" if prefix else key)
        if new is not None:
            old.copy_(new)


def _resize(layer: Any) -> None:
    """Have a layer say of itself what its parameters' shapes are."""
    forget(layer)
    if isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = layer.weight.shape
    elif isinstance(layer, _ConvNd):
        transposed = isinstance(layer, _ConvTransposeNd)
        if is_depthwise(layer):
            each = layer.out_channels // layer.in_channels
            layer.groups = len(layer.weight) if transposed else len(layer.weight) // each
        channels = len(layer.weight), layer.weight[0].shape[0] * layer.groups
        layer.in_channels, layer.out_channels = channels if transposed else channels[::-1]
    elif isinstance(layer, _NormBase):
        sized = layer.weight if layer.weight is not None else layer.running_mean
        layer.num_features = layer.num_features if sized is None else len(sized)
    elif isinstance(layer, nn.GroupNorm) and layer.weight is not None:
        each = layer.num_channels // layer.num_groups
        layer.num_channels = len(layer.weight)
        layer.num_groups = 1 if layer.num_groups == 1 else layer.num_channels // each
    elif isinstance(layer, nn.LayerNorm | nn.RMSNorm) and layer.weight is not None:
        layer.normalized_shape = tuple(layer.weight.shape)
    elif isinstance(layer, nn.PReLU):
        layer.num_parameters = len(layer.weight)
    elif isinstance(layer, nn.Embedding | nn.EmbeddingBag):
        layer.num_embeddings, layer.embedding_dim = layer.weight.shape
    elif isinstance(layer, nn.RNNBase):
        layer.input_size = layer.get_parameter("weight_ih_l0").shape[1]
        if not layer.proj_size:
            layer.hidden_size = layer.get_parameter("weight_hh_l0").shape[1]
        layer._flat_weights = [getattr(layer, name, None) for name in layer._flat_weights_names]
        layer.flatten_parameters()
    elif isinstance(layer, nn.RNNCellBase):
        layer.input_size, layer.hidden_size = layer.weight_ih.shape[1], layer.weight_hh.shape[1]
    elif isinstance(layer, nn.Transformer):
        parts = (part for part in layer.modules() if isinstance(part, nn.MultiheadAttention))
        layer.d_model = next((len(part.out_proj.weight) for part in parts), layer.d_model)
    elif isinstance(layer, nn.MultiheadAttention):
        resize_attention(layer)
    elif type(layer).__name__ == "Conv1D" and hasattr(layer, "nf"):
        layer.nx, layer.nf = layer.weight.shape
