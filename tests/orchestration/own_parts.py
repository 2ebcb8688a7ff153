"""Parts of a recipe from outside the package."""

from dataclasses import dataclass

from lth_sweep.lottery.task import Classification
from lth_sweep.lottery.training.mask_rules import MaskRule


@dataclass(frozen=True)
class Named(Classification):
    """As the built-in one."""


@dataclass(frozen=True)
class Still(MaskRule):
    """Could change masks, and never does."""
