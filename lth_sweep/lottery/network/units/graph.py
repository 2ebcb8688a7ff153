"""Which units a network has: what depends on one another goes together, and has been seen to be removable."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lth_sweep.lottery.data.batch import first
from lth_sweep.lottery.network.norms import forget
from lth_sweep.lottery.network.state import first_names
from lth_sweep.lottery.network.tracing import copied, part_by_part
from lth_sweep.lottery.network.units.dependency import Dependency, measured
from lth_sweep.lottery.network.units.leaves import Role
from lth_sweep.lottery.network.units.parts import Graph, Part, Units
from lth_sweep.lottery.network.units.removable import CHANGES, changes, not_removable
from lth_sweep.lottery.network.units.same import once_per_structure

Key = tuple[str, int, Role]
"""A parameter, one of its dimensions, and what its entries are there."""


@once_per_structure
def read(module: nn.Module, example: Any) -> Graph:
    """The units of a network. Whatever goes wrong while looking, as in a user's own network, spares all layers."""
    with part_by_part():
        try:
            whole = copied(module).cpu().eval()
            for layer in whole.modules():
                forget(layer)
            if changes(whole, first(example, 2, "cpu")):
                return Graph((), {}, {"": CHANGES})
            found = _Components(measured(copied(whole), example), whole)
        except Exception as error:  # of any kind, in the user's code
            reason = f"cannot tell which units belong together: {type(error).__name__}: {error}".partition("\n")[0]
            return Graph((), {}, {"": reason})
        units = found.units()
        failed = not_removable(whole, units, example)
    kept = tuple(group for number, group in enumerate(units) if number not in failed)
    removable = {part.parameter for group in kept for part in group.rows}
    spared = {name: reason for name, reason in found.reasons().items() if name not in removable}
    for number, reason in failed.items():
        spared |= {part.parameter: reason for part in units[number].rows if part.parameter not in removable}
    return Graph(kept, found.norms(), spared)


