"""One forward pass, watched operation by operation: what it does with which parameters, and where it ends."""

import copy
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from lth_sweep.lottery.data.batch import call, device_of, first, leaves, mapped

EXAMPLES = 2
"""That a network is traced with; some cannot take one alone."""

DRAWS = 16
"""Of weights, at most, to see what else is used."""
BLOCK = 99_991
"""Weights that are drawn; a prime number, so that those of two rows differ where larger tensors repeat them."""

aten = torch.ops.aten
LOOKUPS = (aten.embedding, aten._embedding_bag, aten._embedding_bag_forward_only)
INPUTS_DIM = {aten.mm: (1, 0), aten.addmm: (2, 0), aten.bmm: (1, 1), aten.baddbmm: (2, 1), aten.convolution: (1, 1)}
"""Products -> which argument is the weight, and its dimension along which it is multiplied with the inputs."""
TRANSPOSED = 6
"""The argument of a convolution that says whether it is a transposed one."""


@dataclass(frozen=True)
class Trace:
    """In evaluation mode. Parameters go by the first of their names."""

    used: frozenset[str]
    """Those that some operation reads."""
    flops: dict[str, float]
    """Of one input, in products with a parameter; 2 for each multiply-add."""
    other_flops: float
    """Of one input, in products of other things, as attention has them."""
    inputs_dim: dict[str, int]
    """The dimension of a weight along which it is multiplied with its inputs; of an [out, in] one, 1."""
    last: frozenset[str]
    """The weights of the products that the pass ends with."""


_traces: "WeakKeyDictionary[nn.Module, Trace]" = WeakKeyDictionary()
"""Each module's, which is traced once."""


def trace(module: nn.Module, example: Any) -> Trace:
    """`example`: a batch of inputs, of which the first two are looked at."""
    if module not in _traces:
        place = device_of(module)
        seen = module if place.type in ("cpu", "meta") else copied(module).cpu()
        _traces[module] = _trace(seen, first(example, EXAMPLES, device_of(seen)))
    return _traces[module]


def _trace(module: nn.Module, inputs: Any) -> Trace:
    watch = _Watch(module, inputs)
    with evaluating(module), _plain(), watch:
        output = call(module, inputs)
    return Trace(
        frozenset(watch.used) | _otherwise(module, inputs, watch.used),
        {name: flops / EXAMPLES for name, flops in watch.flops.items() if name},
        watch.flops.get("", 0) / EXAMPLES,
        watch.inputs_dim,
        watch.last(output),
    )


