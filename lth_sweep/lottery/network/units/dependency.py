"""What depends on what in a network, measured: a change of some channels of a layer shows in what other layers read.

So it does not matter what the network does between its layers: flatten, split, shuffle, join, gate, attend.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn

from lth_sweep.lottery.network.units.cut import Cut
from lth_sweep.lottery.network.units.leaves import Leaf

TESTS, BLOCKS = 512, 64
"""How many channels that a network mixes are looked at one by one, of a layer and of a parameter that the network uses
directly; more are in blocks of neighbours, which is coarser, but not wrong."""

MOST_TIMES = 16
"""That a layer runs in one pass, where its outputs are added up."""

Pairs = Tensor
"""int64 [2, n]: numbers of what is depended on, and of what depends on it."""


@dataclass(frozen=True)
class Dependency:
    """Layers go by their numbers in `leaves`, their strands by those that follow `starts`."""

    names: list[str]
    leaves: list[Leaf]
    starts: list[int]
    reads: dict[int, list[int]]
    """Layer -> those that it reads."""
    pairs: dict[int, Pairs]
    """Layer, or parameter that is used directly -> its strands and those that depend on them."""
    direct: frozenset[int]
    output: frozenset[int]
    """What the network's output depends on."""
    added: Tensor
    """Bool [strands]: those that read a sum of what several layers make."""


@torch.no_grad()
def measured(module: nn.Module, example: Any) -> Dependency:
    """Changes the `module`, which is on the CPU. Raises whatever the network raises, and TimeoutError."""
    cut = Cut(module, example)
    leaves = cut.leaves
    for index in _leaks(cut):
        leaves[index] = replace(leaves[index], fixed="its parameters are used outside of it")
    starts = [0]
    for leaf in leaves:
        starts.append(starts[-1] + leaf.count)
    sources = [index for index, leaf in enumerate(leaves) if any(leaf.outputs) or index in cut.direct]
    reads, output = _readers(cut, sources)
    pairs: dict[int, Pairs] = {}
    for some in _apart(sources, reads):
        pairs |= _strands(cut, some, reads, starts)
    added = torch.zeros(starts[-1], dtype=torch.bool)
    for reader, strands in _added(cut, reads).items():
        added[starts[reader] : starts[reader + 1]] = strands
    return Dependency(cut.names, leaves, starts, reads, pairs, frozenset(cut.direct), output, added)


