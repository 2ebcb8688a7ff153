"""A network whose layers are cut: each gives noise instead of what it computes, and tells which inputs change."""

import inspect
import time
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils import _pytree as pytree

from lth_sweep.lottery.data.batch import call, first, leaves, mapped
from lth_sweep.lottery.network.units.leaves import Entries, Leaf, Port, leaf_of

SECONDS = 300.0
"""Of work; no network is looked at for longer. A BERT of 12 layers takes a minute (measured, on one core)."""
SIDES, PLACES = 32, 8
"""Pixels of an image, along each side, and places of a sequence of tokens, that are enough to see what depends on what.
"""
SMALL = 200_000
"""Numbers that all layers make of two examples, and have, up to which four examples and float64 take no time."""


class Cut:
    """The noise is the same at each pass, but where a change is asked for. It has both signs at each channel, so that
    what a ReLU hides at one position shows at another.

    Parameters and buffers that the network uses directly count as layers, too, one for each of their dimensions.
    """

    def __init__(self, module: nn.Module, example: Any) -> None:
        """Changes the `module`. Raises whatever the network raises."""
        self.module = module.eval()
        self.names: list[str] = []
        self.leaves: list[Leaf] = []
        self.layers: dict[nn.Module, int] = {}
        self._find(module, "")
        self._signatures = {index: inspect.signature(layer.forward) for layer, index in self.layers.items()}
        self._ends = time.process_time() + SECONDS
        self._noise = self._record(example)
        self.direct = self._parameters()
        for layer, index in self.layers.items():
            layer.forward = partial(self._layer, index)
        self.settle()

    @property
    def tolerance(self) -> float:
        """A change below this is one of rounding."""
        return 1e-9 if self._dtype is torch.float64 else 1e-5

    def settle(self, above: float | None = None) -> None:
        """Take what layers read now for what they read where nothing changes. Where noise is to be `above` a value,
        changes are the same at all positions."""
        self._above = above
        self._before: dict[Any, Tensor] = {}
        self._settling = True
        self.changes({}, range(len(self.leaves)))
        self._settling = False

    def changes(self, chosen: Mapping[int, Tensor], readers: Collection[int]) -> tuple[dict[int, Tensor], bool]:
        """What changes where these strands (bool, of each layer) do so: of each of the `readers`, by how much each of
        its strands, float64 [strands]; and whether the network's output does."""
        if time.process_time() > self._ends:
            raise TimeoutError(f"it takes longer than {SECONDS:.0f} s")
        self._chosen = chosen
        self._calls = [0] * len(self.leaves)
        self._found = {reader: torch.zeros(self.leaves[reader].count, dtype=torch.float64) for reader in readers}
        kept = {index: self.direct[index].clone() for index in chosen if index in self.direct}
        for index, tensor in kept.items():
            self.direct[index].copy_(self._changed(tensor, index, _port(self.leaves[index])))
        try:
            inputs = mapped(Tensor.clone, self._example)  # a network may change what it is given
            output = [part for part in pytree.tree_leaves(call(self.module, inputs)) if is_float(part)]
        finally:
            for index, tensor in kept.items():
                self.direct[index].copy_(tensor)
        return self._found, any(self._change(number, part) is not None for number, part in enumerate(output))

    def _find(self, module: nn.Module, prefix: str) -> None:
        if module in self.layers:
            return
        if (leaf := leaf_of(module)) is not None:
            self.layers[module] = len(self.leaves)
            self.names.append(prefix)
            self.leaves.append(leaf)
            return
        own = module.state_dict(keep_vars=True)
        for name, tensor in own.items():
            is_seen = "." not in name and is_float(tensor) and tensor.layout is torch.strided  # not a sparse one
            for dim, size in enumerate(tensor.shape if is_seen else ()):
                if size > 1:
                    path = f"{prefix}.{name}" if prefix else name
                    self.names.append(path)
                    self.leaves.append(Leaf(size, {}, (), (Entries(path, dim, torch.arange(size), "direct"),)))
        for name, child in module.named_children():
            self._find(child, f"{prefix}.{name}" if prefix else name)

    def _record(self, example: Any) -> list[list[tuple[list[Any], Any]]]:
        """For each call of each layer, noise of the shapes of what it makes, and how that is nested."""
        made: list[list[tuple[list[Any], Any]]] = []

        def note(forward: Callable[..., Any], index: int, *args: Any, **named: Any) -> Any:
            output = forward(*args, **named)
            made[index].append(pytree.tree_flatten(output))
            return output

        for layer, index in self.layers.items():
            layer.forward = partial(note, layer.forward, index)

        def run(examples: int, dtype: torch.dtype, whole: bool = False) -> int:
            """How many numbers the layers make."""
            made[:] = [[] for _ in self.leaves]
            self._dtype = dtype
            self.module.to(dtype)
            some = first(example, examples, "cpu")
            self._example = mapped(lambda tensor: tensor.to(dtype) if is_float(tensor) else tensor,
                                   some if whole else _part(some))  # fmt: skip
            call(self.module, mapped(Tensor.clone, self._example))
            return sum(part.numel() for calls in made for parts, _ in calls for part in parts if is_float(part))

        whole, numbers = False, sum(part.numel() for part in self.module.parameters())
        try:
            numbers += run(2, torch.float32)
        except Exception:  # where the network takes its own size only
            whole = True
            numbers += run(2, torch.float32, whole)
        if numbers <= SMALL:
            try:
                run(4, torch.float64, whole)
            except Exception:  # where the network makes numbers of its own, they may not go with float64
                run(4, torch.float32, whole)
        generator = torch.Generator().manual_seed(0)
        return [
            [(_noise(parts, self.leaves[index], index % 2, generator), nesting) for parts, nesting in calls]
            for index, calls in enumerate(made)
        ]

    def _parameters(self) -> dict[int, Tensor]:
        """What the network uses directly; parameters with noise in them."""
        tensors, layers = self.module.state_dict(keep_vars=True), set(self.layers.values())
        found = {index: tensors[name].detach() for index, name in enumerate(self.names) if index not in layers}
        generator = torch.Generator().manual_seed(1)
        for index, tensor in found.items():
            if isinstance(tensors[self.names[index]], nn.Parameter):
                tensor.copy_(0.4 + 0.5 * torch.rand(tensor.shape, generator=generator))
        return found

    def _layer(self, index: int, *args: Any, **named: Any) -> Any:
        """What a layer does instead of its `forward`."""
        leaf, number = self.leaves[index], self._calls[index]
        self._calls[index] += 1
        if index in self._found and leaf.inputs:
            given = self._signatures[index].bind(*args, **named).arguments
            for name, port in leaf.inputs.items():
                for place, value in enumerate(filter(is_float, pytree.tree_leaves(given.get(name)))):
                    if (change := self._change((index, number, name, place), value)) is not None:
                        rest = change.movedim(port.dim, 0).flatten(1)
                        amount = rest @ torch.linspace(1, 2, rest.shape[1], dtype=rest.dtype)
                        self._found[index].scatter_reduce_(0, port.strands, amount.double(), "amax")
        parts, nesting = self._noise[index][number]
        ports = iter(leaf.outputs)
        made: list[Any] = []
        for part in parts:
            if is_float(part):
                out, part = (
                    next(ports, None),
                    part if self._above is None else part.abs() * (1 + self._above) + self._above,
                )
                part = self._changed(part, index, out) if out and index in self._chosen else part.clone()
            made.append(part)
        return pytree.tree_unflatten(made, nesting)

    def _change(self, key: Any, tensor: Tensor) -> Tensor | None:
        """By how much it differs from what it was before; None where it does not."""
        if self._settling:
            self._before[key] = tensor.detach().clone()
            return None
        before = self._before[key]
        if torch.equal(tensor, before):
            return None
        change = (tensor - before).abs_()
        return F.threshold(change, self.tolerance * (1 + float(before.abs().max())), 0).nan_to_num_()

    def _changed(self, tensor: Tensor, index: int, port: Port) -> Tensor:
        """Higher where the strand changes, the more so the larger it is, or by the same everywhere."""
        chosen = self._chosen[index][port.strands].view(-1, *[1] * (tensor.ndim - 1 - port.dim % tensor.ndim))
        even = self._above is not None
        return torch.where(chosen, tensor + 0.25 if even else tensor + 0.05 + 0.25 * tensor * tensor, tensor)


