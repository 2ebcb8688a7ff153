"""Steps per second of our training loop, against loops written by hand for the same work, in one process.

LeNet-300-100 (784-300-100-10) on 55,000 made-up examples, masks at 20% density, Adam, batches of 60, one thread. The
contestants take turns, so that a change of the machine's speed meets all of them.

    ours      lth_sweep.lottery.training.trainer.Trainer
    barest    tensors in memory, autograd, the fused Adam kernel called directly, masks multiplied after each step
    plain     the same with torch.optim.Adam(fused=True) as people call it
    common    DataLoader over a TensorDataset, torch.nn.utils.prune, torch.optim.Adam
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import prune
from torch.utils.data import DataLoader, TensorDataset

from lth_sweep.lottery.common.duration import Clock, Duration
from lth_sweep.lottery.data import Examples
from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.models.lenet import Lenet
from lth_sweep.lottery.network.state import State
from lth_sweep.lottery.recipe.trial import Train
from lth_sweep.lottery.task import Classification
from lth_sweep.lottery.training.optimizers import Adam
from lth_sweep.lottery.training.trainer import Replica, Trainer

LR, BATCH, DENSITY, EXAMPLES = 0.0012, 60, 0.2, 55_000
GATHERED = 8
"""Batches taken out of the data at once; index_select, 8 at a time, is the fastest of what was tried."""

Contestant = Callable[[int], None]
"""Trains for so many steps, going on from where it is."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="turns of each contestant (default 15)")
    parser.add_argument("--steps", type=int, default=300, help="steps of a turn (default 300)")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall",
                        help="cpu: time of this process alone, for a busy machine")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="two rounds of 5 steps: only to see that it runs")
    arguments = parser.parse_args()
    clock = time.perf_counter if arguments.clock == "wall" else time.process_time
    rounds, steps, examples = arguments.rounds, arguments.steps, EXAMPLES
    if arguments.quick:
        rounds, steps, examples = 2, 5, 600

    torch.set_num_threads(1)
    torch.manual_seed(0)
    x, y = torch.rand(examples, 1, 28, 28), torch.randint(0, 10, (examples,))
    module = Lenet().build(torch.zeros(2, 1, 28, 28), 10)
    masks = {name: torch.rand_like(weight) < DENSITY for name, weight in module.named_parameters() if weight.ndim > 1}
    contestants: dict[str, Contestant] = {
        "ours": ours(module, masks, x, y),
        "barest": barest(masks, x, y),
        "plain": plain(masks, x, y),
        "common": common(masks, x, y),
    }
    for contestant in contestants.values():  # not counted: first calls allocate
        contestant(max(steps // 10, 1))
    speeds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, contestant in contestants.items():
            started = clock()
            contestant(steps)
            speeds[name].append(steps / (clock() - started))

    print(
        f"LeNet-300-100, Adam, batch {BATCH}, one thread, {arguments.clock} time;"
        f" n = {rounds} rounds of {steps} steps each, in turns"
    )
    for name, of in speeds.items():
        print(f"{name:8} {statistics.median(of):7.0f} steps/s  ({min(of):.0f} to {max(of):.0f})")
    for name, goal in (("barest", "goal at least 0.95"), ("plain", ""), ("common", "goal at least 3")):
        ratios = [mine / theirs for mine, theirs in zip(speeds["ours"], speeds[name], strict=True)]
        print(f"ratio ours / {name}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})  {goal}")


def ours(module: nn.Module, masks: dict[str, Tensor], x: Tensor, y: Tensor) -> Contestant:
    """Each turn is a run of its own from the same state, without a point of the curve in between."""
    start = State.of(module)
    data = Examples(x, y)

    def run(steps: int) -> None:
        length = Duration(steps, "steps")
        recipe = Train(length=length, batch=BATCH, optimizer=Adam(lr=LR), evaluate=length)
        # One step longer than what is trained, since a point of the curve ends every run.
        trainer = Trainer(module, recipe, Classification(), Clock(len(y) // BATCH, steps + 1), data,
                          Examples(x[:1], y[:1]), torch.device("cpu"))  # fmt: skip
        trainer.train([Replica(start.masked(Masks(masks)), seed=0)], 0, steps)

    return run


def barest(masks: dict[str, Tensor], x: Tensor, y: Tensor) -> Contestant:
    module = Lenet().build(torch.zeros(2, 1, 28, 28), 10)
    parameters = list(module.parameters())
    weights = [parameter.detach() for parameter in parameters]
    averages, squares = [torch.zeros_like(w) for w in weights], [torch.zeros_like(w) for w in weights]
    counts = [torch.zeros(()) for _ in weights]
    masked = [(module.get_parameter(name).detach(), mask.float()) for name, mask in masks.items()]

    def run(steps: int) -> None:
        for inputs, labels in shuffled(x, y, steps):
            F.cross_entropy(module(inputs), labels).backward()
            torch._foreach_add_(counts, 1)
            torch._fused_adam_(
                weights, [p.grad for p in parameters if p.grad is not None], averages, squares, [], counts, lr=LR,
                beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, amsgrad=False, maximize=False,
            )  # fmt: skip
            for parameter in parameters:
                parameter.grad = None
            for weight, mask in masked:
                weight.mul_(mask)

    return run


def plain(masks: dict[str, Tensor], x: Tensor, y: Tensor) -> Contestant:
    module = Lenet().build(torch.zeros(2, 1, 28, 28), 10)
    optimizer = torch.optim.Adam(module.parameters(), lr=LR, fused=True)
    masked = [(module.get_parameter(name).detach(), mask.float()) for name, mask in masks.items()]

    def run(steps: int) -> None:
        for inputs, labels in shuffled(x, y, steps):
            F.cross_entropy(module(inputs), labels).backward()
            optimizer.step()
            optimizer.zero_grad()
            for weight, mask in masked:
                weight.mul_(mask)

    return run


def shuffled(x: Tensor, y: Tensor, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """`steps` batches, each epoch in an order of its own, the last, smaller batch left out."""
    per_epoch = len(y) // BATCH
    for first in range(0, steps, per_epoch):
        order = torch.randperm(len(y))[: min(per_epoch, steps - first) * BATCH]
        for index in order.split(GATHERED * BATCH):
            gathered = [part.index_select(0, index).split(BATCH) for part in (x, y)]
            yield from zip(*gathered, strict=True)


def common(masks: dict[str, Tensor], x: Tensor, y: Tensor) -> Contestant:
    module = Lenet().build(torch.zeros(2, 1, 28, 28), 10)
    for name, mask in masks.items():
        prune.custom_from_mask(module.get_submodule(name.removesuffix(".weight")), "weight", mask)
    optimizer = torch.optim.Adam(module.parameters(), lr=LR)
    loader = DataLoader(TensorDataset(x, y), batch_size=BATCH, shuffle=True, drop_last=True)
    criterion = nn.CrossEntropyLoss()
    module.train()

    def run(steps: int) -> None:
        done = 0
        while done < steps:
            for inputs, labels in loader:
                optimizer.zero_grad()
                loss = criterion(module(inputs), labels)
                loss.backward()
                optimizer.step()
                done += 1
                if done == steps:
                    break

    return run


if __name__ == "__main__":
    main()
