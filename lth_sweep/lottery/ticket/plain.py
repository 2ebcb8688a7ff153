"""Networks as other programs can take them: plain weights, and outputs that are tensors in tuples, lists and dicts."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from lth_sweep.lottery.data.batch import leaves

TOLERANCE = 1e-4
"""Largest `difference` of what is equal. Float rounding stays below 1e-5 in networks of 20 layers and grows with their
depth; something wrong shows above 1e-2."""


def with_plain_output(module: nn.Module) -> nn.Module:
    """The module, which from now on gives its output as `plain` has it."""
    module.register_forward_hook(lambda module, inputs, output: plain(output))
    return module


def plain(output: Any) -> Any:
    """The same nesting of tensors. An object, such as Hugging Face's, becomes a dict by the names of its attributes;
    what is no tensor is left out."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, tuple | list):
        return tuple(part for part in map(plain, output) if _has_tensors(part))
    named = output if isinstance(output, Mapping) else vars(output) if hasattr(output, "__dict__") else {}
    return {str(name): part for name, value in named.items() if _has_tensors(part := plain(value))}


def _has_tensors(part: Any) -> bool:
    return isinstance(part, Tensor) or bool(part)


def difference(found: Any, expected: Any) -> float:
    """The largest between two plain outputs, relative to the largest number that is expected of the same tensor; NaN
    where they cannot be compared."""
    pairs = leaves(found), leaves(expected)
    return max(map(_difference, *pairs), default=0.0) if len(pairs[0]) == len(pairs[1]) else math.nan


def _difference(found: Tensor, expected: Tensor) -> float:
    if found.shape != expected.shape:
        return math.nan
    if torch.equal(found, expected) or not expected.numel():
        return 0.0
    apart = torch.where(found == expected, 0, (found.double() - expected.double()).abs())
    return float(apart.max() / expected.double().abs().nan_to_num(0, 0, 0).max().clamp(min=1e-30))


@torch.enable_grad()  # else PyTorch makes buffers of them
def with_plain_weights(module: nn.Module) -> nn.Module:
    """The module, whose parametrizations, such as a weight or spectral normalisation, have become what they give."""
    for part in list(module.modules()):
        if parametrize.is_parametrized(part):
            for name in list(part.get_submodule("parametrizations")._modules):
                parametrize.remove_parametrizations(part, name)
        for hook in list(part._forward_pre_hooks.values()):  # those of PyTorch before 2.0
            if isinstance(hook, WeightNorm):
                nn.utils.remove_weight_norm(part, hook.name)
            elif isinstance(hook, SpectralNorm):
                nn.utils.remove_spectral_norm(part, hook.name)
    return module


def buffers_in_no_state(module: nn.Module) -> dict[str, Tensor]:
    """Those that `state_dict` leaves out, on the CPU."""
    kept = module.state_dict().keys()
    return {name: buffer.detach().cpu() for name, buffer in module.named_buffers() if name not in kept}
