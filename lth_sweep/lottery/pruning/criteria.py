"""What to score a weight by: the lowest scores are pruned. One score per weight; granularity and scope come later, and
whole units have the mean of their weights' scores."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.func import functional_call

from lth_sweep.lottery.common.errors import ConfigError, require
from lth_sweep.lottery.common.identity import derive
from lth_sweep.lottery.common.registry import Strategy
from lth_sweep.lottery.data.batch import call, first, mapped
from lth_sweep.lottery.data.batch import leaves as tensors_of
from lth_sweep.lottery.network.structure import Network
from lth_sweep.lottery.network.tracing import differentiable_twice, evaluating
from lth_sweep.lottery.pruning.view import View, derivative


class Criterion(Strategy):
    """A family of scores."""

    family: ClassVar[str] = "criterion"
    needs_training: ClassVar[bool] = False
    """Whether it says nothing of initial weights."""
    rounds: int = 1
    """In how many rounds, each with new scores, the weights of one level are removed."""

    def check(self, network: Network, layers: tuple[str, ...]) -> None:
        """Raise ConfigError for one of `layers` that cannot be scored like this."""

    def scores(self, view: View) -> dict[str, Tensor]:
        """For each of `view.layers` a score for each weight, same shape. Those of weights that are gone are unused."""
        raise NotImplementedError


@dataclass(frozen=True)
class Magnitude(Criterion):
    """|w| at the end of training (Han et al. 2015; Frankle & Carbin 2018). For units it is Li's L1 norm."""

    def scores(self, view: View) -> dict[str, Tensor]:
        return {layer: weight.abs() for layer, weight in view.weights.items()}


@dataclass(frozen=True)
class MagnitudeIncrease(Criterion):
    """|w_T| - |w_0|: how much a weight has grown (Zhou et al. 2019, section 2, "magnitude increase")."""

    needs_training: ClassVar[bool] = True

    def scores(self, view: View) -> dict[str, Tensor]:
        return {layer: weight.abs() - view.initial[layer].abs() for layer, weight in view.weights.items()}


@dataclass(frozen=True)
class InitialMagnitude(Criterion):
    """|w_0| (Zhou et al. 2019, section 2, "large init")."""

    def scores(self, view: View) -> dict[str, Tensor]:
        return {layer: view.initial[layer].abs() for layer in view.layers}


@dataclass(frozen=True)
class L2(Criterion):
    """w^2. For units it ranks by their L2 norm; for single weights the order is that of the magnitude."""

    def scores(self, view: View) -> dict[str, Tensor]:
        return {layer: weight.square() for layer, weight in view.weights.items()}


@dataclass(frozen=True)
class Random(Criterion):
    """Uniform, from a stream of each seed and layer. The same at all levels, so that removing half of the weights twice
    or three quarters at once leaves the same ones."""

    def scores(self, view: View) -> dict[str, Tensor]:
        return {layer: noise(weight, view.seed, "random", layer) for layer, weight in view.weights.items()}


def noise(like: Tensor, seed: int, *purpose: str) -> Tensor:
    """Uniform in [0, 1), float64 so that there are no ties, in the shape of `like`."""
    generator = torch.Generator().manual_seed(derive(seed, *purpose))
    return torch.rand(like.shape, generator=generator, dtype=torch.float64)


@dataclass(frozen=True)
class Snip(Criterion):
    """|g * w|, with g the gradient of the loss on training examples (Lee et al. 2019)."""

    examples: int = 1000
    """How many training examples the gradient is taken on."""

    def __post_init__(self) -> None:
        require(self.examples >= 1, "examples", f"must be 1 or more, but got {self.examples}")

    def scores(self, view: View) -> dict[str, Tensor]:
        leaves = view.leaves()
        gradients = view.gradient(leaves, self.examples)
        return {layer: (gradient * leaf).detach().abs().cpu()
                for (layer, leaf), gradient in zip(leaves.items(), gradients, strict=True)}  # fmt: skip


