"""With remedies that do nothing, how often does a rescue say "helped"? Promised: in at most 5%.

    python benchmarks/rescue_null.py               2,000 simulated rescues for each number of seeds: some minutes
    python benchmarks/rescue_null.py --trained     the accuracies are those of one real recipe on 60 seeds

Each "remedy" is the patient itself on other seeds. A patient is one because it did not match on its seeds, by bad luck
as often as not, so that what is tried next on them looks better than it is. The words are the package's own.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from lth_sweep.lottery.loop import run
from lth_sweep.lottery.recipe.trial import Runtime, TrialConfig
from lth_sweep.lottery.records import Level, LevelRecord
from lth_sweep.lottery.runs.stages import Store
from lth_sweep.rescue.effects import effect
from lth_sweep.sweepfile.decode import decode
from lth_sweep.sweepfile.spec import Objective

EXAMPLES = 300
REMEDIES, FRESH = 12, 5
"""Remedies in the first look, and, combinations among them, on fresh seeds."""

LOST = 0.01
"""True difference between dense and ticket: the margin, so that half of the patients are sick by chance."""


def rescues(
    count: int,
    seeds: int,
    draw: np.random.Generator,
    pool: np.ndarray | None = None,
    fresh: bool = True,
    shared: bool = True,
) -> list[bool]:
    """Whether "helped" is said, of each. `pool`: accuracies to take from, else normal ones with a sd of 1 point, seen
    through EXAMPLES examples. With `fresh` false as if the first look could confirm; with `shared` false as if each
    remedy had the whole error."""  # fmt: skip

    def accuracies() -> np.ndarray:
        if pool is not None:
            return draw.choice(pool, seeds)
        return draw.binomial(EXAMPLES, np.clip(draw.normal(0.92, 0.01, seeds), 0, 1)) / EXAMPLES

    dense = (0.92 if pool is None else float(pool.mean())) + LOST
    return [_one(accuracies, dense, fresh, shared) for _ in range(count)]


def _one(accuracies: Callable[[], np.ndarray], dense: float, fresh: bool, shared: bool) -> bool:
    while (sick := accuracies()).mean() >= dense - Objective().match.amount:
        pass
    patient = accuracies() if fresh else sick
    tried = FRESH if fresh else REMEDIES
    return any(_helped(accuracies(), patient, dense, tried if shared else 1) for _ in range(tried))


def _helped(ticket: np.ndarray, patient: np.ndarray, dense: float, remedies: int) -> bool:
    own = _level(np.full(len(ticket), dense))
    found = effect(_level(ticket), own, _level(patient), own, Objective(), EXAMPLES, remedies=remedies, fresh=True)
    return found.word == "helped"


def _level(accuracies: Sequence[float] | np.ndarray) -> Level:
    return Level(
        LevelRecord("", 1, seed, 0.1, {}, {}, {"accuracy": float(accuracy), "loss": 0.1}, (), f"{seed}/1", 0, 0)
        for seed, accuracy in enumerate(accuracies)
    )


def trained(seeds: int = 60) -> np.ndarray:
    """Accuracies of a ticket of one recipe on so many seeds."""
    trial = decode(TrialConfig, {
        "model": {"kind": "mlp", "hidden": [100, 50]}, "rate": 0.5, "levels": 4, "seeds": seeds,
        "train": {"length": "200 steps", "optimizer": {"kind": "adam", "lr": 0.003}},
    })  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        *_, last = run(trial, Store(Path(folder)), Runtime())
    return np.array([record.metrics["accuracy"] for record in last])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rescues", type=int, default=2000)
    parser.add_argument("--trained", action="store_true")
    options = parser.parse_args()
    pool = trained() if options.trained else None
    if pool is not None:
        print(f"{len(pool)} real tickets: accuracy {pool.mean():.4f}, sd {pool.std(ddof=1):.4f}", flush=True)
    for seeds in (2, 3, 5, 10):
        claimed = rescues(options.rescues, seeds, np.random.default_rng(seeds), pool)
        print(f'{seeds} seeds: "helped" in {sum(claimed) / len(claimed):.2%} of {len(claimed):,} rescues', flush=True)


if __name__ == "__main__":
    main()
