"""Say what a sweep will cost; nothing is run.

With --json: the plan.
"""

import argparse
import os
from dataclasses import replace

from lth_sweep.commands.shared import show
from lth_sweep.orchestration.fates import told
from lth_sweep.orchestration.plan import plan
from lth_sweep.reporting.material import duration
from lth_sweep.sweepfile.load import load_spec


def run(options: argparse.Namespace) -> None:
    spec = load_spec(options.spec)
    if options.trials:
        spec = replace(spec, search=replace(spec.search, trials=options.trials))
    found = plan(spec, len(os.sched_getaffinity(0)))
    shared = 1 - found.steps / found.steps_alone
    speed = f"{found.slots} at a time, {found.steps_per_second:,.0f} steps/s each"
    words = [
        f"{spec.name}: {found.trials} trials, {found.stages:,} training runs, at most (no trial stopped early):",
        f"  steps   {found.steps:,}  ({found.steps_alone:,} without sharing; {shared:.0%} shared)",
        f"  verify  {found.verification_steps:,}  (steps; {spec.verify.top} tickets on {spec.verify.seeds} seeds)",
        f"  time    {duration(found.seconds)}  ({speed})",
        f"  disk    {found.disk_bytes / 1e6:,.0f} MB",
        *told(found.fates),
        *(f"  note    {warning}" for warning in found.warnings),
    ]
    show(options, found.to_json(), "\n".join(words))
