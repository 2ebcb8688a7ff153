"""What to score a weight by: the lowest scores are pruned. One score per weight; granularity and scope come later."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from lth_sweep.lottery.registry import Strategy


class Criterion(Strategy):
    """A family of scores."""

    family: ClassVar[str] = "criterion"

    def scores(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """A score for each weight, same names and shapes as the trained, masked `weights`."""
        raise NotImplementedError


@dataclass(frozen=True)
class Magnitude(Criterion):
    """|w| at the end of training (Han et al. 2015; Frankle & Carbin 2018). For units it sums up to Li's L1 norm."""

    def scores(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: weight.abs() for name, weight in weights.items()}


CRITERIA: dict[str, type[Criterion]] = {"magnitude": Magnitude}
Criterion.kinds = CRITERIA
