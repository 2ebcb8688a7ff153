"""What a data set is here: tensors, split once by a seed, the test split behind a door of its own."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from lth_sweep.lottery.common.errors import require
from lth_sweep.lottery.common.identity import digest
from lth_sweep.lottery.common.registry import Strategy


class Examples(NamedTuple):
    """Inputs x, float32 [n, ...], and labels y, int64 [n]."""

    x: Tensor
    y: Tensor

    def to(self, device: torch.device | str) -> "Examples":
        return Examples(self.x.to(device), self.y.to(device))


@dataclass(frozen=True)
class Splits:
    """A data set, split. `test` is a function, so that nothing is read until somebody asks; a search never does."""

    train: Examples
    validation: Examples
    test: Callable[[], Examples] = field(repr=False)
    classes: int = 10

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input, without the batch dimension."""
        return tuple(self.train.x.shape[1:])

    @property
    def example(self) -> Any:
        """A batch of the first up to 4 training inputs."""
        return self.train.x[:4]

    @cached_property
    def digest(self) -> str:
        """Content of the train and validation tensors; two data sets with the same tensors share their stages."""
        content = hashlib.blake2b(digest_size=16)
        for tensor in (*self.train, *self.validation):
            content.update(repr((tensor.dtype, tuple(tensor.shape))).encode())
            content.update(tensor.contiguous().numpy().data)
        return content.hexdigest()


class Data(Strategy):
    """A family of data sets. `load` returns float32 inputs, ready for the network, on the CPU."""

    family: ClassVar[str] = "data set"

    def load(self) -> Splits:
        """The splits. Raises ConfigError, naming the folder and the remedy, where files are missing or damaged."""
        raise NotImplementedError


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
