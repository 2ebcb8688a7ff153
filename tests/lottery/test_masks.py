import torch
from hypothesis import given
from hypothesis import strategies as st

from lth_sweep.lottery.network.masks import Masks, pack, unpack
from lth_sweep.lottery.network.state import State

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


named = st.dictionaries(st.sampled_from("abcd"), st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1)


@given(named, named, st.integers(0, 2**32))
def test_what_is_replaced_stays_a_weight_and_what_is_new_is_none(
    weights: dict[str, tuple[int, ...]], others: dict[str, tuple[int, ...]], seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    shapes = others | weights
    new = {name: torch.rand(shape, generator=generator) < 0.5 for name, shape in shapes.items()}
    masks = Masks.full(weights).replace(new)
    assert (masks.weights.keys(), masks.others.keys()) == (weights.keys(), others.keys() - weights.keys())
    assert all(torch.equal(masks[name], mask) for name, mask in new.items())
    assert masks.density == sum(int(new[name].sum()) for name in weights) / sum(new[name].numel() for name in weights)
    state = State({name: torch.rand(shape) for name, shape in shapes.items()}).masked(masks)
    again = State.from_tensors(dict(reversed(state.to_tensors().items()))).masks
    assert (again.weights.keys(), again.others.keys()) == (masks.weights.keys(), masks.others.keys())
    assert again.digest == masks.digest
    assert masks.others.keys() or masks.digest == Masks(masks.tensors).digest


def test_biases_in_stages_of_early_versions_are_no_weights() -> None:
    state = State({"a.weight": torch.ones(2, 2), "a.bias": torch.ones(2)})
    early = state.masked(Masks.full({"a.weight": (2, 2), "a.bias": (2,)})).to_tensors()
    found = State.from_tensors(early).masks
    assert (list(found.weights), list(found.others)) == (["a.weight"], ["a.bias"])
    assert found.digest == Masks.full({"a.weight": (2, 2), "a.bias": (2,)}).digest


@given(st.integers(0, 8))
def test_the_digest_is_of_the_content(position: int) -> None:
    full = Masks.full({"a": (3, 3)})
    flipped = full["a"].clone().flatten()
    flipped[position] = False
    assert Masks({"a": flipped.view(3, 3)}).digest != full.digest
    assert Masks.full({"a": (3, 3)}).digest == full.digest
    assert Masks.full({"a": (9, 1)}).digest != full.digest
    assert Masks.full({"b": (3, 3)}).digest != full.digest
