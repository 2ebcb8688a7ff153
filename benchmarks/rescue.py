"""Five recipes made sick on purpose, each with a known cause, and a healthy one: does `lth-sweep rescue` see it?

    python benchmarks/rescue.py                          all, 3 times 5 seeds each: about half an hour on two cores
    python benchmarks/rescue.py --patients cut-off ...   some of them
    python benchmarks/rescue.py --seeds 3 --times 1      fewer

Of each: where the known cause stands among the findings, and what the remedies that address it make of the ticket.
"""

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lth_sweep.rescue.result import Rescue, Row
from lth_sweep.rescue.run import rescue
from lth_sweep.sweepfile.load import load_spec

DIGITS: dict[str, Any] = {
    "data": "digits",
    "model": {"kind": "mlp", "hidden": [100, 50]},
    "train": {"length": "300 steps", "optimizer": {"kind": "adam", "lr": 0.003}},
    "rate": 0.5,
}


@dataclass(frozen=True)
class Sick:
    """A recipe, and what is wrong with it."""

    trial: dict[str, Any]
    density: float
    cause: str
    """The finding that names it; empty for a healthy one."""


PATIENTS = {
    "high-rate": Sick(  # with BatchNorm dense training copes with this rate, rewinding to 0 does not
        {
            "data": "digits",
            "model": {"kind": "resnet-20", "depth": 8, "width": 0.5},
            "train": {
                "length": "200 steps",
                "optimizer": {"kind": "sgd", "lr": 1.0, "momentum": 0.9},
                "schedule": "step",
            },
            "scope": "global",
            "layer_rates": {},
            "rate": 0.63,
            "levels": 3,
        },
        0.05,
        "unstable",
    ),
    "harsh": Sick(  # at 85% at once, 1.17 times that leaves the last layer 2 or 3 of its 500 weights
        {**DIGITS, "rate": 0.85, "levels": 1, "layer_rates": {"output": 1.17}},
        0.14,
        "cut off",
    ),
    "emptied": Sick(  # the last layer reads 256 units: by this initialisation its weights are small, and go first
        {
            **DIGITS,
            "model": {"kind": "mlp", "hidden": [16, 256]},
            "init": "kaiming-normal",
            "train": {"length": "300 steps", "optimizer": {"kind": "sgd", "lr": 0.05, "momentum": 0.9}},
            "scope": "global",
            "layer_rates": {},
            "rate": 0.86,
            "levels": 1,
        },
        0.14,
        "cut off",
    ),
    "re-initialised": Sick(
        {**DIGITS, "rewind": "reinit", "levels": 3},
        0.13,
        "no better than controls",
    ),
    "stopped-early": Sick(
        {**DIGITS, "train": {**DIGITS["train"], "length": "60 steps"}, "levels": 3},
        0.13,
        "under-trained",
    ),
    "healthy": Sick({**DIGITS, "levels": 3}, 0.13, ""),
}


def treat(name: str, runs: Path, first: int = 0, seeds: int = 5, everything: bool = False) -> Rescue:
    """Rescue a patient on the seeds `first`, `first` + 1, ..."""
    sick = PATIENTS[name]
    trial = {**sick.trial, "seeds": list(range(first, first + seeds))}
    text = {"name": f"{name}-{first}", "trial": trial, "space": {"rate": {"choice": [sick.trial["rate"]]}}}
    file = runs / f"{name}-{first}.yaml"
    runs.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(text))
    return rescue(load_spec(file), runs, density=sick.density, serial=True, everything=everything)


def place(name: str, done: Rescue) -> int | None:
    """Of the known cause among the findings, from 1; None where it is not there."""
    causes = [finding.cause for finding in done.findings]
    return causes.index(PATIENTS[name].cause) + 1 if PATIENTS[name].cause in causes else None  # type: ignore[arg-type]


def best_cure(name: str, done: Rescue) -> Row | None:
    """The remedy that addresses the cause and came nearest to dense, on the patient's seeds."""
    cures = [row for row in done.rows if row.first and PATIENTS[name].cause in row.remedy.causes]
    return max(cures, key=_to_dense, default=None)


def nearest(done: Rescue) -> Row | None:
    """The remedy that came nearest to dense."""
    return max((row for row in done.rows if row.first), key=_to_dense, default=None)


def _to_dense(row: Row) -> float:
    assert row.first
    return row.first.to_dense.mean


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--patients", nargs="+", choices=PATIENTS, default=list(PATIENTS))
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--all", action="store_true", help="every remedy, also after one that matches")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in options.patients:
            for time in range(options.times):
                done = treat(name, Path(folder), 100 * time, options.seeds, options.all)
                print(_line(name, done), flush=True)


def _line(name: str, done: Rescue) -> str:
    seen = done.seen
    words = f"{name}, seeds {seen.dense.seeds[0]} to {seen.dense.seeds[-1]}: {seen.difference.number}"
    if done.matches:
        return f"{words}, matches: nothing is wrong"
    causes = ", ".join(f"{finding.cause} {finding.score:.2f}" for finding in done.findings)
    cure, closest = best_cure(name, done), nearest(done)
    cured = f"{cure.remedy.name} {cure.word}{', matches' * cure.matches} {_to_dense(cure):+.2%}" if cure else "none"
    return (
        f"{words}\n    cause in place {place(name, done)}: {causes}\n    cure: {cured}; "
        f"nearest to dense: {closest.remedy.name if closest else 'none'}; "
        f"{sum(row.tried for row in done.rows)} tried, {done.steps_trained:,} steps"
    )


if __name__ == "__main__":
    main()
