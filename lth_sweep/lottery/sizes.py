"""How large a ticket is: parameters, FLOPs and bytes, dense and pruned counted the same way."""

import math

from torch import Tensor

from lth_sweep.lottery.masks import Masks
from lth_sweep.lottery.network import Network


def sizes(network: Network, masks: Masks) -> dict[str, int]:
    """params: kept weights, and the biases and normalisation parameters that are left. flops: of one input, 2 for each
    multiply-add with a kept weight, in Linear and convolution layers. bytes: of the stored ticket, see `_bytes`."""
    params = stored = 0
    for name, shape in network.shapes.items():
        if name in masks:
            params += masks.kept[name]
            stored += _bytes(masks[name], masks.kept[name])
        else:
            params += math.prod(shape)
            stored += 4 * math.prod(shape)
    flops = sum(2 * masks.kept[f"{layer}.weight"] * network.positions[layer] for layer in network.layers)
    return {"params": params, "flops": flops, "bytes": stored}


def _bytes(mask: Tensor, kept: int) -> int:
    """The smaller of two ways to store a tensor in float32: its kept values and one bit an entry for where they are;
    or, dense, the slices along its first two dimensions that are not wholly gone."""
    bitmask = math.ceil(mask.numel() / 8) + 4 * kept
    if mask.ndim == 1:
        return min(bitmask, 4 * kept)
    slices = mask.flatten(2).any(2) if mask.ndim > 2 else mask
    dense = 4 * int(slices.any(1).sum()) * int(slices.any(0).sum()) * math.prod(mask.shape[2:])
    return min(bitmask, dense)


def density(masks: Masks) -> dict[str, float]:
    """Kept share of each layer's weights."""
    return {name.removesuffix(".weight"): masks.kept[name] / mask.numel() for name, mask in masks.prunable.items()}
