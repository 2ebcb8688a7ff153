"""Instability analysis in words: what `lth-sweep stability` prints."""

import math
from collections.abc import Sequence
from statistics import fmean

from lth_sweep.lottery.experiments.stability import stable_from
from lth_sweep.lottery.probes.twins import StabilityRecord


def describe_stability(records: Sequence[StabilityRecord], limit: float = 0.02) -> str:
    """The barrier between twins that part at each step, as means over the seeds, and the first stable step."""
    lines = ["twins part at  barrier, train  barrier, validation"]
    for step in sorted({record.step for record in records}):
        some = [record.barriers for record in records if record.step == step]
        train, validation = (fmean(barriers[split] for barriers in some) for split in ("train", "validation"))
        lines.append(f"{f'step {step}':<13}  {_percent(train):>14}  {_percent(validation):>19}")
    found = stable_from(records, limit)
    seeds = len({record.seed for record in records})
    mean = f"mean of {seeds} seed{'s' * (seeds > 1)}"
    last = max(record.step for record in records)
    if found is None:
        verdict = f"Not stable at any of these steps: at step {last} the barrier is not below {limit:.0%}"
    else:
        verdict = f"Stable to the noise of training from step {found} on: the barrier stays below {limit:.0%}"
    density = fmean(record.density for record in records)
    what = "dense networks" if density == 1 else f"tickets with {density:.2%} of the weights"
    return "\n".join(lines) + f"\n\n{verdict} ({what}, error on validation, {mean})."


def _percent(barrier: float) -> str:
    return "diverged" if math.isnan(barrier) else f"{barrier:+.2%}"