def is_float(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _port(leaf: Leaf) -> Port:
    """Of a parameter."""
    return Port(leaf.entries[0].dim, leaf.entries[0].strands)


def _part(inputs: Any) -> Any:
    """Of images a corner, and of tokens, and of all that is as long as they are, such as a mask, the first places."""
    lengths = {tensor.shape[1] for tensor in leaves(inputs) if tensor.ndim == 2 and not tensor.is_floating_point()}

    def part(tensor: Tensor) -> Tensor:
        for dim, size in enumerate(tensor.shape):
            if tensor.ndim > 3 and dim > 1 and tensor.is_floating_point():
                tensor = tensor.narrow(dim, 0, min(size, SIDES))
            elif tensor.ndim < 4 and dim > 0 and size in lengths:
                tensor = tensor.narrow(dim, 0, min(size, PLACES))
        return tensor

    return mapped(part, inputs)


def _noise(parts: list[Any], leaf: Leaf, flip: int, generator: torch.Generator) -> list[Any]:
    """In turns over the positions: positive, negative, and one of each, as `flip` says; positive on average."""
    ports = iter(leaf.outputs)
    made = []
    for part in parts:
        if is_float(part):
            port = next(ports, None)
            place = sum(
                torch.arange(size).view(-1, *[1] * (part.ndim - 1 - dim))
                for dim, size in enumerate(part.shape)
                if port is None or dim != port.dim % part.ndim
            )
            drawn = torch.rand(part.shape, generator=generator)
            turn = torch.as_tensor(place) % 4
            positive = (turn == 0) | (turn == 2 + flip)
            if port is None:
                positive = torch.ones_like(positive)
            part = torch.where(positive, 0.4 + 0.5 * drawn, -0.1 - 0.2 * drawn).to(part.dtype)
        made.append(part)
    return made
