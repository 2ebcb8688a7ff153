import torch
from hypothesis import given
from hypothesis import strategies as st

from lth_sweep.lottery.network.masks import Masks, pack, unpack

shapes = st.lists(st.integers(0, 9), min_size=1, max_size=3).map(tuple)


@given(shapes, st.integers(0, 2**32))
def test_packing_loses_nothing(shape: tuple[int, ...], seed: int) -> None:
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.5
    packed = pack(mask)
    assert packed.numel() == (mask.numel() + 7) // 8
    assert torch.equal(unpack(packed, shape), mask)


def test_packed_bits_are_in_order() -> None:
    mask = torch.tensor([1, 0, 0, 0, 0, 0, 1, 1, 1], dtype=torch.bool)
    assert pack(mask).tolist() == [0b10000011, 0b10000000]


def test_density_counts_weights_and_not_biases() -> None:
    masks = Masks({"a.weight": torch.tensor([[1, 1], [1, 0]]).bool()}, {"a.bias": torch.tensor([0, 0]).bool()})
    assert masks.density == 3 / 4
    assert masks.kept == {"a.weight": 3, "a.bias": 0}


@given(st.integers(0, 8))
def test_the_digest_is_of_the_content(position: int) -> None:
    full = Masks.full({"a": (3, 3)})
    flipped = full["a"].clone().flatten()
    flipped[position] = False
    assert Masks({"a": flipped.view(3, 3)}).digest != full.digest
    assert Masks.full({"a": (3, 3)}).digest == full.digest
    assert Masks.full({"a": (9, 1)}).digest != full.digest
    assert Masks.full({"b": (3, 3)}).digest != full.digest
