"""Random changes to a batch of images, as tensor operations on the device."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from lth_sweep.lottery.common.errors import require
from lth_sweep.lottery.common.registry import Strategy
from lth_sweep.lottery.data.batch import described


class Augment(Strategy):
    """A family of augmentations."""

    family: ClassVar[str] = "augmentation"

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """A changed batch, same shape; all randomness comes from `generator`, which is on the CPU."""
        raise NotImplementedError


@dataclass(frozen=True)
class NoAugment(Augment):
    """The examples as they are."""

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return x


@dataclass(frozen=True)
class CropFlip(Augment):
    """Shift by up to `pad` pixels each way, zeros moving in, and mirror half of the images (He et al. 2015, 4.2)."""

    pad: int = 4
    flip: bool = True

    def __post_init__(self) -> None:
        require(self.pad >= 0, "pad", f"must be 0 or more, but got {self.pad}")

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """x: [n, channels, height, width]."""
        require(isinstance(x, Tensor) and x.ndim == 4, "", "augmentation crop-flip needs images, [channels, height, "
                f"width], but inputs are {described(x, whole=False)}")  # fmt: skip
        n, channels, height, width = x.shape
        shifts = torch.randint(0, 2 * self.pad + 1, (2, n), generator=generator)
        mirrored = torch.rand(n, generator=generator) < (0.5 if self.flip else 0.0)
        rows = shifts[0, :, None] + torch.arange(height)
        columns = shifts[1, :, None] + torch.arange(width)
        columns = torch.where(mirrored[:, None], columns.flip(1), columns)
        padded = F.pad(x, [self.pad] * 4)
        image = torch.arange(n)[:, None, None, None]
        channel = torch.arange(channels)[None, :, None, None]
        index = (image, channel, rows[:, None, :, None], columns[:, None, None, :])
        return padded[tuple(part.to(x.device) for part in index)]


AUGMENTS: dict[str, type[Augment]] = {"none": NoAugment, "crop-flip": CropFlip}
Augment.kinds = AUGMENTS
