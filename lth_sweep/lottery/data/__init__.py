"""Data sets by name, or a user's own by import path."""

from lth_sweep.lottery.data.base import Data, Splits, load, provide
from lth_sweep.lottery.data.cifar10 import Cifar10
from lth_sweep.lottery.data.idx import FashionMnist, Mnist
from lth_sweep.lottery.data.imported import ImportedData
from lth_sweep.lottery.data.packaged import Digits, Mnist1d
from lth_sweep.lottery.data.source import Batch, Examples, Source

DATA: dict[str, type[Data]] = {
    "digits": Digits,
    "mnist": Mnist,
    "fashion-mnist": FashionMnist,
    "cifar10": Cifar10,
    "mnist1d": Mnist1d,
}
Data.kinds, Data.imported = DATA, ImportedData

__all__ = [
    "DATA", "Batch", "Cifar10", "Data", "Digits", "Examples", "FashionMnist", "ImportedData", "Mnist", "Mnist1d",
    "Source", "Splits", "load", "provide",
]  # fmt: skip
