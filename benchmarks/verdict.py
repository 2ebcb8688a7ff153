"""Are the verdicts as often right as they promise, and how much too good does the best of many trials look?

Simulated sweeps on synthetic recipes, whose true difference to dense is known: each recipe has levels whose true
difference falls as they get smaller; validation and test accuracies of a seed have noise from training (a normal draw
for each level and seed) and from the finite number of examples. Search, candidates and verdicts are the package's own.

    python benchmarks/verdict.py            2,000 sweeps of each kind, a minute or two
    python benchmarks/verdict.py --sweeps N
"""

import argparse
import math
from dataclasses import dataclass
from itertools import count
from statistics import fmean

import numpy as np

from lth_sweep.lottery.experiments.verification import Pair
from lth_sweep.search.verdict import Verdict, verdict

MARGIN = 0.01


@dataclass(frozen=True)
class World:
    """A kind of sweep."""

    name: str
    recipes: int = 12
    seeds: int = 3
    fresh: int = 5
    top: int = 2
    confidence: float = 0.95
    noise: float = 0.006
    """Of training: standard deviation of a seed's difference to dense."""
    examples: int = 1000
    """Of the validation split, and of the test split."""
    gaps: tuple[float, float] = (-0.03, 0.0)
    """Between which the true differences of the recipes' levels lie."""


WORLDS = (
    World("as the defaults, 3 fresh seeds", fresh=3),
    World("5 fresh seeds"),
    World("10 fresh seeds", fresh=10),
    World("60 recipes: more to be lucky with", recipes=60),
    World("one candidate", top=1),
    World("every ticket at the margin, just beyond it: the hardest case", gaps=(-MARGIN - 1e-6, -MARGIN - 1e-6)),
    World("every ticket worse than the margin by a fifth", gaps=(-0.012, -0.012)),
    World("one fresh seed, judged over its examples", fresh=1, noise=0.0),
)


@dataclass(frozen=True)
class Found:
    """What became of one sweep."""

    searched: float
    """Difference on validation of the smallest ticket that seemed to match, and its true one."""
    true: float
    word: str
    """On the answer, after up to `top` candidates."""
    answer: float
    """True difference of the answer."""


def sweep(world: World, draw: np.random.Generator) -> Found | None:
    """None where no recipe seems to match."""
    true = draw.uniform(*world.gaps, size=world.recipes)
    measured = np.mean([[_pair(world, gap, seed, draw).difference for seed in range(world.seeds)] for gap in true], 1)
    # The recipes are in the order of their sizes: which of them is the smallest has nothing to do with its truth.
    matching = [i for i in range(world.recipes) if measured[i] >= -MARGIN - 1e-9]
    if not matching:
        return None
    tried: list[tuple[Verdict, float]] = []
    for i in matching[: world.top]:
        pairs = [_pair(world, true[i], seed, draw) for seed in range(world.seeds, world.seeds + world.fresh)]
        tried.append((verdict(pairs, MARGIN, world.confidence, world.top), float(true[i])))
        if tried[-1][0].word == "matches":
            break
    answer, gap = tried[-1]
    first = matching[0]
    return Found(float(measured[first]), float(true[first]), answer.word, gap)


def _pair(world: World, gap: float, seed: int, draw: np.random.Generator) -> Pair:
    """5% of the examples are right in one of the two networks alone; the gap decides in which."""
    share = gap + draw.normal(0, world.noise)
    lost, gained, _ = draw.multinomial(world.examples, _cells(share))
    return Pair.of_shares(seed, world.examples, 0.97, 0.97 + (gained - lost) / world.examples, int(gained), int(lost))


def _cells(share: float) -> tuple[float, float, float]:
    apart = max(0.05, abs(share))
    return (apart - share) / 2, (apart + share) / 2, 1 - apart


def false_matches(found: list[Found]) -> int:
    """Sweeps whose answer is said to match and is worse than the margin, in truth."""
    return sum(one.word == "matches" and one.answer < -MARGIN for one in found)


def simulate(world: World, sweeps: int, seed: int = 0) -> list[Found]:
    """`sweeps` sweeps in which some recipe seems to match."""
    draw = np.random.default_rng(seed)
    found: list[Found] = []
    for _ in count():
        if len(found) == sweeps:
            return found
        one = sweep(world, draw)
        if one:
            found.append(one)
    raise AssertionError


def _report(world: World, found: list[Found]) -> str:
    n, wrong = len(found), false_matches(found)
    words = ", ".join(f"{word} {sum(one.word == word for one in found) / n:.1%}"
                      for word in ("matches", "undecided", "does not match"))  # fmt: skip
    optimism = [one.searched - one.true for one in found]
    spread = 1.96 * float(np.std(optimism)) / math.sqrt(n)
    harm = sum(one.true < -MARGIN for one in found)
    return (
        f"{world.name} (n = {n:,} sweeps)\n"
        f"  said to match though worse than the margin: {wrong / n:.2%} of sweeps, 95% interval {_wilson(wrong, n)}; "
        f"promised: at most {1 - world.confidence:.0%}\n"
        f"  the answer: {words}\n"
        f"  by validation alone: {fmean(optimism) * 100:+.2f} ± {spread * 100:.2f} points too optimistic; worse than "
        f"the margin in {harm / n:.1%} of sweeps, all said to match"
    )


def _wilson(successes: int, n: int) -> str:
    share, z = successes / n, 1.96
    centre, reach = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low, high = (max(0.0, (centre + sign * reach) / (1 + z * z / n)) for sign in (-1, 1))
    return f"{low:.2%} to {high:.2%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sweeps", type=int, default=2000)
    options = parser.parse_args()
    for world in WORLDS:
        print(_report(world, simulate(world, options.sweeps)), flush=True)


if __name__ == "__main__":
    main()
