"""A U-Net that tells discs, squares and triangles from the background, pixel by pixel."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset


class Shapes(TensorDataset):
    """n grey images [1, size, size] of three shapes each, under noise, and each pixel's class: 0 is the background, 1 a
    disc, 2 a square, 3 a triangle. What is drawn later lies above."""

    classes = 4

    def __init__(self, n: int = 2000, size: int = 32, noise: float = 0.5) -> None:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(n, size, size, generator=generator) * noise
        y = torch.zeros(n, size, size, dtype=torch.long)
        rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
        for _ in range(3):
            shape = torch.randint(1, 4, (n, 1, 1), generator=generator)
            radius = torch.randint(size // 8, size // 4, (n, 1, 1), generator=generator)
            down, right = torch.randint(0, size, (2, n, 1, 1), generator=generator)
            v, h = rows - down, (columns - right).abs()
            disc, square = v**2 + h**2 <= radius**2, (v.abs() <= radius * 0.9) & (h <= radius * 0.9)
            triangle = (v.abs() <= radius) & (2 * h <= v + radius)
            inside = torch.where(shape == 1, disc, torch.where(shape == 2, square, triangle))
            y = torch.where(inside, shape, y)
        super().__init__((x + (y > 0))[:, None], y)


def convolutions(channels: int, width: int) -> nn.Module:
    """Two of them, each with its norm."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
    )  # fmt: skip


class UNet(nn.Module):
    """Images [n, 1, height, width] in, logits [n, classes, height, width] out (Ronneberger et al. 2015, in small)."""

    def __init__(self, width: int = 8, classes: int = 4) -> None:
        super().__init__()
        self.first, self.second = convolutions(1, width), convolutions(width, 2 * width)
        self.bottom = convolutions(2 * width, 4 * width)
        self.up2, self.right2 = nn.ConvTranspose2d(4 * width, 2 * width, 2, 2), convolutions(4 * width, 2 * width)
        self.up1, self.right1 = nn.ConvTranspose2d(2 * width, width, 2, 2), convolutions(2 * width, width)
        self.output = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x)
        second = self.second(F.max_pool2d(first, 2))
        x = self.bottom(F.max_pool2d(second, 2))
        x = self.right2(torch.cat([self.up2(x), second], 1))
        return self.output(self.right1(torch.cat([self.up1(x), first], 1)))
