"""Norms over channels of which some are gone: their mean and variance are those of the channels that are left, as in
the smaller network, whose norms are PyTorch's own."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from lth_sweep.lottery.network.masks import Masks


class _Kept:
    kept: Tensor
    """1 for a channel that is left, 0 for one that is not, in the shape of the weight."""
    count: int
    """Of those that are left."""
    hook: RemovableHandle
    """Does nothing; where there is one, nn.TransformerEncoderLayer calls its norms, instead of computing without."""


class KeptLayerNorm(_Kept, nn.LayerNorm):
    def forward(self, x: Tensor) -> Tensor:
        dims = tuple(range(-len(self.normalized_shape), 0))
        x = _normalised(x, self.kept, dims, self.count, self.eps) * self.weight
        return x if self.bias is None else x + self.bias


class KeptGroupNorm(_Kept, nn.GroupNorm):
    """Of a single group."""

    def forward(self, x: Tensor) -> Tensor:
        kept, weight, bias = (part.view(-1, *[1] * (x.ndim - 2)) for part in (self.kept, self.weight, self.bias))
        count = self.count * x[0, 0].numel()
        return _normalised(x, kept, tuple(range(1, x.ndim)), count, self.eps) * weight + bias


def _normalised(x: Tensor, kept: Tensor, dims: tuple[int, ...], count: int, eps: float) -> Tensor:
    x = x * kept
    centred = (x - x.sum(dims, keepdim=True) / count) * kept
    return centred * (centred.square().sum(dims, keepdim=True) / count + eps).rsqrt()


class KeptRMSNorm(_Kept, nn.RMSNorm):
    def forward(self, x: Tensor) -> Tensor:
        dims = tuple(range(-len(self.normalized_shape), 0))
        x, eps = x * self.kept, torch.finfo(x.dtype).eps if self.eps is None else self.eps
        return x * (x.square().sum(dims, keepdim=True) / self.count + eps).rsqrt() * self.weight


NORMS: dict[Any, Any] = {nn.LayerNorm: KeptLayerNorm, nn.RMSNorm: KeptRMSNorm, nn.GroupNorm: KeptGroupNorm}


def tell(module: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Tell the norms of a network which of their channels are left."""
    for layer in module.modules():
        forget(layer)
    for layer, mask in _gaps(module, masks):
        layer.__class__ = NORMS[type(layer)]
        layer.register_buffer("kept", mask.to(layer.weight.device, layer.weight.dtype), persistent=False)
        layer.count = int(mask.sum())
        layer.hook = layer.register_forward_pre_hook(_nothing)


def has_gaps(module: nn.Module, masks: Masks) -> bool:
    """Whether a norm has channels that are gone."""
    return any(True for _ in _gaps(module, masks.tensors))


def _gaps(module: nn.Module, masks: Mapping[str, Tensor]) -> Iterator[tuple[Any, Tensor]]:
    """The norms with channels that are gone, and which are left."""
    for prefix, layer in module.named_modules():
        if type(layer) in NORMS and getattr(layer, "num_groups", 1) == 1:
            mask = masks.get(f"{prefix}.weight" if prefix else "weight")
            if mask is not None and not mask.all():
                yield layer, mask


def forget(layer: nn.Module) -> None:
    """Have all channels of a norm count again."""
    if isinstance(layer, _Kept):
        layer.__class__ = next(plain for plain, kept in NORMS.items() if isinstance(layer, kept))
        layer.hook.remove()
        del layer.kept, layer.count, layer.hook


def _nothing(layer: nn.Module, inputs: Any) -> None:
    pass
