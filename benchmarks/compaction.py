"""What is gained when units are really removed, and what pruning itself costs; one thread.

    training   steps per second of a level of conv-4 at 25% of its units, against the dense network; 28x28 inputs
    latency    of the exported ticket (.safetensors) of that level, against the dense network; batches of 1 and 64
    pruning    25 million weights scored by magnitude and pruned globally: seconds, and memory beyond that of the
               weights and masks which are there already

Both networks take turns, so that a change of the machine's speed meets both.
"""

import argparse
import copy
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from lth_sweep.lottery.common.duration import Clock, Duration
from lth_sweep.lottery.data import DATA, Data, Examples, Splits, load
from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.models import Conv4, Mlp
from lth_sweep.lottery.network.sizes import latency, sizes
from lth_sweep.lottery.network.state import State
from lth_sweep.lottery.network.structure import Network
from lth_sweep.lottery.pruning.criteria import Magnitude
from lth_sweep.lottery.pruning.granularity import Unit, Weight
from lth_sweep.lottery.pruning.prune import prune
from lth_sweep.lottery.pruning.selection import pools_of_rate, remove
from lth_sweep.lottery.pruning.view import View
from lth_sweep.lottery.recipe.trial import Train, TrialConfig
from lth_sweep.lottery.task import Classification
from lth_sweep.lottery.ticket.export import export
from lth_sweep.lottery.ticket.loading import load_ticket
from lth_sweep.lottery.ticket.ticket import Ticket
from lth_sweep.lottery.training.trainer import Replica, Trainer

SHAPE = (1, 28, 28)


@dataclass(frozen=True)
class MadeUp(Data):
    """Random images, so that nothing needs to be downloaded."""

    def load(self) -> Splits:
        generator = torch.Generator().manual_seed(0)
        x, y = torch.rand(2000, *SHAPE, generator=generator), torch.arange(2000) % 10
        return Splits(Examples(x[:1500], y[:1500]), Examples(x[1500:], y[1500:]), lambda: Examples(x[:0], y[:0]))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="turns of each (default 7)")
    parser.add_argument("--steps", type=int, default=40, help="training steps of a turn (default 40)")
    parser.add_argument("--quick", action="store_true", help="a narrow network, 1 turn of 2 steps, 250,000 weights")
    arguments = parser.parse_args()
    quick = arguments.quick
    rounds, steps = (1, 2) if quick else (arguments.rounds, arguments.steps)

    torch.set_num_threads(1)
    torch.manual_seed(0)
    DATA["made-up"] = MadeUp
    model = Conv4(width=0.1 if quick else 1.0)
    trial = TrialConfig(data=MadeUp(), model=model)
    network = Network(model.build(torch.zeros(2, *SHAPE), 10), load(MadeUp()).example)
    state = State.of(network.module)
    full = Masks.full({name: network.shapes[name] for name in network.weights.values()})
    scores = {layer: weight.abs() for layer, name in network.weights.items() for weight in [state.model[name]]}
    pools = pools_of_rate(0.75, full, network, Unit(), "layer", {})
    masks = remove(lambda _: scores, full, network, Unit(), pools)
    kept = sizes(network, masks)["params"] / sizes(network, full)["params"]
    print(f"conv-4, 28x28, 25% of the units: {kept:.1%} of the parameters")
    training(trial, network, state, masks, rounds, steps)
    latencies(Ticket(trial, 1, 0, state.masked(masks)), rounds)
    pruning(50 if quick else 4620, rounds)


def training(trial: TrialConfig, network: Network, state: State, masks: Masks, rounds: int, steps: int) -> None:
    splits = load(trial.data)
    recipe = Train(length=Duration(10_000, "steps"), evaluate=Duration(10_000, "steps"))
    trainer = Trainer(network.module, recipe, trial.task, Clock(25, 10_000), splits.train, splits.validation,
                      torch.device("cpu"))  # fmt: skip
    contestants = {"dense": Replica(state, 0), "25%": Replica(state.masked(masks), 0)}
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds + 1):
        for name, replica in contestants.items():
            started = time.perf_counter()
            trainer.train([replica], 0, steps)
            if turn:  # the first is a warm-up
                rates[name].append(steps / (time.perf_counter() - started))
    _compare("training, steps per second", rates["25%"], rates["dense"], 3)


def latencies(ticket: Ticket, rounds: int) -> None:
    dense = copy.deepcopy(ticket.module)
    with tempfile.TemporaryDirectory() as folder:
        export(ticket, Path(folder), ["safetensors"])
        compact = load_ticket(folder)
    for batch in (1, 64):
        example = ticket.splits.example
        turns = [(latency(dense, example, batch), latency(compact, example, batch)) for _ in range(rounds)]
        speeds = [[1000 / turn[side] for turn in turns] for side in (0, 1)]
        _compare(f"latency at batch {batch}, passes per second", speeds[1], speeds[0], 3)


def pruning(width: int, rounds: int) -> None:
    module = Mlp((width, width)).build(torch.zeros(2, *SHAPE), 10)
    network = Network(module, load(MadeUp()).example)
    state, full = State.of(module), Masks.full({name: network.shapes[name] for name in network.weights.values()})
    weights = sum(mask.numel() for mask in full.tensors.values())
    masks, seconds, memory = full, [], []
    for _ in range(rounds):
        before, started = _reset_peak(), time.perf_counter()
        view = View(network, state, masks, 0, lambda: state, Classification(), load(MadeUp()).train,
                    torch.device("cpu"), tuple(network.layers))  # fmt: skip
        masks = prune(view, pools_of_rate(0.2, masks, network, Weight(), "global", {}), Magnitude(), Weight())
        seconds.append(time.perf_counter() - started)
        memory.append((_memory("VmHWM") - before) / (4 * weights))
        del view
    print(
        f"pruning {weights / 1e6:.1f} million weights globally, n = {rounds} levels of 20%: "
        f"{statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f}), goal under 2; "
        f"peak {statistics.median(memory):.2f} times the weights' memory (at most {max(memory):.2f}), goal under 3"
    )


def _reset_peak() -> float:
    """Bytes in use now, from where on the peak is counted (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def _memory(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * float(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


def _compare(what: str, small: list[float], dense: list[float], goal: float) -> None:
    ratios = [mine / other for mine, other in zip(small, dense, strict=True)]
    print(
        f"{what}, n = {len(ratios)} turns: dense {statistics.median(dense):.1f}, 25% {statistics.median(small):.1f}; "
        f"ratio {statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f}), goal at least {goal:g}"
    )


if __name__ == "__main__":
    main()
