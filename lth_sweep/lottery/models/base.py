"""What a model is here: options that build a network for a given input shape and number of classes."""

from typing import Any, ClassVar, Self

from torch import nn

from lth_sweep.lottery.errors import ConfigError
from lth_sweep.lottery.registry import Strategy


class Model(Strategy):
    """A family of networks. `build` makes the structure; the initial weights are drawn afterwards, by `init`."""

    family: ClassVar[str] = "model"

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """A network for inputs of `shape` (without the batch dimension) that returns logits [batch, classes].

        Raises ConfigError where the network cannot take such inputs.
        """
        raise NotImplementedError

    @classmethod
    def adopt(cls, path: str, found: Any, options: Any) -> Self:
        raise ConfigError(f"{path!r} cannot be used as a model")
