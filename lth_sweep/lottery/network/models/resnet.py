"""Residual networks in their CIFAR form."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from lth_sweep.lottery.common.errors import require
from lth_sweep.lottery.network.models.base import Model, require_images, scaled


class Block(nn.Module):
    """Two 3x3 convolutions with BatchNorm, added to the input (He et al. 2015, figure 2)."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        same = stride == 1 and channels == width
        self.shortcut = nn.Sequential() if same else nn.Sequential(OrderedDict(
            conv=nn.Conv2d(channels, width, 1, stride, bias=False), norm=nn.BatchNorm2d(width)))  # fmt: skip
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        inner = self.norm2(self.conv2(self.relu1(self.norm1(self.conv1(x)))))
        return self.relu2(inner + self.shortcut(x))


@dataclass(frozen=True)
class ResNet(Model):
    """3x3 convolutions of 16, 32 and 64 channels, n residual blocks each, for a depth of 6n + 2; then the mean over the
    image and one Linear: conv, block1.conv1, block1.conv2, ..., output (He et al. 2015, section 4.2). ResNet-20 has
    272,474 parameters on 32x32x3.

    Where the size changes, the shortcut is a 1x1 convolution with BatchNorm (the paper's option B), as in open_lth: one
    padded with zeros (option A) has no weights, but hides from a dependency graph which channels belong together.
    """

    depth: int = 20
    """20, 32, 44, 56, 110, or any other 6n + 2."""
    width: float = 1.0
    """Factor on all channels."""

    def __post_init__(self) -> None:
        require(self.depth >= 8 and self.depth % 6 == 2, "depth",
                f"must be 6n + 2 (8, 14, 20, 26, 32, ... 56, ... 110), but got {self.depth}")  # fmt: skip
        require(self.width > 0, "width", f"must be above 0, but got {self.width:g}")

    def build(self, example: Any, outputs: int) -> nn.Module:
        channels, _, _ = require_images(self, example)
        width = scaled(16, self.width)
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv=nn.Conv2d(channels, width, 3, padding=1, bias=False), norm=nn.BatchNorm2d(width), relu=nn.ReLU()
        )
        channels, blocks = width, (self.depth - 2) // 6
        for i in range(3 * blocks):
            width = scaled((16, 32, 64)[i // blocks], self.width)
            layers[f"block{i + 1}"] = Block(channels, width, stride=2 if i in (blocks, 2 * blocks) else 1)
            channels = width
        layers["pool"], layers["flatten"] = nn.AdaptiveAvgPool2d(1), nn.Flatten()
        layers["output"] = nn.Linear(channels, outputs)
        return nn.Sequential(layers)