def _otherwise(module: nn.Module, inputs: Any, used: Collection[str]) -> frozenset[str]:
    """The parameters that passes with other weights use, as a router may choose other experts."""
    names = {name for name, _ in module.named_parameters()}
    found: set[str] = set()
    if device_of(module).type == "meta" or names <= set(used):
        return frozenset()
    other = copied(module).eval()
    for seed in range(DRAWS):
        watch = _Watch(random_weights(other, seed), inputs)
        try:
            with _plain(), watch:
                call(other, mapped(Tensor.clone, inputs))
        except Exception:  # of any kind, in the user's code, which may not like such weights
            break
        found |= watch.used - set(used)
        if names <= found | set(used) or (seed >= DRAWS // 2 and not found):
            break
    return frozenset(found)


@dataclass(frozen=True)
class _Operation:
    reads: frozenset[int]
    weight: str | None
    """Of a product with one."""


class _Watch(TorchDispatchMode):
    """Tensors that share their memory, as views do, are one thing here, by the id of their storage."""

    def __init__(self, module: nn.Module, inputs: Any) -> None:
        super().__init__()
        self.used: set[str] = set()
        self.flops: dict[str, float] = {}
        self.inputs_dim: dict[str, int] = {}
        self._weights = {name: parameter for name, parameter in module.named_parameters() if parameter.ndim > 1}
        self._of: dict[int, frozenset[str]] = {}
        """Which parameters something is made of that is made of nothing else but constants."""
        for name, parameter in module.named_parameters():
            self._of.setdefault(_id(parameter), frozenset([name]))
        self._data = {_id(tensor) for tensor in leaves(inputs)}
        self._made: dict[int, list[_Operation]] = {}
        self._latest: str | None = None
        self._alive: list[Any] = [inputs]  # so that no id is given twice

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        read = frozenset(map(_id, _tensors((args, kwargs))))
        names = frozenset[str]().union(*(self._of.get(one, frozenset()) for one in read - self._data))
        self.used |= names
        made = {_id(tensor) for tensor in _tensors(output)}
        if read & self._data:
            self._data |= made
        else:
            self._of |= {one: names | self._of.get(one, frozenset()) for one in made}
        weight = self._product(func._overloadpacket, names, args, kwargs or {}, output)
        for one in made:
            self._made.setdefault(one, []).append(_Operation(read, weight))
        self._alive.append((args, output))
        return output

    def _product(self, kind: Any, names: frozenset[str], args: Any, kwargs: Any, output: Any) -> str | None:
        """The weight, where this is a product with one; of several that it is made of, the largest."""
        if kind not in flop_registry and kind not in LOOKUPS:
            return None
        weights = [name for name in names if name in self._weights]
        weight = max(weights, key=lambda name: self._weights[name].numel(), default=None)
        if kind in flop_registry:
            flops = flop_registry[kind](*args, **kwargs, out_val=output)
            self.flops[weight or ""] = self.flops.get(weight or "", 0) + flops
        if weight is not None:
            self._latest = weight
            if kind in INPUTS_DIM:
                self.inputs_dim.setdefault(weight, self._inputs_dim(kind, self._weights[weight], args))
        return weight

    def _inputs_dim(self, kind: Any, weight: Tensor, args: Any) -> int:
        """Of the factor in the product, which may be the weight transposed."""
        place, dim = INPUTS_DIM[kind]
        factor = args[place]
        if kind is aten.convolution and args[TRANSPOSED]:
            dim = 0
        along = (factor.shape[dim], factor.stride(dim))
        return next((dim for dim in range(weight.ndim) if (weight.shape[dim], weight.stride(dim)) == along), 1)

    def last(self, output: Any) -> frozenset[str]:
        """Where it cannot be told what the output comes from, the weight that was used last."""
        found, seen, waiting = set(), set(), [_id(tensor) for tensor in _tensors(output)]
        while waiting:
            one = waiting.pop()
            if one in seen:
                continue
            seen.add(one)
            for operation in self._made.get(one, ()):
                if operation.weight is None:
                    waiting += operation.reads
                else:
                    found.add(operation.weight)
        return frozenset(found or ({self._latest} if self._latest else ()))


def _tensors(nested: Any) -> Iterator[Tensor]:
    return (leaf for leaf in pytree.tree_leaves(nested) if isinstance(leaf, Tensor))


def _id(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


@contextmanager
def part_by_part() -> Iterator[None]:
    """While this is open, nn.TransformerEncoderLayer calls its parts in evaluation mode, too. Nothing warns, and what
    is drawn at random leaves no trace."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def _plain() -> Iterator[None]:
    """While this is open, operations are those that modules are written in, and none that does the work of several:
    attention is products, and so are recurrent layers."""
    with part_by_part(), torch.no_grad(), sdpa_kernel(SDPBackend.MATH), torch.backends.mkldnn.flags(enabled=False):
        yield


@contextmanager
def differentiable_twice(module: nn.Module) -> Iterator[None]:
    """While this is open, attention and recurrent layers are computed in a way that second derivatives exist of."""
    with ExitStack() as stack:
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if any(isinstance(part, nn.RNNBase) for part in module.modules()):
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        yield


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """While this is open, the module is in evaluation mode."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)


@torch.no_grad()
def random_weights(module: nn.Module, seed: int = 0) -> nn.Module:
    """The module with weights with which each unit makes a difference."""
    numbers = torch.randn(BLOCK, generator=torch.Generator().manual_seed(seed))
    running = {name: buffer for name, buffer in module.named_buffers() if "running_" in name}
    for number, (name, tensor) in enumerate({**dict(module.named_parameters()), **running}.items()):
        if tensor.is_floating_point():
            scale = tensor[0].numel() ** -0.5 if tensor.ndim > 1 else 0.5
            drawn = numbers.repeat(1 + tensor.numel() // BLOCK).roll(number)[: tensor.numel()] * scale
            drawn = drawn.view(tensor.shape)
            tensor.copy_(1 + drawn.abs() if name.endswith("running_var") else drawn)
    return module


def copied(module: nn.Module, shared: Mapping[int, Tensor] | None = None) -> nn.Module:
    """A deep copy. Where a module holds the result of a computation, as the old weight_norm does, so does the copy, but
    as a constant: PyTorch refuses to copy what gradients could flow through. shared: by their ids, what the copy is to
    have itself."""
    held = [value for part in module.modules() for value in vars(part).values() if isinstance(value, Tensor)]
    constant = {id(value): value.detach().clone() for value in held if value.grad_fn is not None}
    return copy.deepcopy(module, {**constant, **(shared or {})})
