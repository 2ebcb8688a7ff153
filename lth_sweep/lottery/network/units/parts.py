"""Which entries of which parameters go together when a unit goes."""

from dataclasses import dataclass, field

from torch import Tensor, nn

from lth_sweep.lottery.network.units.leaves import Role


@dataclass(frozen=True)
class Part:
    """The entries of a parameter or buffer, along one of its dimensions, that belong to units: to unit u those in row u
    of `indices`."""

    parameter: str
    dim: int
    size: int
    """All entries along that dimension."""
    indices: Tensor
    """int64 [units, entries of each]."""
    role: Role

    def units(self, entries: Tensor) -> Tensor:
        """Bool [units]: those any of whose entries are true in `entries`, a bool for each."""
        return entries[self.indices].any(1)

    def entries(self, units: Tensor) -> Tensor:
        """The entries of these units (a bool for each)."""
        return self.indices[units].flatten()


@dataclass(frozen=True)
class Units:
    """The units of a layer, or those that several layers share: unit u of one goes with unit u of all."""

    parts: tuple[Part, ...]
    coupled: bool
    """Whether a unit of one layer can only go with one of another, or of itself at another place, because their outputs
    are added, or because a depthwise convolution reads it."""
    layers: dict[str, Part] = field(default_factory=dict)
    """Of `rows`, those of layers that can be pruned, by their names."""

    @property
    def count(self) -> int:
        return len(self.parts[0].indices)

    @property
    def rows(self) -> list[Part]:
        """What they are made of, as far as that is no bias or norm."""
        return [part for part in self.parts if part.role in ("producer", "depthwise", "direct")]

    @property
    def producers(self) -> list[Part]:
        return [part for part in self.parts if part.role == "producer"]

    @property
    def consumers(self) -> list[Part]:
        return [part for part in self.parts if part.role == "consumer"]


@dataclass(frozen=True)
class Graph:
    """Of a network, whatever of it is to be pruned."""

    units: tuple[Units, ...]
    """The network has been seen to compute the same without them."""
    norms: dict[str, str]
    """Weight -> the BatchNorm with a scale (gamma) that reads what the weight makes, and nothing else."""
    spared: dict[str, str]
    """Parameter whose units cannot be removed -> why; others of which nothing is known have the reason of ""."""


def units_dim(layer: nn.Module) -> int:
    """The dimension of a layer's inputs and outputs along which its columns and rows lie."""
    return -1 if isinstance(layer, nn.Linear) else 1


def is_depthwise(module: nn.Module) -> bool:
    """Whether each input channel of a convolution is read on its own."""
    groups = getattr(module, "groups", 1)
    return groups > 1 and groups == module.in_channels
