"""Building blocks with a forward pass of their own, as people write them."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Does(nn.Module):
    """A function, as a step."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *values: Tensor) -> Tensor:
        return self.function(*values)


class Residual(nn.Module):
    """Adds what it makes of its input."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


class Scale(nn.Module):
    """Parameters used directly."""

    def __init__(self, *shape: int, added: bool) -> None:
        super().__init__()
        self.added = added
        self.scale = nn.Parameter(torch.randn(shape) * 0.1 + (not added))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale if self.added else x * self.scale


class SqueezeExcite(nn.Module):
    """Hu et al. 2017, with 1x1 convolutions or with Linear layers."""

    def __init__(self, channels: int, hidden: int, linear: bool) -> None:
        super().__init__()
        self.down = nn.Linear(channels, hidden) if linear else nn.Conv2d(channels, hidden, 1)
        self.up = nn.Linear(hidden, channels) if linear else nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((2, 3)) if isinstance(self.down, nn.Linear) else x.mean((2, 3), keepdim=True)
        gate = torch.sigmoid(self.up(F.relu(self.down(mean))))
        return x * (gate[:, :, None, None] if gate.ndim == 2 else gate)


class Gated(nn.Module):
    """Halves, of which one gates the other."""

    def __init__(self, dim: int, function: Callable[[Tensor], Tensor] | None) -> None:
        super().__init__()
        self.dim, self.function = dim, function

    def forward(self, x: Tensor) -> Tensor:
        if self.function is None:
            return F.glu(x, self.dim)
        value, gate = x.chunk(2, self.dim)
        return value * self.function(gate)


class Halves(nn.Module):
    """Works on one half of the channels and keeps the other."""

    def __init__(self, dim: int, size: int, inner: nn.Module) -> None:
        super().__init__()
        self.dim, self.size, self.inner = dim, size, inner

    def forward(self, x: Tensor) -> Tensor:
        one, two = x.split([self.size, x.shape[self.dim] - self.size], self.dim)
        return torch.cat([one, self.inner(two)], self.dim)


class Branches(nn.Module):
    """Concatenates what several make of the same input."""

    def __init__(self, dim: int, *branches: nn.Module) -> None:
        super().__init__()
        self.dim, self.branches = dim, nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], self.dim)


class Shuffle(nn.Module):
    """The channels of an image in groups, interleaved (Zhang et al. 2017)."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        return x.reshape(n, self.groups, c // self.groups, h, w).transpose(1, 2).reshape(n, c, h, w)


class FeedForward(nn.Module):
    """With or without a gate (SwiGLU: Shazeer 2020)."""

    def __init__(self, width: int, hidden: int, gated: bool) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(width, hidden, bias=not gated), nn.Linear(hidden, width)
        self.gate = nn.Linear(width, hidden, bias=False) if gated else None

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.up(x) * F.silu(self.gate(x)) if self.gate else F.gelu(self.up(x)))


class Packed(nn.Module):
    """PyTorch's own attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x, need_weights=False)[0]


class Separate(nn.Module):
    """Attention with a Linear each for queries, keys and values; with fewer heads of the last two (Ainslie et al.
    2023); causal where asked."""

    def __init__(self, width: int, heads: int, readers: int, causal: bool) -> None:
        super().__init__()
        self.size, self.causal = width // heads, causal
        self.q = nn.Linear(width, width)
        self.k, self.v = (nn.Linear(width, readers * self.size, bias=False) for _ in range(2))
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part(x).unflatten(2, (-1, self.size)).transpose(1, 2) for part in (self.q, self.k, self.v))
        k, v = (part.repeat_interleave(q.shape[1] // part.shape[1], 1) for part in (k, v))
        found = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out(found.transpose(1, 2).flatten(2))


class Joint(nn.Module):
    """Attention with one Linear for queries, keys and values, written as many do."""

    def __init__(self, width: int, heads: int, by_hand: bool) -> None:
        super().__init__()
        self.heads, self.by_hand = heads, by_hand
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, t, c = x.shape
        if self.by_hand:
            q, k, v = (y.reshape(n, t, self.heads, c // self.heads).transpose(1, 2) for y in self.qkv(x).split(c, 2))
            found = (q @ k.transpose(2, 3) / (c // self.heads) ** 0.5).softmax(3) @ v
        else:
            q, k, v = self.qkv(x).reshape(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
            found = F.scaled_dot_product_attention(q, k, v)
        return self.out(found.transpose(1, 2).reshape(n, t, c))


class Recurrent(nn.Module):
    """A recurrent layer; its outputs, without its last state."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layer(x)[0]
        return found


class Along(nn.Module):
    """A layer for [n, channels, length] on [n, length, channels]."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.transpose(1, 2)).transpose(1, 2)


class ChannelsLast(nn.Module):
    """A layer for [n, height, width, channels] on an image, as in ConvNeXt."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class WithToken(nn.Module):
    """A learned token before the others."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, width) * 0.1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.token.expand(len(x), -1, -1), x], 1)


class Twice(nn.Module):
    """A layer that is used twice."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(F.relu(self.inner(x)))


class Unused(nn.Module):
    """Passes on, and has a layer that is never used."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.unused = nn.Linear(channels, 5)

    def forward(self, x: Tensor) -> Tensor:
        return x


class Buffered(nn.Module):
    """Normalises by buffers, one of which is in no state."""

    def __init__(self, channels: int, ndim: int, channels_at: int) -> None:
        super().__init__()
        shape = [1] * ndim
        shape[channels_at] = channels
        self.register_buffer("mean", torch.linspace(-0.2, 0.2, channels).view(shape))
        self.register_buffer("scale", torch.linspace(0.5, 1.5, channels).view(shape), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) * self.scale
