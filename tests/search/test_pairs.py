"""What the test split says of two networks, whatever the metric."""

import math

import pytest
import torch

from lth_sweep.lottery.experiments.verification import Pair, Seen, _pair
from lth_sweep.lottery.task import Metric
from lth_sweep.search.verdict import verdict

MSE = Metric("mse", higher_is_better=False, format="number")


def seen(*each: float) -> Seen:
    return Seen.of(MSE, torch.tensor(each, dtype=torch.float64), torch.ones(len(each), dtype=torch.float64), False)


def test_a_share_counts_examples() -> None:
    assert _pair(3, 4, seen(1, 1, 0, 1), seen(0, 1, 1, 0)) == Pair.of_shares(3, 4, 0.75, 0.5, 1, 2)


def test_other_values_are_paired_example_by_example() -> None:
    """Differences 0.1, 0.3, 0.2, 0.2: mean 0.2, sd sqrt(0.02 / 3)."""
    pair = _pair(0, 4, seen(1.0, 0.2, 0.5, 3.0), seen(1.1, 0.5, 0.7, 3.2))
    assert (pair.reference, pair.value) == pytest.approx((1.175, 1.375))
    assert (pair.difference, pair.error) == pytest.approx((0.2, math.sqrt(0.02 / 3) / 2))
    word = {margin: verdict([pair], margin, 0.95, metric=MSE).word for margin in (0.1, 0.2, 0.3)}
    assert word == {0.1: "does not match", 0.2: "undecided", 0.3: "matches"}


@pytest.mark.parametrize("exp", [False, True])
def test_examples_that_count_by_their_tokens(exp: bool) -> None:
    """A mean by weights, and the exponential of one: the error is that of resampled examples."""
    metric = Metric("perplexity", higher_is_better=False, format="number", exp=exp)
    generator = torch.Generator().manual_seed(0)
    weights = torch.randint(1, 20, (400,), generator=generator).double()
    one = 1 + torch.rand(400, generator=generator, dtype=torch.float64) + 1 / weights
    other = one + 0.1 + 0.3 * torch.randn(400, generator=generator, dtype=torch.float64)

    def value(each: torch.Tensor, some: torch.Tensor) -> float:
        return metric.of(float((each[some] * weights[some]).sum() / weights[some].sum()))

    pair = _pair(0, 400, Seen.of(metric, one, weights, False), Seen.of(metric, other, weights, False))
    everything = torch.arange(400)
    assert (pair.reference, pair.value) == pytest.approx((value(one, everything), value(other, everything)))
    draws = [torch.randint(400, (400,), generator=generator) for _ in range(2000)]
    resampled = torch.tensor([value(other, some) - value(one, some) for some in draws])
    assert pair.difference == pytest.approx(pair.value - pair.reference)
    assert pair.error == pytest.approx(float(resampled.std()), rel=0.1)


def test_a_metric_of_the_whole_set_has_no_pairs_of_examples() -> None:
    """Seeds alone say how sure it is; with a single one, nothing does."""
    pairs = [_pair(seed, 50, Seen(0.5, False), Seen(0.5 + 0.01 * seed, False)) for seed in range(3)]
    assert [pair.difference for pair in pairs] == pytest.approx([0.0, 0.01, 0.02])
    assert verdict(pairs, 0.05, 0.95).word == "matches"
    assert verdict(pairs[:1], 0.05, 0.95).word == "undecided"
