"""Data sets by name, or a user's own by import path."""

from lth_sweep.lottery.data.base import Data, Examples, Splits, load
from lth_sweep.lottery.data.digits import Digits

DATA: dict[str, type[Data]] = {"digits": Digits}
Data.kinds = DATA

__all__ = ["DATA", "Data", "Digits", "Examples", "Splits", "load"]
