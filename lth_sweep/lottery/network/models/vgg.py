"""VGG in its CIFAR form."""

from collections import OrderedDict
from dataclasses import dataclass
from itertools import count, islice
from typing import Any, Literal

from torch import nn

from lth_sweep.lottery.common.errors import require
from lth_sweep.lottery.network.models.base import Model, require_images, scaled

STAGES = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""3x3 convolutions of each stage (Simonyan & Zisserman 2015, table 1, D and E)."""


@dataclass(frozen=True)
class Vgg(Model):
    """Stages of 64, 128, 256, 512 and 512 channels, each convolution with BatchNorm, max-pooling between the stages;
    then the mean over the image and one Linear: conv1, conv2, ..., output (Liu et al. 2019). VGG-16 has 14,724,042
    parameters on 32x32x3."""

    depth: Literal[16, 19] = 16
    width: float = 1.0
    """Factor on all channels."""

    def __post_init__(self) -> None:
        require(self.depth in STAGES, "depth", f"must be 16 or 19, but got {self.depth}")
        require(self.width > 0, "width", f"must be above 0, but got {self.width:g}")

    def build(self, example: Any, outputs: int) -> nn.Module:
        channels, _, _ = require_images(self, example, smallest=16)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        numbers = count(1)
        for stage, (full, convolutions) in enumerate(zip((64, 128, 256, 512, 512), STAGES[self.depth], strict=True)):
            width = scaled(full, self.width)
            if stage > 0:
                layers[f"pool{stage}"] = nn.MaxPool2d(2)
            for i in islice(numbers, convolutions):
                layers[f"conv{i}"] = nn.Conv2d(channels, width, 3, padding=1, bias=False)
                layers[f"norm{i}"], layers[f"relu{i}"] = nn.BatchNorm2d(width), nn.ReLU()
                channels = width
        layers["pool"], layers["flatten"] = nn.AdaptiveAvgPool2d(1), nn.Flatten()
        layers["output"] = nn.Linear(channels, outputs)
        return nn.Sequential(layers)
