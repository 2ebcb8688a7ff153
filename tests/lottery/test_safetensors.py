import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from lth_sweep.lottery.runs.safetensors import decode, encode

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8, torch.bool]
shapes = st.lists(st.integers(0, 4), max_size=3)
kinds = st.tuples(shapes, st.sampled_from(DTYPES))


@given(st.dictionaries(st.text("ab./é", min_size=1, max_size=5), kinds, max_size=4))
def test_files_are_those_of_the_safetensors_package(kinds: dict[str, tuple[list[int], torch.dtype]]) -> None:
    tensors = {name: (torch.rand(shape) * 3).to(dtype) for name, (shape, dtype) in kinds.items()}
    theirs = safetensors.torch.load(encode(tensors))
    ours = decode(safetensors.torch.save(tensors))
    for read in (theirs, ours, decode(encode(tensors))):
        assert read.keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert read[name].dtype == tensor.dtype
            assert read[name].shape == tensor.shape
            assert torch.equal(read[name], tensor)


@pytest.mark.parametrize("length", [0, 7, 8, 20, -1])
def test_a_truncated_file_is_an_error(length: int) -> None:
    with pytest.raises(ValueError):
        decode(encode({"weight": torch.ones(3, 3)})[:length])


def test_tensors_of_any_layout_are_written_in_order() -> None:
    tensor = torch.arange(6.0).view(2, 3).t()
    assert torch.equal(decode(encode({"t": tensor}))["t"], tensor)
