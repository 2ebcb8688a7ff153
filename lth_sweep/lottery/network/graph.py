"""Which units a network has: what depends on one another goes together, and has been seen to be removable."""

import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lth_sweep.lottery.network.dependency import Dependency, measured
from lth_sweep.lottery.network.leaves import Role
from lth_sweep.lottery.network.norms import forget
from lth_sweep.lottery.network.removable import not_removable
from lth_sweep.lottery.network.state import first_names
from lth_sweep.lottery.network.tracing import copied
from lth_sweep.lottery.network.units import Graph, Part, Units

Key = tuple[str, int, Role]
"""A parameter, one of its dimensions, and what its entries are there."""


def read(module: nn.Module, weights: Mapping[str, str], example: Any) -> Graph:
    """The units of a network. weights: layer -> its prunable parameter. Whatever goes wrong while looking, as in a
    user's own network, spares all layers."""
    whole = copied(module).cpu().eval()
    for layer in whole.modules():
        forget(layer)
    with _quiet():
        try:
            found = _Components(measured(copied(whole), example), whole, weights)
        except Exception as error:  # of any kind, in the user's code
            reason = f"cannot tell which units belong together: {type(error).__name__}: {error}".partition("\n")[0]
            return Graph({}, {}, dict.fromkeys(weights, reason))
        units = found.units()
        failed = not_removable(whole, units, example)
    kept = {name: group for name, group in units.items() if name not in failed}
    removable = {layer for group in kept.values() for layer in group.layers}
    because = {layer: reason for name, reason in failed.items() for layer in units[name].layers}
    spared = {layer: because.get(layer) or found.reason(layer) for layer in weights if layer not in removable}
    return Graph(kept, found.norms(), spared)


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings; and TransformerEncoderLayer calls its parts in evaluation mode, too."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


