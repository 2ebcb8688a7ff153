"""The layers that PyTorch brings: which of their parameters' entries belong to which channels that they read and make.

What a network does between them is not written down anywhere; it is measured, in dependency.py.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.utils import parametrize

Role = Literal["producer", "consumer", "depthwise", "direct", "along", "norm", "fixed"]
"""Of a parameter's entries: they compute a unit from others, read it for others, work on each by itself, do something
with it without a layer, go with it as a bias does, also where a norm's statistics are over all units, or have to stay.
"""


@dataclass(frozen=True)
class Entries:
    """Along one dimension of a parameter or buffer."""

    parameter: str
    dim: int
    strands: Tensor
    """Of each entry, int64 [size]."""
    role: Role


@dataclass(frozen=True)
class Port:
    """A tensor that a layer reads or makes."""

    dim: int
    """That of its channels."""
    strands: Tensor
    """Of each channel, int64 [channels]."""


@dataclass(frozen=True)
class Leaf:
    """A layer as a bundle of strands. A strand is what can only stay or go as one: a channel that is read, one that is
    made, or several that the layer ties, as BatchNorm does with the two of the same number, or GroupNorm with a group.
    """

    count: int
    """Of strands."""
    inputs: dict[str, Port]
    """By the names of the arguments of `forward`."""
    outputs: tuple[Port | None, ...]
    """Of the tensors that it returns, in their order; None where one has no channels."""
    entries: tuple[Entries, ...]
    fixed: str = ""
    """Why none of them can go, where that is so."""


def leaf_of(module: nn.Module) -> Leaf | None:
    """None for a module that is no layer of a known kind, or has a `forward` of its own."""
    for kind, describe in KINDS.items():
        if isinstance(module, kind):
            if not type(module).forward.__module__.startswith("torch.nn."):
                return None
            leaf = describe(module)
            own = module._parameters.keys() | module._buffers.keys()
            missing = [one.parameter for one in leaf.entries if "." not in one.parameter and one.parameter not in own]
            if parametrize.is_parametrized(module) or missing:
                return replace(leaf, entries=(), fixed="its weight is computed from other parameters")
            return leaf
    if type(module).__name__ == "Conv1D" and hasattr(
        module, "nf"
    ):  # a Linear with its weight transposed (transformers)
        read, made = module.get_parameter("weight").shape
        return _plain(module, read, made, -1, read_dim=0, made_dim=1)
    return None


def _plain(module: Any, read: int, made: int, dim: int, read_dim: int = 1, made_dim: int = 0, groups: int = 1) -> Leaf:
    """Each output a sum over inputs. In groups, the channels at one place of all groups are tied, so that each group
    loses as many."""
    reads, makes = read // groups, made // groups
    entries = [
        Entries("weight", made_dim, reads + _range(module.weight.shape[made_dim], makes), "producer"),
        Entries("weight", read_dim, _range(module.weight.shape[read_dim], reads), "consumer"),
    ]
    if module.bias is not None:
        entries.append(Entries("bias", 0, reads + _range(made, makes), "along"))
    ports = Port(dim, _range(read, reads)), Port(dim, reads + _range(made, makes))
    return Leaf(reads + makes, {_argument(module): ports[0]}, (ports[1],), tuple(entries))


def _range(size: int, period: int) -> Tensor:
    """0, 1, ... and again from 0 after `period`."""
    return torch.arange(size) % max(1, period)


def _argument(module: nn.Module) -> str:
    return "x" if isinstance(module, nn.RMSNorm) or type(module).__name__ == "Conv1D" else "input"


def _linear(module: nn.Linear) -> Leaf:
    made, read = module.weight.shape
    return _plain(module, read, made, -1)


def _convolution(module: _ConvNd) -> Leaf:
    transposed = isinstance(module, _ConvTransposeNd)
    read, made, groups, dim = module.in_channels, module.out_channels, module.groups, -1 - len(module.kernel_size)
    if groups == 1 or groups != read:
        return _plain(module, read, made, dim, int(not transposed), int(transposed), groups)
    each = torch.arange(made) // (made // groups)
    entries = [Entries("weight", 0, torch.arange(read) if transposed else each, "depthwise")]
    if module.bias is not None:
        entries.append(Entries("bias", 0, each, "along"))
    return Leaf(read, {"input": Port(dim, torch.arange(read))}, (Port(dim, each),), tuple(entries))


def _norm(module: nn.Module, channels: int, dim: int, together: int = 1, role: Role = "along") -> Leaf:
    """Works on each channel, or so many neighbours together, by itself."""
    strands = torch.arange(channels) // together
    port = Port(dim, strands)
    names = ("weight", "bias", "running_mean", "running_var")
    entries = tuple(Entries(name, 0, strands, role) for name in names if getattr(module, name, None) is not None)
    return Leaf(channels // together, {_argument(module): port}, (port,), entries)


def _layer_norm(module: Any) -> Leaf:
    return _norm_over_all(module, module.normalized_shape[0], -len(module.normalized_shape))


def _group_norm(module: nn.GroupNorm) -> Leaf:
    """A group goes as a whole; where there is a single one, channels do."""
    if module.num_groups == 1:
        return _norm_over_all(module, module.num_channels, 1)
    return _norm(module, module.num_channels, 1, module.num_channels // module.num_groups)


def _norm_over_all(module: nn.Module, channels: int, dim: int) -> Leaf:
    """Its mean and variance are those of the channels that are left: see norms.py."""
    leaf = _norm(module, channels, dim, role="norm")
    return leaf if module.weight is not None else replace(leaf, fixed="a norm without parameters of its own")


def _instance_norm(module: _InstanceNorm) -> Leaf:
    return _norm(module, module.num_features, {"1": -2, "2": -3, "3": -4}[type(module).__name__[-2]])


def _prelu(module: nn.PReLU) -> Leaf:
    count = module.num_parameters
    return _norm(module, count, 1) if count > 1 else Leaf(0, {}, (None,), ())


def _embedding(module: nn.Embedding | nn.EmbeddingBag) -> Leaf:
    """A token's row has to stay, whatever layer shares it."""
    tokens, made = module.weight.shape
    entries = (Entries("weight", 1, torch.arange(made), "producer"),
               Entries("weight", 0, made + torch.arange(tokens), "fixed"))  # fmt: skip
    return Leaf(made + tokens, {}, (Port(-1, torch.arange(made)),), entries)


