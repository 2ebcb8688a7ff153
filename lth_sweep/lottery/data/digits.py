"""scikit-learn's digits: 1,797 images of 8x8, inside the package; no download."""

from dataclasses import dataclass

import torch

from lth_sweep.lottery.common.errors import import_optional
from lth_sweep.lottery.data.base import Data, Examples, Splits, permutation, require_seed


@dataclass(frozen=True)
class Digits(Data):
    """Handwritten digits, [n, 1, 8, 8], grey values 0 to 16 scaled to 0 to 1: 1,197 to train, 300 to validate, 300 to
    test."""

    split_seed: int = 0

    def __post_init__(self) -> None:
        require_seed(self.split_seed)

    def load(self) -> Splits:
        datasets = import_optional("sklearn.datasets", "scikit-learn", "data set digits")
        images, labels = datasets.load_digits(return_X_y=True)
        x = torch.from_numpy(images).float().view(-1, 1, 8, 8) / 16
        y = torch.from_numpy(labels).long()
        order = permutation(len(y), self.split_seed)
        train, validation, test = order[:1197], order[1197:1497], order[1497:]
        return Splits(Examples(x[train], y[train]), Examples(x[validation], y[validation]),
                      lambda: Examples(x[test], y[test]))  # fmt: skip
