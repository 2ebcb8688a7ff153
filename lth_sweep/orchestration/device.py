"""The device of a trial: what Ray has assigned to the worker, never one that is chosen here."""

import os
import socket
import sys
from collections.abc import Sequence

import torch

from lth_sweep.lottery.common.errors import ConfigError


def assigned(gpu: float) -> str:
    """The PyTorch device for a trial that asks for `gpu` GPUs: "cpu" for none; else the GPU that Ray has assigned to
    this process, or, without Ray, the first that there is. A share of a GPU is also one of its memory.

    Raises ConfigError where PyTorch sees no GPU.
    """
    if not gpu:
        return "cpu"
    if not torch.cuda.is_available():
        raise ConfigError(
            f"a trial asks for {gpu:g} of a GPU, but PyTorch {torch.__version__} sees none on {socket.gethostname()}; "
            "install its build for CUDA and the driver there, or ask for none",
            "resources.gpu",
        )
    index = position(_assigned_ids(), os.environ.get("CUDA_VISIBLE_DEVICES"))
    if gpu < 1:
        torch.cuda.set_per_process_memory_fraction(gpu, index)
    return f"cuda:{index}"


def position(assigned: Sequence[str], visible: str | None) -> int:
    """PyTorch's number of the first assigned GPU: it counts those that CUDA_VISIBLE_DEVICES leaves visible."""
    if not assigned:
        return 0
    return visible.split(",").index(assigned[0]) if visible else int(assigned[0])


def _assigned_ids() -> list[str]:
    """Of this worker's GPUs; none outside of Ray, which is not imported for this."""
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return []
    return [str(one) for one in ray.get_runtime_context().get_accelerator_ids().get("GPU", [])]