def _recurrent(module: nn.RNNBase) -> Leaf:
    """Unit h is that of all gates, layers and directions."""
    read, units, ways = module.input_size, module.hidden_size, 1 + module.bidirectional
    hidden = Port(-1, read + torch.arange(units))
    entries = []
    for layer in range(module.num_layers):
        for suffix in ("", "_reverse")[:ways]:
            for kind in ("ih", "hh"):
                rows = getattr(module, f"weight_{kind}_l{layer}{suffix}").shape
                reads = _range(rows[1], read) if kind == "ih" and layer == 0 else read + _range(rows[1], units)
                entries.append(Entries(f"weight_{kind}_l{layer}{suffix}", 0, read + _range(rows[0], units), "producer"))
                entries.append(Entries(f"weight_{kind}_l{layer}{suffix}", 1, reads, "consumer"))
                if module.bias:
                    strands = read + _range(rows[0], units)
                    entries.append(Entries(f"bias_{kind}_l{layer}{suffix}", 0, strands, "along"))
    ports = {"input": Port(-1, torch.arange(read)), "hx": hidden}
    outputs = (Port(-1, read + _range(units * ways, units)), hidden, hidden)
    fixed = "a recurrent layer with proj_size" if module.proj_size else ""
    return Leaf(read + units, {} if fixed else ports, () if fixed else outputs, tuple(entries), fixed)


def _cell(module: nn.RNNCellBase) -> Leaf:
    read, units = module.input_size, module.hidden_size
    hidden = Port(-1, read + torch.arange(units))
    rows = read + _range(len(module.weight_ih), units)
    entries = [Entries(f"weight_{kind}", 0, rows, "producer") for kind in ("ih", "hh")]
    entries.append(Entries("weight_ih", 1, torch.arange(read), "consumer"))
    entries.append(Entries("weight_hh", 1, hidden.strands, "consumer"))
    if module.bias:
        entries += [Entries("bias_ih", 0, rows, "along"), Entries("bias_hh", 0, rows, "along")]
    ports = {"input": Port(-1, torch.arange(read)), "hx": hidden}
    return Leaf(read + units, ports, (hidden, hidden), tuple(entries))


def _attention(module: nn.MultiheadAttention) -> Leaf:
    """Its heads are units inside; how wide it is, is a matter of what it reads and of what reads it."""
    width, made = module.embed_dim, module.out_proj.weight.shape[0]
    heads = torch.arange(module.num_heads * module.head_dim) // module.head_dim
    if module._qkv_same_embed_dim:
        start = [0, 0, 0]
        reads = [("in_proj_weight", width, 0)]
        count = width
    else:
        start = [0, width, width + module.kdim]
        reads = [("q_proj_weight", width, 0), ("k_proj_weight", module.kdim, width),
                 ("v_proj_weight", module.vdim, width + module.kdim)]  # fmt: skip
        count = width + module.kdim + module.vdim
    heads, made_strands = count + heads, count + module.num_heads + torch.arange(made)
    entries = []
    for name, size, first in reads:
        entries.append(Entries(name, 0, heads.repeat(3) if name == "in_proj_weight" else heads, "producer"))
        entries.append(Entries(name, 1, first + torch.arange(size), "consumer"))
    if module.in_proj_bias is not None:
        entries.append(Entries("in_proj_bias", 0, heads.repeat(3), "along"))
    if module.bias_k is not None:
        entries += [Entries("bias_k", 2, heads, "along"), Entries("bias_v", 2, heads, "along")]
    entries += [Entries("out_proj.weight", 1, heads, "consumer"),
                Entries("out_proj.weight", 0, made_strands, "producer")]  # fmt: skip
    if module.out_proj.bias is not None:
        entries.append(Entries("out_proj.bias", 0, made_strands, "along"))
    sizes = {"query": width, "key": module.kdim, "value": module.vdim}
    ports = {name: Port(-1, first + torch.arange(sizes[name])) for name, first in zip(sizes, start, strict=True)}
    return Leaf(count + module.num_heads + made, ports, (Port(-1, made_strands), None), tuple(entries))


KINDS: dict[Any, Callable[[Any], Leaf]] = {
    nn.Linear: _linear,
    _ConvNd: _convolution,
    _BatchNorm: lambda module: _norm(module, module.num_features, 1),
    nn.GroupNorm: _group_norm,
    nn.LayerNorm: _layer_norm,
    nn.RMSNorm: _layer_norm,
    _InstanceNorm: _instance_norm,
    nn.PReLU: _prelu,
    nn.Embedding: _embedding,
    nn.EmbeddingBag: _embedding,
    nn.RNNBase: _recurrent,
    nn.RNNCellBase: _cell,
    nn.MultiheadAttention: _attention,
}
