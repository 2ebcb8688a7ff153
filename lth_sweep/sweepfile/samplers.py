"""Who picks the next point of the space."""

import random
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lth_sweep.lottery.common.errors import require
from lth_sweep.lottery.common.identity import derive
from lth_sweep.lottery.common.registry import Strategy
from lth_sweep.sweepfile.axis import Axis, Pick
from lth_sweep.sweepfile.points import grid, point

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


class Sampler(Strategy):
    """A family of samplers. All know which trials matched, and how far the others were from it."""

    family: ClassVar[str] = "sampler"
    counts_steps: ClassVar[bool] = False
    """Whether points are chosen by what they cost, where one size is minimised: see search/frugal.py."""

    def build(self, seed: int) -> "BaseSampler":
        """The Optuna sampler of one trial. Called for each trial, with a seed of its own."""
        raise NotImplementedError

    def points(
        self, space: Sequence[Axis], trials: int, seed: int, base: Mapping[str, Pick] | None
    ) -> list[dict[str, Pick]] | None:
        """What it tries, in this order, where that is known beforehand; None where it is not. `base` is the base
        recipe's point, None where it is not in the space."""
        return None


@dataclass(frozen=True)
class Frugal(Sampler):
    """Most expected improvement per training step, by a Gaussian process over all axes (Snoek et al. 2012). It is for
    one size; with several to be minimised TPE picks."""

    counts_steps: ClassVar[bool] = True

    startup: int = 4
    """Trials, the base recipe among them, before it begins to learn; each is chosen far from those before it."""
    candidates: int = 512
    """Points drawn for each trial, of which the most promising is taken."""

    def __post_init__(self) -> None:
        require(self.startup >= 1, "startup", f"must be 1 or more, but got {self.startup}")
        require(self.candidates >= 1, "candidates", f"must be 1 or more, but got {self.candidates}")

    def build(self, seed: int) -> "BaseSampler":
        return Tpe().build(seed)


@dataclass(frozen=True)
class Tpe(Sampler):
    """Tree-structured Parzen estimator (Bergstra et al. 2011), all axes at once (Falkner et al. 2018)."""

    startup: int = 10
    """Trials at random before it begins to learn."""
    candidates: int = 24
    """Points drawn for each trial, of which the most promising is taken."""

    def __post_init__(self) -> None:
        require(self.startup >= 0, "startup", f"must be 0 or more, but got {self.startup}")
        require(self.candidates >= 1, "candidates", f"must be 1 or more, but got {self.candidates}")

    def build(self, seed: int) -> "BaseSampler":
        from optuna.samplers import TPESampler

        # Grouped, so that axes with a condition are modelled together with the others, and not one by one.
        return TPESampler(seed=seed, n_startup_trials=self.startup, n_ei_candidates=self.candidates, multivariate=True,
                          group=True)  # fmt: skip


@dataclass(frozen=True)
class Gp(Sampler):
    """Gaussian processes, for the size and for the constraint. Slow beyond a few hundred trials; axes with a condition
    are drawn at random."""

    startup: int = 10
    """Trials at random before it begins to learn."""

    def __post_init__(self) -> None:
        require(self.startup >= 0, "startup", f"must be 0 or more, but got {self.startup}")

    def build(self, seed: int) -> "BaseSampler":
        from optuna.samplers import GPSampler

        return GPSampler(seed=seed, n_startup_trials=self.startup, warn_independent_sampling=False)


@dataclass(frozen=True)
class Nsga2(Sampler):
    """A genetic algorithm for several objectives (Deb et al. 2002). Needs several hundred trials."""

    population: int = 50

    def __post_init__(self) -> None:
        require(self.population >= 2, "population", f"must be 2 or more, but got {self.population}")

    def build(self, seed: int) -> "BaseSampler":
        from optuna.samplers import NSGAIISampler

        return NSGAIISampler(seed=seed, population_size=self.population)


@dataclass(frozen=True)
class RandomDraw(Sampler):
    """Each trial by itself."""

    def build(self, seed: int) -> "BaseSampler":
        from optuna.samplers import RandomSampler

        return RandomSampler(seed=seed)


@dataclass(frozen=True)
class Grid(RandomDraw):
    """All combinations: every label of a choice, five points of a range."""

    shuffle: bool = True
    """In a random order, the base recipe first; else in the order of the file."""

    def points(
        self, space: Sequence[Axis], trials: int, seed: int, base: Mapping[str, Pick] | None
    ) -> list[dict[str, Pick]]:
        found = grid(space)
        if self.shuffle:  # so that a sweep of fewer trials than points covers all of the space thinly
            random.Random(seed).shuffle(found)
            found.sort(key=lambda picks: picks != base)
        return found


@dataclass(frozen=True)
class Qmc(RandomDraw):
    """Points of a scrambled Sobol sequence, which cover the space more evenly than random ones."""

    def points(
        self, space: Sequence[Axis], trials: int, seed: int, base: Mapping[str, Pick] | None
    ) -> list[dict[str, Pick]]:
        from scipy.stats import qmc

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about counts that are no powers of two
            rows = qmc.Sobol(len(space), seed=derive(seed, "qmc") % 2**32).random(trials)
        return [point(space, row) for row in rows.tolist()]


SAMPLERS: dict[str, type[Sampler]] = {
    "frugal": Frugal,
    "tpe": Tpe,
    "gp": Gp,
    "random": RandomDraw,
    "grid": Grid,
    "qmc": Qmc,
    "nsga2": Nsga2,
}
Sampler.kinds = SAMPLERS
