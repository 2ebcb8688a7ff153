import pytest
import torch
from torch import Tensor

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.training.augmentation import CropFlip, NoAugment

IMAGE = torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16]])


def outcomes(augment: CropFlip, n: int = 500) -> set[tuple[float, ...]]:
    """What becomes of n copies of IMAGE in one batch."""
    batch = augment(IMAGE.expand(n, 1, 4, 4), torch.Generator().manual_seed(0))
    assert batch.shape == (n, 1, 4, 4)
    return {tuple(image.flatten().tolist()) for image in batch}


def flat(rows: list[list[float]]) -> tuple[float, ...]:
    return tuple(float(value) for row in rows for value in row)


def moved(down: int, right: int) -> Tensor:
    result = torch.zeros(4, 4)
    for row in range(4):
        for column in range(4):
            if 0 <= row - down < 4 and 0 <= column - right < 4:
                result[row, column] = IMAGE[row - down, column - right]
    return result


def test_shifts_and_mirrors_to_exactly_the_possible_images() -> None:
    found = outcomes(CropFlip(pad=1))
    assert flat([[0, 0, 0, 0], [0, 1, 2, 3], [0, 5, 6, 7], [0, 9, 10, 11]]) in found  # down and right
    assert flat([[7, 6, 5, 0], [11, 10, 9, 0], [15, 14, 13, 0], [0, 0, 0, 0]]) in found  # up and right, mirrored
    shifted = [moved(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    assert found == {tuple(image.flatten().tolist()) for shift in shifted for image in (shift, shift.flip(1))}


def test_flip_alone() -> None:
    mirrored = flat([[4, 3, 2, 1], [8, 7, 6, 5], [12, 11, 10, 9], [16, 15, 14, 13]])
    assert outcomes(CropFlip(pad=0)) == {flat(IMAGE.tolist()), mirrored}


def test_without_flip_nothing_is_mirrored() -> None:
    assert outcomes(CropFlip(pad=0, flip=False)) == {flat(IMAGE.tolist())}


def test_all_channels_of_an_image_move_together() -> None:
    x = torch.stack([IMAGE, IMAGE + 100]).expand(50, 2, 4, 4)
    changed = CropFlip(pad=2)(x, torch.Generator().manual_seed(1))
    first, second = changed[:, 0], changed[:, 1]
    assert torch.equal(second, torch.where(first > 0, first + 100, 0))


def test_the_generator_decides() -> None:
    x = torch.randn(64, 3, 8, 8)
    once, again, other = (CropFlip()(x, torch.Generator().manual_seed(seed)) for seed in (5, 5, 6))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_inputs_that_are_no_images_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"crop-flip needs images.*but inputs are \[40\]"):
        CropFlip()(torch.zeros(2, 40), torch.Generator())
    with pytest.raises(ConfigError, match=r"inputs are \{'a': \[1, 8, 8\]\}"):
        CropFlip()({"a": torch.zeros(2, 1, 8, 8)}, torch.Generator())  # type: ignore[arg-type]


def test_none_changes_nothing() -> None:
    x = torch.randn(3, 5)
    assert NoAugment()(x, torch.Generator()) is x


def test_pad_must_not_be_negative() -> None:
    with pytest.raises(ConfigError, match="pad: must be 0 or more, but got -1"):
        CropFlip(pad=-1)
