"""nn.MultiheadAttention that has lost heads, or is narrower than its heads together."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Heads(nn.MultiheadAttention):
    """Any number of heads on any width. The parameters have the names and the order of nn.MultiheadAttention's."""

    def _reset_parameters(self) -> None:
        self._qkv_same_embed_dim = self.in_proj_weight is not None
        super()._reset_parameters()
        self._qkv_same_embed_dim = False

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None = None,
        need_weights: bool = True, attn_mask: Tensor | None = None, average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        """As that of nn.MultiheadAttention."""
        batched = query.ndim == 3
        q, k, v = (x if batched else x.unsqueeze(0 if self.batch_first else 1) for x in (query, key, value))
        if not self.batch_first:
            q, k, v = (x.transpose(0, 1) for x in (q, k, v))
        weights: Sequence[Tensor] = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
        if self.in_proj_weight is not None:
            weights = self.in_proj_weight.chunk(3)
        biases = [None] * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        q, k, v = (F.linear(x, weight, bias) for x, weight, bias in zip((q, k, v), weights, biases, strict=True))
        extra = 0
        if self.bias_k is not None and self.bias_v is not None:
            k = torch.cat([k, self.bias_k.expand(len(k), 1, -1)], 1)
            v = torch.cat([v, self.bias_v.expand(len(v), 1, -1)], 1)
            extra += 1
        if self.add_zero_attn:
            k, v = F.pad(k, (0, 0, 0, 1)), F.pad(v, (0, 0, 0, 1))
            extra += 1
        q, k, v = (x.unflatten(2, (-1, self.head_dim)).transpose(1, 2) for x in (q, k, v))  # [batch, head, place, dim]
        scores = q @ k.transpose(2, 3) * self.head_dim**-0.5
        if attn_mask is not None:
            mask = F.pad(_additive(attn_mask, q.dtype), (0, extra))
            scores = scores + (mask.unflatten(0, (len(q), -1)) if mask.ndim == 3 else mask)
        if key_padding_mask is not None:
            padding = key_padding_mask if batched else key_padding_mask.unsqueeze(0)
            scores = scores + F.pad(_additive(padding, q.dtype), (0, extra))[:, None, None, :]
        attention = F.dropout(scores.softmax(3), self.dropout, self.training)
        output = self.out_proj((attention @ v).transpose(1, 2).flatten(2))
        output = output if self.batch_first else output.transpose(0, 1)
        if not batched:
            output, attention = output.squeeze(0 if self.batch_first else 1), attention.squeeze(0)
        if not need_weights:
            return output, None
        return output, attention.mean(-3) if average_attn_weights else attention


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Masks say by true, or by -inf, what is not looked at."""
    return torch.zeros_like(mask, dtype=dtype).masked_fill(mask, -torch.inf) if mask.dtype == torch.bool else mask


def resize_attention(layer: Any) -> None:
    """Have a layer say of itself what its parameters' shapes are, and compute with them."""
    packed = layer.in_proj_weight is not None
    rows = len(layer.in_proj_weight) // 3 if packed else len(layer.q_proj_weight)
    width = (layer.in_proj_weight if packed else layer.q_proj_weight).shape[1]
    made = len(layer.out_proj.weight)
    if (rows, width, made) == (layer.embed_dim,) * 3:
        return
    layer.__class__ = Heads
    layer.num_heads, layer.embed_dim = rows // layer.head_dim, width
    layer.kdim = width if packed else layer.k_proj_weight.shape[1]
    layer.vdim = width if packed else layer.v_proj_weight.shape[1]
    layer._qkv_same_embed_dim = False  # nn.TransformerEncoderLayer would compute without calling it
