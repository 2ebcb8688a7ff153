"""What a model is here: options that build a network for a given input shape and number of classes."""

from typing import ClassVar

from torch import nn

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.common.registry import Strategy


class Model(Strategy):
    """A family of networks. `build` makes the structure; the initial weights are drawn afterwards, by `init`."""

    family: ClassVar[str] = "model"

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """A network for inputs of `shape` (without the batch dimension) that returns logits [batch, classes].

        The layer that gives the logits is the last Linear or convolution to be registered; activations are modules, one
        for each use, so that they can be hooked. Raises ConfigError where the network cannot take such inputs.
        """
        raise NotImplementedError


def require_images(model: Model, shape: tuple[int, ...], smallest: int = 1) -> tuple[int, int, int]:
    """`shape`, if it is that of images of at least `smallest` pixels each way; else ConfigError."""
    if len(shape) != 3 or min(shape[1:]) < smallest:
        size = f" of at least {smallest}x{smallest} pixels" if smallest > 1 else ""
        raise ConfigError(f"model {model.kind} needs images{size}, [channels, height, width], but inputs are "
                          f"{list(shape)}; choose other data, or a model such as mlp")  # fmt: skip
    return shape[0], shape[1], shape[2]


def scaled(channels: int, width: float) -> int:
    """Channels of a layer in a network `width` times as wide, at least one."""
    return max(1, round(channels * width))
