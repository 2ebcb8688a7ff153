"""Small sets that other packages bring along, scikit-learn's digits and MNIST-1D; no download."""

import random
from dataclasses import dataclass

import numpy as np
import torch

from lth_sweep.lottery.common.errors import import_optional
from lth_sweep.lottery.data.base import Data, Examples, Splits, permutation, require_seed


@dataclass(frozen=True)
class Packaged(Data):
    """A set that is split by `split_seed`."""

    split_seed: int = 0

    def __post_init__(self) -> None:
        require_seed(self.split_seed)


@dataclass(frozen=True)
class Digits(Packaged):
    """Handwritten digits, [n, 1, 8, 8], grey values 0 to 16 scaled to 0 to 1: 1,197 to train, 300 to validate, 300 to
    test."""

    def load(self) -> Splits:
        datasets = import_optional("sklearn.datasets", "scikit-learn", "data set digits")
        images, labels = datasets.load_digits(return_X_y=True)
        x = torch.from_numpy(images).float().view(-1, 1, 8, 8) / 16
        y = torch.from_numpy(labels).long()
        order = permutation(len(y), self.split_seed)
        train, validation, test = order[:1197], order[1197:1497], order[1497:]
        return Splits(Examples(x[train], y[train]), Examples(x[validation], y[validation]),
                      lambda: Examples(x[test], y[test]), 10)  # fmt: skip


@dataclass(frozen=True)
class Mnist1d(Packaged):
    """The published draw (Greydanus & Kobak 2020) of signals of length 40, [n, 40], standardised by the package: 3,500
    to train and 500 to validate, out of its 4,000 training signals, and its 1,000 test signals."""

    def load(self) -> Splits:
        mnist1d = import_optional("mnist1d.data", "mnist1d", "data set mnist1d")
        # The package seeds the global generators and draws from them. Its get_dataset would also write a file, and read
        # pickles.
        python, numpy = random.getstate(), np.random.get_state()
        try:
            drawn = mnist1d.make_dataset(mnist1d.get_dataset_args())
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
        x, y = torch.tensor(drawn["x"]).float(), torch.tensor(drawn["y"]).long()
        order = permutation(len(y), self.split_seed)
        train, validation = order[:-500], order[-500:]
        return Splits(Examples(x[train], y[train]), Examples(x[validation], y[validation]),
                      lambda: Examples(torch.tensor(drawn["x_test"]).float(),
                                       torch.tensor(drawn["y_test"]).long()), 10)  # fmt: skip
