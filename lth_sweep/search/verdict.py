"""Is the ticket as good as the dense network? A bound on the paired difference, and a word for it.

Over several seeds: Student's t on the differences ticket - dense, one for each seed. For a single seed: the difference
of two paired proportions over the test examples (Agresti & Min 2005: half an example added to each of the four cells).
Both bounds are one-sided, each at the stated confidence. Over several seeds, what is bounded is the mean difference
that training of this recipe makes on this very test split; for a single seed, that of two networks on data like it.

Where several candidates may be tried in turn until one matches, each is judged with its share of the error
(Bonferroni): at a confidence of 95% and two candidates, the bounds of each are at 97.5%. Then the probability that any
ticket which is worse than the margin is said to match is at most 5%, however many of the candidates were tried.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any, Literal, NamedTuple

from lth_sweep.lottery.common.identity import plain
from lth_sweep.lottery.experiments.verification import Pair
from lth_sweep.lottery.task import Metric
from lth_sweep.sweepfile.objective import MAIN

Word = Literal["matches", "does not match", "undecided"]
MOST_SEEDS = 1000


class Interval(NamedTuple):
    """An estimate, and bounds of it."""

    mean: float
    lower: float
    upper: float

    @property
    def reach(self) -> float:
        """Half the width of a two-sided one; 0 where there are no bounds."""
        return 0.0 if math.isnan(self.upper) else self.upper - self.mean

    def to_json(self) -> dict[str, float | None]:
        """NaN is null."""
        return dict(plain(self))


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
    """That the word "matches" is right, over all candidates together."""
    candidates: int
    """Between which the error is divided."""
    more_seeds: int | None = None
    """Where undecided: how many more seeds would probably decide, as the differences are now; None if over 1,000."""
    problem: str = ""
    """Why it does not match whatever the numbers say; then there may be none (NaN)."""
    metric: Metric = field(default=MAIN, kw_only=True, metadata={"json": False})

    @property
    def sentence(self) -> str:
        if self.problem:
            return f"The ticket does not match the dense network: {self.problem}."
        difference, lower, upper = map(self.metric.show_difference, (self.difference, self.lower, self.upper))
        interval = f"{difference} ({lower} to {upper})"
        how = f"over {self.seeds} fresh seeds" if self.seeds > 1 else "for one fresh seed, over the test examples"
        several = f" for {self.candidates} candidates together" if self.candidates > 1 else ""
        bounds = f"margin {self.metric.show(self.margin)}, {self.confidence:.1%} bounds{several}"
        of = f"the difference to dense on test data is {interval} {how}, {bounds}"
        if self.word != "undecided":
            return f"The ticket {self.word} the dense network: {of}."
        plural = "s" if self.more_seeds != 1 else ""
        more = f"about {self.more_seeds} more seed{plural}" if self.more_seeds else f"over {MOST_SEEDS:,} more seeds"
        return f"Undecided whether the ticket matches the dense network: {of}; {more} would probably decide."

    def to_json(self) -> dict[str, Any]:
        """The fields, NaN as null, and the sentence."""
        return {**plain(self), "sentence": self.sentence}


def verdict(
    pairs: Sequence[Pair],
    margin: float,
    confidence: float,
    candidates: int = 1,
    problem: str = "",
    metric: Metric = MAIN,
) -> Verdict:
    """The word on tickets that were trained on fresh seeds and tested once, by this metric. `margin`: in its units;
    `candidates`: how many may be tried."""
    if problem:
        difference = fmean(pair.difference for pair in pairs) if pairs else math.nan
        return Verdict("does not match", difference, math.nan, math.nan, len(pairs), margin, confidence, candidates,
                       None, problem, metric=metric)  # fmt: skip
    bound = 1 - (1 - confidence) / candidates
    found = of_differences(pairs, bound, metric)
    least, most = sorted((metric.gain(found.lower, 0.0), metric.gain(found.upper, 0.0)))
    word: Word = "matches" if least >= -margin else "does not match" if most < -margin else "undecided"
    gain, more = metric.gain(found.mean, 0.0), None
    if word == "undecided":
        more = _more_seeds(gain, _spread(pairs, metric), len(pairs), margin, bound)
    return Verdict(word, *found, len(pairs), margin, confidence, candidates, more, metric=metric)


def of_differences(pairs: Sequence[Pair], confidence: float, metric: Metric = MAIN) -> Interval:
    """The mean difference, with a lower and an upper bound, each one-sided at `confidence`."""
    mean, spread = fmean(pair.difference for pair in pairs), _spread(pairs, metric)
    if len(pairs) > 1:
        return _interval(mean, _reach(spread, len(pairs), confidence))
    from scipy.special import ndtri

    return _interval(mean, float(ndtri(confidence)) * spread)


def of_seeds(differences: Sequence[float], examples: int, confidence: float) -> Interval:
    """The mean over several seeds of a paired difference, with a lower and an upper bound, each one-sided at
    `confidence`. The differences are of shares of `examples` examples."""
    return _interval(fmean(differences), _reach(_between_seeds(differences, examples), len(differences), confidence))


def of_values(values: Sequence[float], confidence: float) -> Interval:
    """The mean over the seeds with its two-sided interval (Student's t). NaN: the bounds of a single seed, all of no
    seed, and of values that are not all numbers."""
    mean = fmean(values) if values else math.nan
    if len(values) < 2 or not math.isfinite(mean):
        return Interval(mean, math.nan, math.nan)
    return _interval(mean, _reach(stdev(values), len(values), (1 + confidence) / 2))


def _interval(mean: float, reach: float) -> Interval:
    return Interval(mean, mean - reach, mean + reach)


def _spread(pairs: Sequence[Pair], metric: Metric) -> float:
    """Standard deviation of the difference, over the seeds; for one seed its standard error over the examples."""
    if len(pairs) == 1:
        return pairs[0].error
    steps = pairs[0].examples if metric.format == "percent" else math.inf
    return _between_seeds([pair.difference for pair in pairs], steps)


def _between_seeds(differences: Sequence[float], examples: float) -> float:
    # Shares come in steps of one example: seeds that agree to the last one are known no better than that.
    return max(stdev(differences), 1 / (examples * math.sqrt(12)))


def _reach(spread: float, seeds: int, confidence: float) -> float:
    from scipy.special import stdtrit  # Student's t; scipy.stats takes 0.5 s to import

    return float(stdtrit(seeds - 1, confidence)) * spread / math.sqrt(seeds)


def _more_seeds(mean: float, spread: float, seeds: int, margin: float, confidence: float) -> int | None:
    totals = range(max(2, seeds + 1), seeds + MOST_SEEDS + 1)
    distance = abs(mean + margin)
    first = bisect_left(totals, True, key=lambda total: _reach(spread, total, confidence) <= distance)
    return totals[first] - seeds if first < len(totals) else None