def decoded(count: int, test: Callable[[Tensor], Tensor], most: int) -> Pairs:
    """Which of `count` things change which readers. test: what changes, bool [readers], where these things (bool
    [count]) do.

    Each bit of a thing's number has a test of the things that have it, and one of those that have not. A reader that
    changes in just one of each two depends on one thing, whose number that spells. Of others, all things whose numbers
    are possible are tested alone, or, where they are more than `most`, in blocks of neighbours.
    """
    numbers = torch.arange(count)
    bits = [numbers >> bit & 1 == 1 for bit in range(max(1, (count - 1).bit_length()))]
    nothing = torch.zeros_like(test(numbers < 0))
    ones = torch.stack([test(bit) if bit.any() else nothing for bit in bits])
    zeros = torch.stack([test(~bit) if not bit.all() else nothing for bit in bits])
    alone = (ones ^ zeros).all(0)
    spelt = (ones.long() << torch.arange(len(bits))[:, None]).sum(0)
    readers = alone.nonzero().flatten()
    found = [torch.stack([spelt[readers], readers])]
    unclear = (ones | zeros).any(0) & ~alone
    if unclear.any():
        possible = torch.stack([torch.where(bit[:, None], one[unclear], zero[unclear])
                                for bit, one, zero in zip(bits, ones, zeros, strict=True)])  # fmt: skip
        candidates = possible.all(0).any(1).nonzero().flatten()
        for block in candidates.split(-(-len(candidates) // most)):
            changed = (test(torch.isin(numbers, block)) & unclear).nonzero().flatten()
            found.append(torch.cartesian_prod(block, changed).T)
    return torch.cat(found, 1)


def _all(leaf: Leaf) -> Tensor:
    return torch.ones(leaf.count, dtype=torch.bool)


def _leaks(cut: Cut) -> list[int]:
    """Layers whose parameters the network uses elsewhere, too, as where an embedding's weight makes the output."""

    def seen(layers: list[nn.Module]) -> bool:
        tensors = list({tensor.data_ptr(): tensor for layer in layers for tensor in layer.parameters()}.values())
        some = [tensor.view(-1)[:: 1 + tensor.numel() // 1000] for tensor in tensors if tensor.is_floating_point()]
        before = [tensor.clone() for tensor in some]
        for tensor in some:
            tensor.add_(1 + tensor.abs())
        found, output = cut.changes({}, range(len(cut.leaves)))
        for tensor, old in zip(some, before, strict=True):
            tensor.copy_(old)
        return output or any(bool(strands.any()) for strands in found.values())

    if not seen(list(cut.layers)):
        return []
    return [index for layer, index in cut.layers.items() if seen([layer])]


def _readers(cut: Cut, sources: list[int]) -> tuple[dict[int, list[int]], frozenset[int]]:
    """Layer -> what it reads; and what the output depends on."""
    everyone = range(len(cut.leaves))

    def test(chosen: Tensor) -> Tensor:
        everything = {
            index: _all(cut.leaves[index]) for index, yes in zip(sources, chosen.tolist(), strict=True) if yes
        }
        found, output = cut.changes(everything, everyone)
        return torch.tensor([*(bool(found[index].any()) for index in everyone), output])

    reads: dict[int, list[int]] = {}
    for source, reader in sorted(decoded(len(sources), test, len(sources)).T.tolist()):
        reads.setdefault(reader, []).append(sources[source])
    return reads, frozenset(reads.pop(len(everyone), []))


def _apart(sources: list[int], reads: dict[int, list[int]]) -> list[list[int]]:
    """Those that no layer reads both of can be looked at in the same passes."""
    readers = {source: {reader for reader, read in reads.items() if source in read} for source in sources}
    groups: list[tuple[list[int], set[int]]] = []
    for source in [source for source in sources if readers[source]]:
        for members, taken in groups:
            if not taken & readers[source]:
                members.append(source)
                taken |= readers[source]
                break
        else:
            groups.append(([source], set(readers[source])))
    return [members for members, _ in groups]


def _strands(cut: Cut, sources: list[int], reads: dict[int, list[int]], starts: list[int]) -> dict[int, Pairs]:
    """For each of the sources, which no layer reads two of: its strands, and those that depend on them."""
    source_of = {reader: source for reader, read in reads.items() for source in sources if source in read}
    owner = torch.cat([torch.full((cut.leaves[reader].count,), source) for reader, source in source_of.items()])
    strands = torch.cat([torch.arange(starts[reader], starts[reader + 1]) for reader in source_of])
    made = {source: _made(cut.leaves[source]) for source in sources}

    def test(chosen: Tensor) -> Tensor:
        changes = {}
        for source, own in made.items():
            changes[source] = torch.zeros(cut.leaves[source].count, dtype=torch.bool)
            changes[source][own] = chosen[: len(own)]
        found, _ = cut.changes(changes, source_of)
        return torch.cat([found[reader] > 0 for reader in source_of])

    most = BLOCKS if all(source in cut.direct for source in sources) else TESTS
    which, places = decoded(max(map(len, made.values())), test, most)
    found = {}
    for source, own in made.items():
        mine = (owner[places] == source) & (which < len(own))
        found[source] = torch.stack([starts[source] + own[which[mine]], strands[places[mine]]])
    return found


def _made(leaf: Leaf) -> Tensor:
    """The strands that others may depend on: those of its outputs, or all of a parameter."""
    ports = [port.strands for port in leaf.outputs if port]
    return torch.cat(ports).unique() if ports else torch.arange(leaf.count)


def _added(cut: Cut, reads: dict[int, list[int]]) -> dict[int, Tensor]:
    """Layer -> its strands, bool, that read a sum of what several layers make: it makes no difference to them which of
    two makes so much more, or, of one that runs several times, that many times as much. Activations before the sum are
    out of the way where numbers are large."""
    several = {
        reader: layers
        for reader, read in reads.items()
        if len(layers := [source for source in read if source not in cut.direct]) > 1
    }
    found = {reader: torch.zeros(cut.leaves[reader].count, dtype=torch.bool) for reader in several}
    for above in (0.0, 30.0):
        several = {reader: read for reader, read in several.items() if not found[reader].any()}
        if not several:
            break
        cut.settle(above)
        changes: dict[int, dict[int, Tensor]] = {}
        for source in sorted({source for read in several.values() for source in read}):
            readers = [reader for reader, read in several.items() if source in read]
            changes[source], _ = cut.changes({source: _all(cut.leaves[source])}, readers)
        for reader, read in several.items():
            for one, other in combinations(read, 2):
                mine, theirs = changes[one][reader], changes[other][reader]
                less, more = torch.minimum(mine, theirs), torch.maximum(mine, theirs)
                times = (more / less.clamp(min=1e-30)).round().clamp(max=MOST_TIMES)
                found[reader] |= ((more - times * less).abs() <= 1e-4 * more) & (less > 0)
    return found
