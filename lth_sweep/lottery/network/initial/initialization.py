"""Initial weights: how the parameters of a layer are drawn, or where they come from. Which are drawn: `drawing`."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lth_sweep.lottery.common.errors import ConfigError, require
from lth_sweep.lottery.common.patterns import matches
from lth_sweep.lottery.common.registry import Strategy
from lth_sweep.lottery.network.state import first_names
from lth_sweep.lottery.network.weights_file import read

RELU_GAIN = math.sqrt(2)
"""Keeps the size of signals through ReLU, which takes half of their energy (He et al. 2015b, section 2.2)."""


class Init(Strategy):
    """A family of initialisations."""

    family: ClassVar[str] = "initialisation"
    redraws: ClassVar[bool] = True
    """Whether it draws what a constructor has already set or drawn."""
    scaled: bool = False
    """Where a ticket starts from initial weights, those of each layer are multiplied by sqrt(1 / k), k = the share of
    the layer's weights that is KEPT, so that signals keep their size (Ramanujan et al. 2020). The dense
    network is not changed by it."""

    def check_trial(self, trial: Any) -> None:
        if self.scaled and not trial.rewind.from_initial:
            raise ConfigError("init.scaled is about tickets that start from initial weights and does not go with "
                              f"rewind {trial.rewind.kind}; use rewind init", "init.scaled")  # fmt: skip

    def draw(self, layer: nn.Module) -> None:
        """Set the parameters of one layer in place, drawing from PyTorch's global generator, which is seeded for it; by
        default as its own `reset_parameters` does."""
        reset = getattr(layer, "reset_parameters", None) or getattr(layer, "_reset_parameters", None)
        if callable(reset):
            reset()

    def loaded(self, module: nn.Module) -> dict[str, Tensor]:
        """Parameters and buffers of a network that come from elsewhere, by their first names. Raises ConfigError where
        they do not fit it."""
        return {}

    def is_fresh(self, name: str) -> bool:
        """Whether this parameter is drawn though a constructor or a file gives it a value."""
        return False


@dataclass(frozen=True)
class Default(Init):
    """Of a network of your own, what its constructor draws or loads. Of one of this package, what the layer's own
    `reset_parameters` does: for Linear and convolutions, Kaiming uniform with a = sqrt(5)."""

    redraws: ClassVar[bool] = False


class Scheme(Init):
    """Weights of Linear and convolution layers by `fill`, their biases 0; all other layers by their own
    `reset_parameters`."""

    def draw(self, layer: nn.Module) -> None:
        super().draw(layer)
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
            self.fill(layer.weight)
            if layer.bias is not None:
                with torch.no_grad():
                    layer.bias.zero_()

    def fill(self, weight: Tensor) -> None:
        """Set a weight, [out, in, ...], in place."""
        raise NotImplementedError


@dataclass(frozen=True)
class KaimingNormal(Scheme):
    """Normal with variance 2 / fan_in (He et al. 2015b)."""

    scaled: bool = False

    def fill(self, weight: Tensor) -> None:
        nn.init.kaiming_normal_(weight, nonlinearity="relu")


@dataclass(frozen=True)
class KaimingUniform(Scheme):
    """Uniform with variance 2 / fan_in (He et al. 2015b)."""

    def fill(self, weight: Tensor) -> None:
        nn.init.kaiming_uniform_(weight, nonlinearity="relu")


@dataclass(frozen=True)
class XavierNormal(Scheme):
    """Normal with variance 2 / (fan_in + fan_out) (Glorot & Bengio 2010); biases 0. Frankle & Carbin's, for LeNet."""

    def fill(self, weight: Tensor) -> None:
        nn.init.xavier_normal_(weight)


@dataclass(frozen=True)
class XavierUniform(Scheme):
    """Uniform with variance 2 / (fan_in + fan_out) (Glorot & Bengio 2010)."""

    def fill(self, weight: Tensor) -> None:
        nn.init.xavier_uniform_(weight)


@dataclass(frozen=True)
class Orthogonal(Scheme):
    """Rows, or columns if there are fewer, orthogonal and of length sqrt(2) (Saxe et al. 2014, for ReLU); a convolution
    as the matrix [out, in * kernel]."""

    def fill(self, weight: Tensor) -> None:
        nn.init.orthogonal_(weight, gain=RELU_GAIN)


