"""Which parameters have a learning rate or a weight decay of their own."""

from collections.abc import Collection, Mapping

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from lth_sweep.lottery.common.errors import require
from lth_sweep.lottery.common.patterns import matches

NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


def grouped(
    module: nn.Module, parameters: Mapping[str, Tensor], lr_factors: Mapping[str, float], decay: str
) -> dict[tuple[float, bool], list[Tensor]]:
    """(factor on the learning rate, whether weight decay applies) -> those of a module's `parameters`."""
    norms = {parameter for layer in module.modules() if isinstance(layer, NORMS) for parameter in layer.parameters()}
    own = dict(module.named_parameters())
    found: dict[tuple[float, bool], list[Tensor]] = {}
    for name, tensor in parameters.items():
        decays = decay == "all" or (own[name].ndim > 1 and own[name] not in norms)
        found.setdefault((_factor(name, lr_factors), decays), []).append(tensor)
    return found


def check_lr_factors(lr_factors: Mapping[str, float], names: Collection[str]) -> None:
    """Raise ConfigError for a pattern that fits none of the names of trained parameters, and so has no effect."""
    for pattern in lr_factors:
        some = f"{', '.join(list(names)[:8])}{', ...' if len(names) > 8 else ''}"
        require(any(matches(name, pattern) for name in names), f"train.lr_factors.{pattern}",
                f'fits no parameter that is trained; there are {some}; or write a pattern such as "head*"')  # fmt: skip


def _factor(name: str, lr_factors: Mapping[str, float]) -> float:
    """Of the first pattern that fits; else 1."""
    return next((factor for pattern, factor in lr_factors.items() if matches(name, pattern)), 1.0)
