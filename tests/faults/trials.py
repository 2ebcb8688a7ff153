"""Trials that go wrong, each in its way at level 2. Which way is told by the batch size."""

import ctypes
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lth_sweep.lottery.recipe.trial import Runtime, TrialConfig, trial_digest
from lth_sweep.lottery.records import Level
from lth_sweep.lottery.runs.stages import Store
from tests.orchestration.simulated import count, record

HANGS, HANGS_ONCE, EATS_MEMORY, IS_KILLED, NAN = 71, 72, 73, 74, 75


def hangs(pid: Path) -> None:
    """In C, and with the interpreter's lock held, once it has said in which process."""
    pid.write_text(str(os.getpid()))
    ctypes.PyDLL(None).sleep(600)


def run(trial: TrialConfig, store: Store, runtime: Runtime) -> Iterator[Level]:
    kind, nan = trial.train.batch, False
    for level in range(trial.levels + 1):
        if level == 2:
            attempt = count(store, f"attempts-{trial_digest(trial)}")
            if kind == HANGS or (kind == HANGS_ONCE and attempt == 1):
                ctypes.PyDLL(None).sleep(600)  # in C, and with the interpreter's lock held
            elif kind == EATS_MEMORY:
                before = resource.getrlimit(resource.RLIMIT_AS)
                resource.setrlimit(resource.RLIMIT_AS, (2**36, before[1]))  # so that the machine survives
                try:
                    np.ones(2**36)
                finally:
                    resource.setrlimit(resource.RLIMIT_AS, before)
            elif kind == IS_KILLED:  # as the kernel does with who takes too much
                os.kill(os.getpid(), signal.SIGKILL)
            nan = kind == NAN
        yield Level(record(trial, level, seed, nan) for seed in trial.seed_list)
        if nan:
            return