class _Components:
    """Strands that depend on one another have one label."""

    def __init__(self, seen: Dependency, module: nn.Module) -> None:
        self._seen, self._module = seen, module
        tensors = module.state_dict(keep_vars=True)
        self._first = first_names(module)
        self._shapes = {name: tensor.shape for name, tensor in tensors.items()}
        self._frozen = {name for name, tensor in tensors.items() if not tensor.requires_grad}
        self._entries = list(self._all_entries())
        pairs = [
            pairs for index, pairs in seen.pairs.items() if index not in seen.direct and not self._is_single(index)
        ]
        self._labels = _connected(seen.starts[-1], torch.cat([*pairs, *self._shared(), torch.zeros(2, 0).long()], 1))
        self._join_direct()
        self._fixed = self._find_fixed()
        self._members: dict[int, dict[Key, Tensor]] = defaultdict(dict)
        for key, strands in self._entries:
            if key[2] != "fixed":
                for label, entries in _split(self._labels[strands]):
                    self._members[label].setdefault(key, entries)

    def units(self) -> list[Units]:
        """In the order of the parameters."""
        kinds: dict[Any, list[int]] = defaultdict(list)
        for label, members in self._members.items():
            if not self._why(label):
                kinds[tuple((key, len(entries)) for key, entries in sorted(members.items()))].append(label)
        order = {name: number for number, name in enumerate(self._shapes)}
        found = []
        for signature, labels in kinds.items():
            if len(labels) > 1:
                parts = [
                    Part(name, dim, self._shapes[name][dim],
                         torch.stack([self._members[label][name, dim, role] for label in labels]), role)
                    for (name, dim, role), _ in sorted(signature, key=lambda part: order[part[0][0]])
                ]  # fmt: skip
                first = Units(tuple(parts), False).rows[0]
                by_row = first.indices[:, 0].argsort()
                parts = [replace(part, indices=part.indices[by_row]) for part in parts]
                place = order[first.parameter], int(first.indices.min())
                found.append((place, Units(tuple(parts), self._is_coupled(labels, parts))))
        return [units for _, units in sorted(found, key=lambda one: one[0])]

    def norms(self) -> dict[str, str]:
        """See `Graph`."""
        seen, found = self._seen, {}
        for index, read in seen.reads.items():
            norm = self._module.get_submodule(seen.names[index]) if index not in seen.direct else None
            if isinstance(norm, _BatchNorm) and norm.affine and len(read) == 1 and read[0] not in seen.direct:
                port, start = seen.leaves[read[0]].outputs[0], seen.starts[read[0]]
                strands = [] if port is None else port.strands.tolist()
                pairs = set(map(tuple, seen.pairs[read[0]].T.tolist()))
                each = {(start + strand, seen.starts[index] + number) for number, strand in enumerate(strands)}
                if len(strands) == norm.num_features and pairs >= each:
                    found[self._name(read[0], "weight")] = seen.names[index]
        return found

    def reasons(self) -> dict[str, str]:
        """Parameter that makes units -> why they cannot be removed, as far as that is known."""
        found: dict[str, str] = {}
        for (name, _, role), strands in self._entries:
            if role in ("producer", "depthwise", "direct"):
                labels = self._labels[strands].unique().tolist()
                reasons = [reason for label in labels if (reason := self._why(label))]
                found.setdefault(name, reasons[0] if reasons else "all its units can only go together")
        return found

    def _why(self, label: int) -> str:
        """Why a unit cannot go; empty where it may."""
        members = self._members[label]
        roles = {role for _, _, role in members}
        if label in self._fixed:
            return self._fixed[label]
        if any(name in self._frozen for name, _, role in members if role in ("producer", "depthwise")):
            return "a frozen layer makes its units"
        if not roles & {"producer", "depthwise", "direct"}:
            return "no parameter makes its units"
        return "" if "consumer" in roles else "no layer reads its units one by one"

    def _name(self, index: int, parameter: str) -> str:
        """A layer's parameter, by the first of its names."""
        prefix = self._seen.names[index]
        return self._first.get(f"{prefix}.{parameter}" if prefix else parameter, "")

    def _all_entries(self) -> Iterator[tuple[Key, Tensor]]:
        """Each with the strands of its entries."""
        for index, leaf in enumerate(self._seen.leaves):
            for one in leaf.entries:
                name = self._seen.names[index] if index in self._seen.direct else self._name(index, one.parameter)
                yield (self._first[name], one.dim, one.role), self._seen.starts[index] + one.strands

    def _shared(self) -> Iterator[Tensor]:
        """Pairs of strands that have the same entries of a parameter, which several layers share."""
        known: dict[tuple[str, int], Tensor] = {}
        for (name, dim, _), strands in self._entries:
            yield torch.stack([known.setdefault((name, dim), strands), strands])

    def _is_single(self, index: int) -> bool:
        """Whether a layer makes a single unit, as one that gates all channels does: it stays, and does not tie them."""
        return len(torch.cat([port.strands for port in self._seen.leaves[index].outputs if port]).unique()) == 1

    def _join_direct(self) -> None:
        """The entries of a parameter that the network uses directly, such as a position embedding, go with the units
        that depend on them; but not along a dimension where that would be all units, as that of positions."""
        for index in sorted(self._seen.direct & self._seen.pairs.keys()):
            known = torch.stack([torch.arange(len(self._labels)), self._labels])
            joined = _connected(len(self._labels), torch.cat([known, self._seen.pairs[index]], 1))
            if len(joined[self._seen.pairs[index][1]].unique()) > 1:
                self._labels = joined

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

    @cached_property
    def _recurrent(self) -> set[str]:
        """The parameters of recurrent layers, which read what they make themselves."""
        return {
            self._first[f"{prefix}.{name}" if prefix else name]
            for prefix, module in self._module.named_modules() if isinstance(module, nn.RNNBase | nn.RNNCellBase)
            for name in module._parameters
        }  # fmt: skip

    def _is_coupled(self, labels: list[int], parts: list[Part]) -> bool:
        made = {part.parameter for part in parts if part.role == "producer"} - self._recurrent
        itself = any(part.parameter in made for part in parts if part.role == "consumer")
        added = torch.isin(torch.tensor(labels), self._labels[self._seen.added]).double().mean() > 0.5
        return itself or bool(added) or any(part.role == "depthwise" for part in parts)


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