class _Components:
    """Strands that depend on one another have one label."""

    def __init__(self, seen: Dependency, module: nn.Module, weights: Mapping[str, str]) -> None:
        self._seen, self._module, self._weights = seen, module, weights
        self._layer_of = {parameter: layer for layer, parameter in weights.items()}
        tensors = module.state_dict(keep_vars=True)
        self._first = first_names(module)
        self._shapes = {name: tensor.shape for name, tensor in tensors.items()}
        self._frozen = {name for name, tensor in tensors.items() if not tensor.requires_grad}
        self._entries = list(self._all_entries())
        pairs = [pairs for index, pairs in seen.pairs.items() if index not in seen.direct]
        self._labels = _connected(seen.starts[-1], torch.cat([*pairs, *self._shared(), torch.zeros(2, 0).long()], 1))
        self._join_direct()
        self._fixed = self._find_fixed()
        self._members: dict[int, dict[Key, Tensor]] = defaultdict(dict)
        for key, strands in self._entries:
            if key[2] != "fixed":
                for label, entries in _split(self._labels[strands]):
                    self._members[label].setdefault(key, entries)

    def units(self) -> dict[str, Units]:
        """By the first of their layers."""
        kinds: dict[Any, list[dict[Key, Tensor]]] = defaultdict(list)
        labels: dict[Any, list[int]] = defaultdict(list)
        for label, members in self._members.items():
            if not self._why(label):
                signature = tuple((key, len(entries)) for key, entries in sorted(members.items()))
                kinds[signature].append(members)
                labels[signature].append(label)
        order = list(self._weights)
        found = []
        for signature, units in kinds.items():
            if len(units) > 1:
                parts = [
                    Part(name, dim, self._shapes[name][dim], torch.stack([one[name, dim, role] for one in units]), role)
                    for (name, dim, role), _ in signature
                ]
                rows = {self._layer_of[part.parameter]: part for part in parts
                        if part.role in ("producer", "depthwise") and part.parameter in self._layer_of}  # fmt: skip
                rows = {layer: rows[layer] for layer in order if layer in rows}
                found.append(Units(tuple(parts), rows, self._is_coupled(labels[signature], parts)))
        named: dict[str, Units] = {}
        for one in sorted(found, key=lambda units: (order.index(next(iter(units.layers))), _start(units))):
            first = next(iter(one.layers))
            names = (first if number == 1 else f"{first}#{number}" for number in range(1, len(found) + 1))
            named[next(name for name in names if name not in named)] = _sorted(one)
        return named

    def norms(self) -> dict[str, str]:
        """See `Graph`."""
        seen, found = self._seen, {}
        for index, read in seen.reads.items():
            norm = self._module.get_submodule(seen.names[index]) if index not in seen.direct else None
            if isinstance(norm, _BatchNorm) and norm.affine and len(read) == 1 and seen.leaves[read[0]].outputs:
                port, layer = seen.leaves[read[0]].outputs[0], seen.names[read[0]]
                pairs = set(map(tuple, seen.pairs.get(read[0], torch.zeros(2, 0)).T.tolist()))
                strands = [] if port is None else port.strands.tolist()
                each = [(seen.starts[read[0]] + strand, seen.starts[index] + number)
                        for number, strand in enumerate(strands)]  # fmt: skip
                if layer in self._weights and len(each) == norm.num_features and pairs >= set(each):
                    found[layer] = seen.names[index]
        return found

    def reason(self, layer: str) -> str:
        """Why no unit of a layer can be removed."""
        rows = [self._labels[strands] for (name, _, role), strands in self._entries
                if name == self._weights[layer] and role in ("producer", "depthwise")]  # fmt: skip
        labels = torch.cat(rows).unique().tolist() if rows else []
        if not labels:
            return "it is used as a parameter of its own, and not by a layer"
        reasons = [reason for label in labels if (reason := self._why(label))]
        return reasons[0] if reasons else "all its units can only go together"

    def _why(self, label: int) -> str:
        """Why a unit cannot go; empty where it may."""
        members = self._members[label]
        roles = {role for _, _, role in members}
        rows = {name for name, _, role in members if role in ("producer", "depthwise")}
        if label in self._fixed:
            return self._fixed[label]
        if not rows & self._layer_of.keys():
            return "no weight that can be pruned makes its units"
        if rows & self._frozen:
            return "a frozen layer makes its units"
        return "" if "consumer" in roles else "no layer reads its units"

    def _all_entries(self) -> Iterator[tuple[Key, Tensor]]:
        """Each with the strands of its entries."""
        for index, leaf in enumerate(self._seen.leaves):
            direct = index in self._seen.direct
            for one in leaf.entries:
                name = one.parameter if direct or not self._seen.names[index] else (
                    f"{self._seen.names[index]}.{one.parameter}")  # fmt: skip
                name = self._first[name]
                role: Role = "producer" if direct and name in self._layer_of else one.role
                yield (name, one.dim, role), self._seen.starts[index] + one.strands

    def _shared(self) -> Iterator[Tensor]:
        """Pairs of strands that have the same entries of a parameter, which several layers share."""
        known: dict[tuple[str, int], Tensor] = {}
        for (name, dim, _), strands in self._entries:
            yield torch.stack([known.setdefault((name, dim), strands), strands])

    def _join_direct(self) -> None:
        """Of a parameter that the network uses directly, such as a position embedding, those entries go with a unit
        that nothing else depends on; along its other dimensions they have nothing to do with units."""
        for index in self._seen.direct:
            if index in self._seen.pairs:
                strands, readers = self._seen.pairs[index]
                each = torch.stack([strands, self._labels[readers]]).unique(dim=1)
                if len(each[0].unique()) == each.shape[1] and len(each[1].unique()) > 1:
                    self._labels[each[0]] = each[1]

    def _find_fixed(self) -> dict[int, str]:
        """Label -> why it has to stay."""
        seen = self._seen
        fixed: dict[int, str] = {}
        for (_, _, role), strands in self._entries:
            if role == "fixed":
                fixed |= dict.fromkeys(self._labels[strands].tolist(), "each token has to keep its row of an embedding")
        for index, leaf in enumerate(seen.leaves):
            own = self._labels[seen.starts[index] : seen.starts[index + 1]]
            if leaf.fixed:
                fixed |= dict.fromkeys(own.tolist(), f"{seen.names[index]}: {leaf.fixed}")
            if index in seen.output and index not in seen.direct:
                made = torch.cat([port.strands for port in leaf.outputs if port])
                fixed |= dict.fromkeys(own[made].tolist(), "its units are the network's output")
        return fixed

    def _is_coupled(self, labels: list[int], parts: list[Part]) -> bool:
        recurrent = {
            self._first[f"{prefix}.{name}" if prefix else name]
            for prefix, module in self._module.named_modules() if isinstance(module, nn.RNNBase | nn.RNNCellBase)
            for name in module._parameters
        }  # fmt: skip
        made = {part.parameter for part in parts if part.role == "producer"} - recurrent
        itself = any(part.parameter in made for part in parts if part.role == "consumer")
        added = bool(torch.isin(self._labels[self._seen.added], torch.tensor(labels)).any())
        return itself or added or any(part.role == "depthwise" for part in parts)


def _connected(count: int, pairs: Tensor) -> Tensor:
    """A label for each of `count` things, the same for those that pairs connect."""
    labels = torch.arange(count)
    while True:
        lower = labels[pairs].amin(0)
        new = labels
        for end in pairs:
            new = new.scatter_reduce(0, end, lower, "amin")
        new = new[new]
        if torch.equal(new, labels):
            return labels
        labels = new


def _split(labels: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Each label that occurs, and where."""
    order = labels.argsort(stable=True)
    values, counts = labels[order].unique_consecutive(return_counts=True)
    yield from zip(values.tolist(), order.split(counts.tolist()), strict=True)


def _start(units: Units) -> int:
    return int(next(iter(units.layers.values())).indices.min())


def _sorted(units: Units) -> Units:
    """In the order of the rows of their first layer."""
    order = next(iter(units.layers.values())).indices[:, 0].argsort()
    parts = {id(part): Part(part.parameter, part.dim, part.size, part.indices[order], part.role)
             for part in units.parts}  # fmt: skip
    return Units(tuple(parts.values()), {layer: parts[id(part)] for layer, part in units.layers.items()}, units.coupled)
