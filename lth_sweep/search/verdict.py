"""Is the ticket as good as the dense network? A bound on the paired difference, and a word for it.

Over several seeds: Student's t on the differences ticket - dense, one for each seed. For a single seed: the difference
of two paired proportions over the test examples (Agresti & Min 2005: half an example added to each of the four cells).
Both bounds are one-sided, each at the stated confidence.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

from scipy import stats

Word = Literal["matches", "does not match", "undecided"]
MOST_SEEDS = 1000


@dataclass(frozen=True)
class Pair:
    """Dense network and ticket of one seed on the same examples."""

    seed: int
    examples: int
    dense: float
    """Accuracy, as is `ticket`."""
    ticket: float
    gained: int
    """Examples that only the ticket gets right."""
    lost: int
    """Examples that only the dense network gets right."""

    @property
    def difference(self) -> float:
        return (self.gained - self.lost) / self.examples


@dataclass(frozen=True)
class Verdict:
    """`lower` <= true difference with the stated confidence, and likewise true difference <= `upper`."""

    word: Word
    difference: float
    lower: float
    upper: float
    seeds: int
    margin: float
    confidence: float
    more_seeds: int | None
    """Where undecided: how many more seeds would probably decide, as the differences are now; None if over 1,000."""

    @property
    def sentence(self) -> str:
        interval = f"{self.difference:+.2%} ({self.lower:+.2%} to {self.upper:+.2%})"
        how = f"over {self.seeds} fresh seeds" if self.seeds > 1 else "for one fresh seed, over the test examples"
        bounds = f"margin {self.margin:.2%}, {self.confidence:.1%} bounds"
        of = f"the difference to dense on test data is {interval} {how}, {bounds}"
        if self.word != "undecided":
            return f"The ticket {self.word} the dense network: {of}."
        more = f"about {self.more_seeds} more seeds" if self.more_seeds else f"over {MOST_SEEDS:,} more seeds"
        return f"Undecided whether the ticket matches the dense network: {of}; {more} would probably decide."


def verdict(pairs: Sequence[Pair], margin: float, confidence: float) -> Verdict:
    """The word on tickets that were trained on fresh seeds and tested once."""
    differences = [pair.difference for pair in pairs]
    mean = fmean(differences)
    if len(pairs) == 1:
        error = _example_error(pairs[0])
        reach = float(stats.norm.ppf(confidence)) * error
        spread = error
    else:
        # Accuracies come in steps of one example: seeds that agree to the last one are known no better than that.
        spread = max(stdev(differences), 1 / (pairs[0].examples * math.sqrt(12)))
        reach = _reach(spread, len(pairs), confidence)
    lower, upper = mean - reach, mean + reach
    word: Word = "matches" if lower >= -margin else "does not match" if upper < -margin else "undecided"
    more = _more_seeds(mean, spread, len(pairs), margin, confidence) if word == "undecided" else None
    return Verdict(word, mean, lower, upper, len(pairs), margin, confidence, more)


def _reach(spread: float, seeds: int, confidence: float) -> float:
    return float(stats.t.ppf(confidence, seeds - 1)) * spread / math.sqrt(seeds)


def _example_error(pair: Pair) -> float:
    """Standard error of the difference of two paired proportions."""
    gained, lost, n = pair.gained + 0.5, pair.lost + 0.5, pair.examples + 2
    return math.sqrt(gained + lost - (gained - lost) ** 2 / n) / n


def _more_seeds(mean: float, spread: float, seeds: int, margin: float, confidence: float) -> int | None:
    for total in range(max(2, seeds + 1), MOST_SEEDS + seeds + 1):
        if _reach(spread, total, confidence) <= abs(mean + margin):
            return total - seeds
    return None
