"""What holds for every data set that comes with the package."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.data import Data, Digits, FashionMnist, Mnist, Mnist1d, load
from lth_sweep.lottery.data.base import Examples, permutation
from tests.lottery.data.folder import real_root

MNIST_FILES = [f"MNIST/raw/{name}" for name in Mnist.checksums]
FASHION_FILES = [f"FashionMNIST/raw/{name}" for name in FashionMnist.checksums]

SETS: dict[str, tuple[Callable[[int], Data], tuple[int, ...], tuple[int, int, int]]] = {
    "digits": (lambda seed: Digits(seed), (1, 8, 8), (1_197, 300, 300)),
    "mnist1d": (lambda seed: Mnist1d(seed), (40,), (3_500, 500, 1_000)),
    "mnist": (lambda seed: Mnist(real_root(*MNIST_FILES), seed), (1, 28, 28), (55_000, 5_000, 10_000)),
    "fashion-mnist": (lambda seed: FashionMnist(real_root(*FASHION_FILES), seed), (1, 28, 28), (55_000, 5_000, 10_000)),
}


def rows(examples: Examples) -> list[int]:
    """Fingerprints of the inputs."""
    return [hash(row.tobytes()) for row in examples.x.numpy()]


@pytest.mark.parametrize("kind", SETS)
def test_sizes_types_and_the_split(kind: str) -> None:
    make, shape, sizes = SETS[kind]
    splits = make(0).load()
    test = splits.test()
    assert (len(splits.train.y), len(splits.validation.y), len(test.y)) == sizes
    assert (splits.shape, splits.classes, make(0).kind) == (shape, 10, kind)
    for examples, size in zip((splits.train, splits.validation, test), sizes, strict=True):
        assert (examples.x.shape, examples.x.dtype) == ((size, *shape), torch.float32)
        assert (examples.y.shape, examples.y.dtype) == ((size,), torch.int64)
        assert examples.y.unique().tolist() == list(range(10))

    again, other = make(0).load(), make(1).load()
    assert again.digest == splits.digest
    assert other.digest != splits.digest
    # the same examples, shared out anew: no example twice, none lost
    pool, other_pool = rows(splits.train) + rows(splits.validation), rows(other.train) + rows(other.validation)
    if kind == "digits":  # whose test split is taken from the same pool
        pool, other_pool = pool + rows(test), other_pool + rows(other.test())
    else:
        assert torch.equal(test.x, other.test().x)
    assert sorted(pool) == sorted(other_pool)
    assert rows(splits.validation) != rows(other.validation)


@pytest.mark.parametrize("kind", ["mnist", "fashion-mnist"])
def test_real_images_are_normalised(kind: str) -> None:
    train = SETS[kind][0](0).load().train
    assert train.x.mean().item() == pytest.approx(0, abs=2e-3)
    assert train.x.std().item() == pytest.approx(1, abs=2e-3)


def test_digits_splits_are_disjoint() -> None:
    splits = Digits().load()
    sets = [set(rows(part)) for part in (splits.train, splits.validation, splits.test())]
    assert [len(part) for part in sets] == [1_197, 300, 300]
    assert len(set.union(*sets)) == 1_797
    assert (splits.train.x.min().item(), splits.train.x.max().item()) == (0, 1)


def test_mnist1d_leaves_the_global_generators_alone() -> None:
    random.seed(3)
    np.random.seed(3)
    expected = random.random(), np.random.rand()
    random.seed(3)
    np.random.seed(3)
    Mnist1d().load()
    assert (random.random(), np.random.rand()) == expected


def test_mnist1d_is_the_published_draw() -> None:
    """Signals that were standardised as one set of 5,000."""
    splits = Mnist1d().load()
    x = torch.cat([splits.train.x, splits.validation.x, splits.test().x])
    assert x.mean().item() == pytest.approx(0, abs=1e-5)
    assert x.std().item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(("data", "module", "package"), [
    (Mnist1d(), "mnist1d.data", "mnist1d"), (Digits(), "sklearn.datasets", "scikit-learn"),
])  # fmt: skip
def test_a_missing_package_is_named(data: Data, module: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(ConfigError, match=f"needs the package {package}: pip install {package}"):
        data.load()


def test_load_reads_once() -> None:
    assert load(Digits()) is load(Digits())
    assert load(Digits()) is not load(Digits(split_seed=1))


def test_what_is_known_by_another_name_is_another_data_set() -> None:
    """Of bfloat16, too, which numpy does not know."""
    a, b, y = torch.zeros(3, 2, dtype=torch.bfloat16), torch.zeros(3, 2, dtype=torch.bfloat16), torch.arange(3)
    inputs: list[Any] = [{"a": a, "b": b}, {"b": a, "a": b}, (a, b), a]
    assert len({Examples(x, y).fingerprint for x in inputs}) == 4
    assert Examples({"a": a, "b": b}, y).fingerprint == Examples({"a": b, "b": a}, y.clone()).fingerprint


def test_the_number_of_classes_is_part_of_a_data_set() -> None:
    """A network for more of them has other shapes."""
    splits = load(Digits())
    assert replace(splits, classes=12).digest != splits.digest


def test_permutation_is_a_fixed_order() -> None:
    torch.manual_seed(1)
    once = permutation(100, 7)
    torch.manual_seed(2)
    assert torch.equal(once, permutation(100, 7))
    assert sorted(once.tolist()) == list(range(100))


@pytest.mark.parametrize("data", [Digits, Mnist1d, lambda split_seed: Mnist(split_seed=split_seed)])
def test_split_seeds_are_checked(data: Callable[..., Data]) -> None:
    with pytest.raises(ConfigError, match=r"split_seed: must be 0 or more and below .* but got -1"):
        data(split_seed=-1)
