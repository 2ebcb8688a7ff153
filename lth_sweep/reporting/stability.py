"""Instability analysis: in words, as `lth-sweep stability` prints it, and read back from what it has printed."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.experiments.stability import stable_from
from lth_sweep.lottery.probes.twins import StabilityRecord
from lth_sweep.reporting.material import over


def describe_stability(records: Sequence[StabilityRecord], limit: float = 0.02) -> str:
    """The barrier between twins that part at each step, as means over the seeds, and the first stable step."""
    lines = ["twins part at  barrier, train  barrier, validation"]
    for step in sorted({record.step for record in records}):
        some = [record.barriers for record in records if record.step == step]
        train, validation = (fmean(barriers[split] for barriers in some) for split in ("train", "validation"))
        lines.append(f"{f'step {step}':<13}  {_percent(train):>14}  {_percent(validation):>19}")
    found = stable_from(records, limit)
    last = max(record.step for record in records)
    if found is None:
        verdict = f"Not stable at any of these steps: at step {last} the barrier is not below {limit:.0%}"
    else:
        verdict = f"Stable to the noise of training from step {found} on: the barrier stays below {limit:.0%}"
    mean = f"mean of {over(len({record.seed for record in records}))}"
    return "\n".join(lines) + f"\n\n{verdict} ({networks(records)}, error on validation, {mean})."


def networks(records: Sequence[StabilityRecord]) -> str:
    """Of which networks the twins are."""
    density = fmean(record.density for record in records)
    return "dense networks" if density == 1 else f"tickets with {density:.2%} of the weights"


def stability_records(source: Path | None) -> list[StabilityRecord]:
    """What `lth-sweep stability --json` has printed. Raises ConfigError where it is something else."""
    how = "make one by: lth-sweep stability SPEC --at '0 steps, 100 steps' --json > FILE"
    if source is None:
        raise ConfigError(f"the figure of stability is drawn from a file of its records; {how}", "--from")
    try:
        return [StabilityRecord.from_json(fields) for fields in json.loads(source.read_text())["records"]]
    except OSError as error:
        raise ConfigError(f"{source} cannot be read: {error.strerror}; {how}", "--from") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{source} does not have stability records; {how}", "--from") from error


def _percent(barrier: float) -> str:
    return "diverged" if math.isnan(barrier) else f"{barrier:+.2%}"