@dataclass(frozen=True)
class SignedConstant(Scheme):
    """+-sqrt(2 / fan_in), the signs those of Kaiming normal (Ramanujan et al. 2020)."""

    scaled: bool = False

    def fill(self, weight: Tensor) -> None:
        nn.init.kaiming_normal_(weight, nonlinearity="relu")
        with torch.no_grad():
            constant = RELU_GAIN / math.sqrt(weight[0].numel())
            weight.copy_(torch.where(weight < 0, -constant, constant))


@dataclass(frozen=True)
class Pretrained(Init):
    """The weights in a file: tickets that rewind to `init` start from them (Chen et al. 2020, "The Lottery Ticket
    Hypothesis for pre-trained BERT networks"). Seeds differ in the order of the batches and in what is drawn fresh."""

    path: str
    """A .safetensors file, a state dict of PyTorch (.pt, .pth, .bin, .ckpt; also one level down in a checkpoint), or an
    exported program (.pt2). A relative path starts at the sweep file, or else where the command is run. What counts
    is the content: stages are shared by copies of it, and made anew once it has changed."""
    strict: bool = True
    """Whether the file must have all parameters and buffers of the network, in its shapes, and no others. If not, what
    fits is taken, and all else is drawn as by default."""
    fresh: tuple[str, ...] = ()
    """What is not taken from the file but drawn as by default: names or patterns of layers or parameters, such as
    "head*"."""

    redraws: ClassVar[bool] = False

    def identity(self) -> dict[str, Any]:
        return {"kind": self.kind, "checksum": read(self.path)[1], "fresh": list(self.fresh)}

    def is_fresh(self, name: str) -> bool:
        return any(matches(name, pattern) for pattern in self.fresh)

    def loaded(self, module: nn.Module) -> dict[str, Tensor]:
        names = first_names(module)
        for number, pattern in enumerate(self.fresh):
            require(any(matches(name, pattern) for name in names), f"fresh.{number}",
                    f"{pattern!r} matches no layer and no parameter; they are {_few(names)}")  # fmt: skip
        given = {name: tensor for name, tensor in read(self.path)[0].items() if not self.is_fresh(name)}
        wanted = {name: tensor for name, tensor in module.state_dict().items() if not self.is_fresh(name)}
        shaped = {name for name in given.keys() & wanted.keys() if given[name].shape == wanted[name].shape}
        fitting = {names[name]: given[name].to(wanted[name].dtype) for name in sorted(shaped)}
        counts = {name for name in wanted if name.endswith("num_batches_tracked")}  # which older files lack
        missing = [name for name in wanted if name not in given and names[name] not in fitting and name not in counts]
        other = [f"{name} {list(given[name].shape)}, where it has {list(wanted[name].shape)}"
                 for name in wanted if name in given and name not in shaped]  # fmt: skip
        wrong = {
            "it lacks": missing, "the network does not have": [name for name in given if name not in wanted],
            "of another shape is": other,
        }  # fmt: skip
        if not fitting or (self.strict and any(wrong.values())):
            told = "; ".join(f"{what} {_few(some)}" for what, some in wrong.items() if some) or "all of it is fresh"
            heads = dict.fromkeys(text.split(" ")[0].rpartition(".")[0] or text for text in [*other, *missing])
            fresh = f"draw layers anew, as with fresh: [{', '.join(list(heads)[:3])}], or " if heads else ""
            remedy = f"{fresh}take what fits with strict: false" if fitting else "nothing fits; give another file"
            raise ConfigError(f"{self.path} does not fit the network: {told}; {remedy}", "path")
        return fitting


def _few(names: Collection[str]) -> str:
    """The first of them."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join([*names][:3]) + more


INITS: dict[str, type[Init]] = {
    "default": Default,
    "pretrained": Pretrained,
    "kaiming-normal": KaimingNormal,
    "kaiming-uniform": KaimingUniform,
    "xavier-normal": XavierNormal,
    "xavier-uniform": XavierUniform,
    "orthogonal": Orthogonal,
    "signed-constant": SignedConstant,
}
Init.kinds = INITS
