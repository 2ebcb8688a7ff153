"""How large a ticket is: parameters, FLOPs and bytes, dense and pruned counted the same way; and how fast."""

import math
import statistics
import time
from typing import Any

import torch
from torch import Tensor, nn

from lth_sweep.lottery.data.batch import call, first
from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.structure import Network
from lth_sweep.lottery.network.tracing import evaluating


def sizes(network: Network, masks: Masks) -> dict[str, int]:
    """Of the whole network, what cannot be pruned among it. params: kept weights, and the biases, normalisation
    parameters and the like that are left. flops: of one input, 2 for each multiply-add, those with a weight as far as
    it is kept; products of other things, as attention has them, count whole. bytes: of the stored ticket, `_bytes`."""
    params = stored = 0
    for name, shape in network.shapes.items():
        if name in masks:
            params += masks.kept[name]
            stored += _bytes(masks[name], masks.kept[name])
        else:
            params += math.prod(shape)
            stored += 4 * math.prod(shape)
    flops = network.trace.other_flops
    for name, whole in network.trace.flops.items():
        size = math.prod(network.shapes[name])
        flops += whole / size * masks.kept.get(name, size)
    return {"params": params, "flops": round(flops), "bytes": stored}


def _bytes(mask: Tensor, kept: int) -> int:
    """The smaller of two ways to store a tensor in float32: its kept values and one bit an entry for where they are;
    or, dense, the slices along its first two dimensions that are not wholly gone."""
    bitmask = math.ceil(mask.numel() / 8) + 4 * kept
    if mask.ndim == 1:
        return min(bitmask, 4 * kept)
    slices = mask.flatten(2).any(2) if mask.ndim > 2 else mask
    dense = 4 * int(slices.any(1).sum()) * int(slices.any(0).sum()) * math.prod(mask.shape[2:])
    return min(bitmask, dense)


def density(network: Network, masks: Masks) -> dict[str, float]:
    """Kept share of each layer's weights, in the order of the layers."""
    return {layer: masks.kept[name] / masks[name].numel() for layer, name in network.weights.items()}


WARM_UP = 5
RUNS = 30
SECONDS = 0.3
"""`latency` measures at least that many runs, and for at least that long."""


@torch.no_grad()
def latency(module: nn.Module, example: Any, batch: int = 1, device: str = "cpu", threads: int = 1) -> float:
    """Median milliseconds of one forward pass on `batch` inputs, those of `example`, in evaluation mode.

    A measurement: it differs from run to run and from machine to machine. Only what is physically smaller is faster, so
    tickets are to be compacted first. `module` moves to `device`; its mode and PyTorch's threads are as before.
    """
    inputs = first(example, batch, device)
    synchronize = torch.cuda.synchronize if torch.device(device).type == "cuda" else lambda: None
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with evaluating(module.to(device)):
            for _ in range(WARM_UP):
                call(module, inputs)
            milliseconds: list[float] = []
            while len(milliseconds) < RUNS or sum(milliseconds) < SECONDS * 1000:
                synchronize()
                started = time.perf_counter()
                call(module, inputs)
                synchronize()
                milliseconds.append((time.perf_counter() - started) * 1000)
    finally:
        torch.set_num_threads(threads_before)
    return statistics.median(milliseconds)
