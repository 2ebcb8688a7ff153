"""A trial that takes SLEEP_SECONDS and no processor: two levels, made up. Run by benchmarks/scale.py."""

import os
import time
from collections.abc import Iterator

from no_work import run as made_up

from lth_sweep.lottery.recipe.trial import Runtime, TrialConfig
from lth_sweep.lottery.records import Level
from lth_sweep.lottery.runs.stages import Store


def run(trial: TrialConfig, store: Store, runtime: Runtime) -> Iterator[Level]:
    for number, level in enumerate(made_up(trial, store, runtime)):
        if number > trial.levels:
            return
        time.sleep(float(os.environ["SLEEP_SECONDS"]) / (1 + trial.levels))
        yield level
