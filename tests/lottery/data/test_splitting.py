"""Splits are disjoint and complete, whatever the seed; shares are of each class, or groups stay whole."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as some

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.data.base import permutation
from lth_sweep.lottery.data.splitting import grouped, shuffled, stratified

SEEDS = some.integers(0, 2**63 - 1)
SHARES = some.sampled_from([
    {"test": 0.1, "validation": 0.1}, {"test": 0.3, "validation": 0.25}, {"validation": 0.5}, {"test": 0.01}, {},
])  # fmt: skip


def require_whole(found: dict[str, torch.Tensor], shares: dict[str, float], n: int) -> None:
    """Each example is in one split, and no split is empty."""
    assert found.keys() == {"train", *shares}
    assert torch.cat([*found.values()]).sort().values.tolist() == list(range(n))
    assert all(len(index) for index in found.values())


@given(n=some.integers(1, 400), shares=SHARES, seed=SEEDS)
def test_shares_of_all(n: int, shares: dict[str, float], seed: int) -> None:
    if any(round(n * share) < 1 for share in shares.values()):
        with pytest.raises(ConfigError, match=f"{n} examples leave none for the"):
            shuffled(n, shares, seed)
        return
    found = shuffled(n, shares, seed)
    require_whole(found, shares, n)
    assert all(len(found[name]) == round(n * share) for name, share in shares.items())
    assert torch.equal(torch.cat([found[name] for name in (*shares, "train")]), permutation(n, seed))


@given(counts=some.lists(some.integers(1, 60), min_size=1, max_size=6), shares=SHARES, seed=SEEDS)
def test_shares_of_each_class(counts: list[int], shares: dict[str, float], seed: int) -> None:
    labels = torch.cat([torch.full((count,), 3 * label) for label, count in enumerate(counts)])
    labels = labels[permutation(len(labels), seed)]
    if any(round(count * share) < 1 for share in shares.values() for count in counts):
        with pytest.raises(ConfigError, match=r"stratify: class \d+ has \d+ examples, too few for a share"):
            stratified(labels, shares, seed)
        return
    if any(sum(round(count * share) for share in shares.values()) >= count for count in counts):
        with pytest.raises(ConfigError, match=r"stratify: class \d+ has \d+ examples, which leave none for"):
            stratified(labels, shares, seed)
        return
    found = stratified(labels, shares, seed)
    require_whole(found, shares, len(labels))
    for name, share in shares.items():
        for label, count in enumerate(counts):
            assert abs(int((labels[found[name]] == 3 * label).sum()) - count * share) <= 0.5
    assert all(torch.equal(index, stratified(labels, shares, seed)[name]) for name, index in found.items())


@given(sizes=some.lists(some.integers(1, 30), min_size=1, max_size=40), shares=SHARES, seed=SEEDS)
def test_groups_stay_whole(sizes: list[int], shares: dict[str, float], seed: int) -> None:
    ids = [f"group {i}" for i, size in enumerate(sizes) for _ in range(size)]
    groups = [ids[i] for i in permutation(len(ids), seed).tolist()]
    if len(sizes) <= len(shares):
        with pytest.raises(ConfigError, match=f"group: there are {len(sizes)} groups for {len(shares) + 1} splits"):
            grouped(groups, shares, seed)
        return
    assume(max(sizes) <= len(groups) / 4)
    found = grouped(groups, shares, seed)
    require_whole(found, shares, len(groups))
    assert sum(len({groups[i] for i in index.tolist()}) for index in found.values()) == len(sizes)
    left = sorted(sizes)
    for name, share in shares.items():
        own = [groups.count(group) for group in {groups[i] for i in found[name].tolist()}]
        assert abs(len(found[name]) - len(groups) * share) <= max(sizes) / 2 or own == left[:1]
        for size in own:
            left.remove(size)
    assert all(torch.equal(index, grouped(groups, shares, seed)[name]) for name, index in found.items())


def test_groups_that_leave_nothing() -> None:
    for seed in range(10):
        with pytest.raises(ConfigError, match="group: groups are so few and so large that none is left for the"):
            grouped([0] * 50 + [1] * 25 + [2] * 25, {"test": 0.45, "validation": 0.5}, seed)


@given(seed=SEEDS)
def test_equal_groups_meet_the_shares(seed: int) -> None:
    shares = {"test": 0.1, "validation": 0.2}
    found = grouped([i % 50 for i in range(500)], shares, seed)
    assert {name: len(index) for name, index in found.items()} == {"test": 50, "validation": 100, "train": 350}
    assume(seed > 0)
    assert not torch.equal(found["test"], grouped([i % 50 for i in range(500)], shares, seed - 1)["test"])