@dataclass(frozen=True)
class Grasp(Criterion):
    """w * Hg, with g the gradient and H the Hessian of the loss on training examples (Wang et al. 2020, section 4).

    The paper's S(-w) = -w * Hg is how much the gradient's norm grows when the weight is taken away, and the highest are
    removed; here the lowest are, hence the other sign. Weights that are gone take no part in g. The loss is that of
    logits / temperature, as in the authors' code.
    """

    examples: int = 1000
    """How many training examples the gradient is taken on."""
    temperature: float = 200.0

    def __post_init__(self) -> None:
        require(self.examples >= 1, "examples", f"must be 1 or more, but got {self.examples}")
        require(self.temperature > 0, "temperature", f"must be above 0, but got {self.temperature:g}")

    def scores(self, view: View) -> dict[str, Tensor]:
        with differentiable_twice(view.network.module):
            return self._scores(view)

    def _scores(self, view: View) -> dict[str, Tensor]:
        leaves = view.leaves()
        first = view.gradient(leaves, self.examples, self.temperature)
        flow = [gradient * view.kept(layer).to(gradient.device) for layer, gradient in zip(leaves, first, strict=True)]
        product = [torch.zeros_like(leaf) for leaf in leaves.values()]
        for loss in view.losses(leaves, self.examples, self.temperature):
            gradients = derivative(loss, leaves, create_graph=True)
            along = torch.stack([(one * other).sum() for one, other in zip(gradients, flow, strict=True)]).sum()
            for total, part in zip(product, derivative(along, leaves), strict=True):
                total += part
        return {layer: (leaf * hg).detach().cpu() for (layer, leaf), hg in zip(leaves.items(), product, strict=True)}


@dataclass(frozen=True)
class SynFlow(Criterion):
    """|w| * dR/d|w|, with R the sum of the outputs for an input of ones of the network with |w| for w (Tanaka et al.
    2020, section 6): a sum over paths of the product of their weights. Needs no data.

    In float64, where products of many layers neither vanish nor overflow. Biases are left out, and BatchNorm is in
    evaluation mode with |gamma| and without beta and mean, so that the network is linear on positive inputs, and each
    layer's scores add up to R. That keeps layers from being cut off only if the weights go in many small rounds, the
    kept share falling exponentially (algorithm 1), and compete across layers: set `scope: global`.
    """

    rounds: int = 100

    def __post_init__(self) -> None:
        require(self.rounds >= 1, "rounds", f"must be 1 or more, but got {self.rounds}")

    def scores(self, view: View) -> dict[str, Tensor]:
        module, device = view.module, view.device
        model = {name: tensor.to(device).abs() for name, tensor in view.model.items()}
        model = {name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in model.items()}
        for name in model:
            if name.endswith(("bias", "running_mean")):
                model[name] = torch.zeros_like(model[name])
        leaves = {layer: model[view.network.weights[layer]].requires_grad_() for layer in view.layers}
        ones = mapped(
            lambda x: torch.ones_like(x, dtype=torch.float64) if x.is_floating_point() else x,
            first(view.network.example, 1, device),
        )
        with evaluating(module):
            output = call(lambda *args, **kwargs: functional_call(module, model, args, kwargs), ones)
            total = torch.stack([part.sum() for part in tensors_of(output)]).sum()
            flow = derivative(total, leaves)
        return {layer: (leaf * part).detach().cpu() for (layer, leaf), part in zip(leaves.items(), flow, strict=True)}


@dataclass(frozen=True)
class BnScale(Criterion):
    """|gamma| of the BatchNorm that follows the unit's layer (Liu et al. 2017, network slimming); for units only."""

    def check_trial(self, trial: Any) -> None:
        if not trial.granularity.removes_units:
            raise ConfigError(f"criterion bn-scale scores whole units and does not go with granularity "
                              f"{trial.granularity.kind}; use granularity unit", "criterion")  # fmt: skip

    def check(self, network: Network, layers: tuple[str, ...]) -> None:
        for layer in layers:
            if layer not in network.norms:
                raise ConfigError(f"bn-scale needs a BatchNorm with gamma after each layer, but {layer!r} has none; "
                                  f"spare it with layer_rates: {{{layer}: 0}}, or use the criterion l1",
                                  "criterion")  # fmt: skip

    def scores(self, view: View) -> dict[str, Tensor]:
        scores = {}
        for layer, weight in view.weights.items():
            scale = view.model[f"{view.network.norms[layer]}.weight"].abs()
            scores[layer] = scale.view(-1, *[1] * (weight.ndim - 1)).expand_as(weight)
        return scores


CRITERIA: dict[str, type[Criterion]] = {
    "magnitude": Magnitude,
    "l1": Magnitude,
    "l2": L2,
    "magnitude-increase": MagnitudeIncrease,
    "initial-magnitude": InitialMagnitude,
    "snip": Snip,
    "grasp": Grasp,
    "synflow": SynFlow,
    "bn-scale": BnScale,
    "random": Random,
}
Criterion.kinds = CRITERIA
