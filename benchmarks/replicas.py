"""Replicas of a network in one call against one by one: steps per second, memory, and whether the results are equal.

LeNet-300-100 (28x28, Adam, batch 60) and ResNet-20 (32x32x3, SGD, batch 128), 1 to 16 replicas, through
`lottery.training.train`, on a GPU where there is one. The contestants take turns, so that a change of the machine's
speed meets both. Data are made up. `equal` compares the weights after a few steps in float32: the largest difference,
and how large the weights are.

    python benchmarks/replicas.py                     # on a GPU: all sizes, float32 and bf16
    python benchmarks/replicas.py --device cpu --quick
"""

import argparse
import statistics
import time
from dataclasses import dataclass, replace

import torch
from torch import nn

from lth_sweep.lottery.common.duration import Clock, Duration
from lth_sweep.lottery.data import Examples
from lth_sweep.lottery.network.models.base import Model
from lth_sweep.lottery.network.models.lenet import Lenet
from lth_sweep.lottery.network.models.resnet import ResNet
from lth_sweep.lottery.network.state import State
from lth_sweep.lottery.recipe.trial import Train
from lth_sweep.lottery.task import Classification
from lth_sweep.lottery.training import memory
from lth_sweep.lottery.training.optimizers import SGD, Adam, Optimizer
from lth_sweep.lottery.training.trainer import Replica, Trainer

EXAMPLES = 2000
WARM_UP = 5
EQUAL_AFTER = 2
"""Steps: rounding errors grow exponentially while a network trains."""


@dataclass(frozen=True)
class Network:
    model: Model
    shape: tuple[int, ...]
    batch: int
    optimizer: Optimizer


NETWORKS = {
    "lenet": Network(Lenet(), (1, 28, 28), 60, Adam(lr=0.0012)),
    "resnet-20": Network(ResNet(20), (3, 32, 32), 128, SGD(lr=0.03)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--replicas", nargs="+", type=int, default=[1, 2, 4, 8, 16])
    parser.add_argument("--precision", nargs="+", choices=["float32", "bf16"], default=["float32", "bf16"])
    parser.add_argument("--steps", type=int, default=200, help="of a turn (default 200)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contestant (default 5)")
    parser.add_argument("--compile", action="store_true", help="through torch.compile")
    parser.add_argument("--quick", action="store_true", help="2 replicas of LeNet, one step: only to see that it runs")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.networks, arguments.replicas, arguments.steps, arguments.rounds = ["lenet"], [2], 1, 2
    if arguments.device == "cpu":
        torch.set_num_threads(1)
    place = torch.cuda.get_device_name() if arguments.device.startswith("cuda") else "one CPU thread"
    print(f"{place}, PyTorch {torch.__version__}; n = {arguments.rounds} rounds of {arguments.steps} steps, in turns")
    for name in arguments.networks:
        for precision in arguments.precision:
            for count in arguments.replicas:
                compare(name, precision, count, arguments)


def compare(name: str, precision: str, count: int, arguments: argparse.Namespace) -> None:
    trainer = make(NETWORKS[name], precision, arguments.device, arguments.compile)
    replicas = [Replica(fresh(trainer.module, seed), seed) for seed in range(count)]
    together, apart, ratios = [], [], []
    peaks: dict[str, list[int]] = {"together": [], "apart": []}
    for _ in range(arguments.rounds):
        together.append(speed(trainer, [replicas], arguments.steps, peaks["together"]))
        apart.append(speed(trainer, [[replica] for replica in replicas], arguments.steps, peaks["apart"]))
        ratios.append(together[-1] / apart[-1])
    print(f"{name}, {precision}, {count} replicas: {statistics.median(together):.1f} steps/s of each together, "
          f"{statistics.median(apart):.1f} one by one; memory {megabytes(peaks['together'])} and "
          f"{megabytes(peaks['apart'])} MB; "
          f"{equality(trainer, replicas) if precision == 'float32' else ''}")  # fmt: skip
    print(f"ratio {name} {precision} {count} together / one by one: "
          f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")  # fmt: skip


def make(network: Network, precision: str, device: str, compiled: bool) -> Trainer:
    torch.manual_seed(0)
    length = Duration(10**6, "steps")  # no point of the curve in what is timed
    recipe = replace(Train(), length=length, batch=network.batch, optimizer=network.optimizer, evaluate=length,
                     precision=precision)  # type: ignore[arg-type] # fmt: skip
    x, y = torch.rand(EXAMPLES, *network.shape), torch.randint(0, 10, (EXAMPLES,))
    module = network.model.build(torch.zeros(2, *network.shape), 10).to(device)
    if compiled:
        module.compile()
    data = Examples(x, y).to(device)
    clock = Clock(EXAMPLES // network.batch, 10**6)
    validation = Examples(data.x[:1], data.y[:1])
    return Trainer(module, recipe, Classification(), clock, data, validation, torch.device(device))


def fresh(module: nn.Module, seed: int) -> State:
    torch.manual_seed(seed)
    for layer in module.modules():
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    return State.of(module)


def speed(trainer: Trainer, calls: list[list[Replica]], steps: int, peaks: list[int]) -> float:
    """Steps per second of every replica, and the peak of memory."""
    device = str(trainer.device)
    for call in calls:
        trainer.train(call, 0, WARM_UP)
    memory.reset(device)
    synchronize(device)
    started = time.perf_counter()
    for call in calls:
        trainer.train(call, 0, steps)
    synchronize(device)
    seconds = time.perf_counter() - started
    peaks.append(memory.peak(device) or 0)
    return steps / seconds


def equality(trainer: Trainer, replicas: list[Replica]) -> str:
    together = trainer.train(replicas, 0, EQUAL_AFTER)
    differences, size = [], 0.0
    for replica, one in zip(replicas, together, strict=True):
        alone = trainer.train([replica], 0, EQUAL_AFTER)[0].state.model
        for name, tensor in alone.items():
            if tensor.is_floating_point():
                differences.append(float((tensor - one.state.model[name]).abs().max()))
                size = max(size, float(tensor.abs().max()))
    return f"equal within {max(differences):.1e} after {EQUAL_AFTER} steps, weights up to {size:.1f}"


def megabytes(peaks: list[int]) -> str:
    return f"{max(peaks) / 1e6:,.0f}"


def synchronize(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
