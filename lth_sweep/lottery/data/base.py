"""What a data set is here: tensors, split once by a seed, the test split behind a door of its own."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from lth_sweep.lottery.common.errors import require
from lth_sweep.lottery.common.identity import digest
from lth_sweep.lottery.common.registry import Strategy
from lth_sweep.lottery.data.source import Examples, Source

__all__ = ["Data", "Examples", "Source", "Splits", "load", "permutation", "provide", "require_seed"]

FEW = 4
"""Examples that a network is tried on."""


@dataclass(frozen=True)
class Splits:
    """A data set, split. `test` is a function, so that nothing is read until somebody asks; a search never does."""

    train: Source
    validation: Source
    test: Callable[[], Source] = field(repr=False)
    classes: int | None = None
    """As many as the data set says that it has, where its targets are classes."""
    labels: tuple[int, ...] | None = field(default=None, repr=False)
    """All whole numbers that are targets, in order, of the test split, too; None where it does not say."""

    @cached_property
    def example(self) -> Any:
        """The inputs of the first few training examples: what a network is built for."""
        return self.train.first(FEW).x

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input, without the batch dimension."""
        return tuple(self.example.shape[1:])

    @cached_property
    def digest(self) -> str:
        """Of what is trained on and judged by, and for how many classes; two data sets with the same examples share
        their stages."""
        return digest([self.train.fingerprint, self.validation.fingerprint, self.classes])


class Data(Strategy):
    """A family of data sets. `load` returns inputs that are ready for the network, on the CPU."""

    family: ClassVar[str] = "data set"

    def load(self) -> Splits:
        """The splits. Raises ConfigError, naming the folder and the remedy, where files are missing or damaged."""
        raise NotImplementedError

    def check(self, splits: Splits) -> None:
        """Raise ConfigError where these are not what another process would load."""


@cache
def load(data: Data) -> Splits:
    """The splits of `data`, read once per process."""
    source = _provided.get(digest(data))
    return source(data) if source else data.load()


_provided: dict[str, Callable[[Data], Splits]] = {}


def provide(key: str, source: Callable[[Data], Splits]) -> None:
    """From now on `load` in this process takes the data set with this digest from `source` and does not read it."""
    _provided[key] = source


def require_seed(split_seed: int) -> None:
    """What PyTorch's generators take as a seed."""
    require(0 <= split_seed < 2**63, "split_seed", f"must be 0 or more and below 2**63, but got {split_seed}")


def permutation(n: int, seed: int) -> Tensor:
    """A fixed order of n examples, from a generator of its own."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))
