"""Which weights are kept."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Masks:
    """One bool tensor per masked parameter, true = kept, on the CPU."""

    weights: Mapping[str, Tensor]
    """Of all prunable weights."""
    others: Mapping[str, Tensor] = field(default_factory=dict)
    """Where whole units are gone, of the biases, normalisation parameters and the like that went with them. They are
    never scored, and do not count towards the density."""

    @classmethod
    def full(cls, shapes: Mapping[str, tuple[int, ...]]) -> "Masks":
        return cls({name: torch.ones(shape, dtype=torch.bool) for name, shape in shapes.items()})

    @cached_property
    def tensors(self) -> Mapping[str, Tensor]:
        """All of them."""
        return {**self.weights, **self.others}

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def replace(self, tensors: Mapping[str, Tensor]) -> "Masks":
        """With these for those of the same names; those that are new here are no weights'."""
        others = {name: mask for name, mask in tensors.items() if name not in self.weights}
        return Masks({name: tensors.get(name, mask) for name, mask in self.weights.items()}, {**self.others, **others})

    @cached_property
    def kept(self) -> dict[str, int]:
        """Kept entries of each masked parameter."""
        return {name: int(mask.count_nonzero()) for name, mask in self.tensors.items()}

    @property
    def density(self) -> float:
        """Kept weights / all prunable weights."""
        return sum(self.kept[name] for name in self.weights) / sum(mask.numel() for mask in self.weights.values())

    @property
    def is_full(self) -> bool:
        return all(self.kept[name] == mask.numel() for name, mask in self.tensors.items())

    @cached_property
    def digest(self) -> str:
        """Of the content, so that recipes that arrive at the same masks share their stages."""
        content = hashlib.blake2b(digest_size=16)
        for name in sorted(self.tensors):
            mask = self.tensors[name]
            other = mask.ndim > 1 and name in self.others  # with one dimension it is no weight's anyway
            content.update(repr((name, tuple(mask.shape), *(["other"] if other else []))).encode())
            content.update(pack(mask).numpy().data)
        return content.hexdigest()


def pack(mask: Tensor) -> Tensor:
    """A bool tensor as bits, 8 to a byte, first entry in the highest bit; uint8 [ceil(n / 8)]."""
    bits = torch.nn.functional.pad(mask.flatten().to(torch.uint8), (0, -mask.numel() % 8)).view(-1, 8)
    return (bits << torch.arange(7, -1, -1, dtype=torch.uint8)).sum(1, dtype=torch.uint8)


def unpack(packed: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The bool tensor of `shape` that `pack` made `packed` from."""
    bits = (packed[:, None] >> torch.arange(7, -1, -1, dtype=torch.uint8)) & 1
    return bits.flatten()[: int(torch.Size(shape).numel())].view(shape).bool()
