"""Conv-2, Conv-4 and Conv-6: VGG in small (Frankle & Carbin 2018, figure 2)."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from lth_sweep.lottery.common.errors import require
from lth_sweep.lottery.network.models.base import Model, require_images, scaled


@dataclass(frozen=True)
class Conv2(Model):
    """Two 3x3 convolutions of 64 channels, max-pooling, and fully connected layers of 256, 256 and the outputs:
    conv1, conv2, ..., fc1, fc2, output.

    Sizes are halved by each pooling, rounded down; convolutions keep them (padding 1). 4,301,642 parameters on 32x32x3.
    """

    width: float = 1.0
    """Factor on all channels and hidden layers."""

    stages: ClassVar[tuple[int, ...]] = (64,)
    """Channels of the two convolutions before each pooling."""

    def __post_init__(self) -> None:
        require(self.width > 0, "width", f"must be above 0, but got {self.width:g}")

    def build(self, example: Any, outputs: int) -> nn.Module:
        channels, height, width = require_images(self, example, smallest=2 ** len(self.stages))
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for stage, full in enumerate(self.stages, 1):
            for i in (2 * stage - 1, 2 * stage):
                layers[f"conv{i}"] = nn.Conv2d(channels, scaled(full, self.width), 3, padding=1)
                layers[f"relu{i}"] = nn.ReLU()
                channels = scaled(full, self.width)
            layers[f"pool{stage}"] = nn.MaxPool2d(2)
            height, width = height // 2, width // 2
        hidden = scaled(256, self.width)
        layers["flatten"] = nn.Flatten()
        layers["fc1"], layers["fc1_relu"] = nn.Linear(channels * height * width, hidden), nn.ReLU()
        layers["fc2"], layers["fc2_relu"] = nn.Linear(hidden, hidden), nn.ReLU()
        layers["output"] = nn.Linear(hidden, outputs)
        return nn.Sequential(layers)


@dataclass(frozen=True)
class Conv4(Conv2):
    """Conv-2 with a second pair of convolutions, of 128 channels. 2,425,930 parameters on 32x32x3."""

    stages: ClassVar[tuple[int, ...]] = (64, 128)


@dataclass(frozen=True)
class Conv6(Conv2):
    """Conv-4 with a third pair of convolutions, of 256 channels. 2,262,602 parameters on 32x32x3, of which 1,144,512
    are convolution weights. (The paper's figure says 1.1M of 1.7M; its layers, as listed, add up to 2.3M.)"""

    stages: ClassVar[tuple[int, ...]] = (64, 128, 256)
