"""What a model is here: options that build a network for given inputs and a given number of outputs."""

from typing import Any, ClassVar

from torch import Tensor, nn

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.common.registry import Strategy
from lth_sweep.lottery.data.batch import described


class Model(Strategy):
    """A family of networks. `build` makes the structure; the initial weights are drawn afterwards, by `init`."""

    family: ClassVar[str] = "model"

    def build(self, example: Any, outputs: int) -> nn.Module:
        """A network for inputs like those of `example`, a batch, that returns [batch, outputs], such as logits.

        Activations are modules, one for each use, so that they can be hooked. Raises ConfigError where the network
        cannot take such inputs.
        """
        raise NotImplementedError


def shape_of(model: Model, example: Any) -> tuple[int, ...]:
    """The shape of one input, without the batch dimension; ConfigError where there are several inputs."""
    if not isinstance(example, Tensor):
        raise ConfigError(f"model {model.kind} takes one input, but the data set gives {described(example)}; use a "
                          "model of your own")  # fmt: skip
    return tuple(example.shape[1:])


def require_images(model: Model, example: Any, smallest: int = 1) -> tuple[int, int, int]:
    """Channels, height and width, if these are images of at least `smallest` pixels each way; else ConfigError."""
    shape = shape_of(model, example)
    if len(shape) != 3 or min(shape[1:]) < smallest:
        size = f" of at least {smallest}x{smallest} pixels" if smallest > 1 else ""
        raise ConfigError(f"model {model.kind} needs images{size}, [channels, height, width], but inputs are "
                          f"{list(shape)}; choose other data, or a model such as mlp")  # fmt: skip
    return shape[0], shape[1], shape[2]


def scaled(channels: int, width: float) -> int:
    """Channels of a layer in a network `width` times as wide, at least one."""
    return max(1, round(channels * width))
