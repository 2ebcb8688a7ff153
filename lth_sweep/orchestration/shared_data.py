"""Data sets once per node: the driver, which has read them to check the sweep file, puts them into Ray's object store,
and every worker sees them there without a copy of its own."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import ray
import torch

from lth_sweep.lottery.common.identity import digest
from lth_sweep.lottery.data import Data, Examples, Splits, load
from lth_sweep.sweepfile.space import data_sets
from lth_sweep.sweepfile.spec import SweepSpec

MOST = 20
"""Data sets of a sweep that are shared; where a space has more of them, workers read the others themselves."""


def share(spec: SweepSpec) -> dict[str, Callable[[Data], Splits]]:
    """For `Work.data`: the data sets that the trials of this sweep are trained on."""
    found = {digest(data): data for data in islice(data_sets(spec.base, spec.space), MOST)}
    return {key: _Shared(_put(load(data))) for key, data in found.items()}


def _put(splits: Splits) -> Any:
    return ray.put(([tensor.numpy() for tensor in (*splits.train, *splits.validation)], splits.classes))


@dataclass(frozen=True)
class _Shared:
    """Gives the splits in a worker. The test split is not shared: it is read once, at the end, where it is needed."""

    arrays: Any
    """Of Ray's object store."""

    def __call__(self, data: Data) -> Splits:
        arrays, classes = ray.get(self.arrays)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the arrays are read-only, and nothing writes to examples
            train_x, train_y, x, y = map(torch.from_numpy, arrays)
        return Splits(Examples(train_x, train_y), Examples(x, y), lambda: data.load().test(), classes)
