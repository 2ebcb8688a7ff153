"""Find out what ails a poor ticket, and try what should help."""

import argparse
import sys
from pathlib import Path

from lth_sweep.commands.shared import command_line, existing, print_json
from lth_sweep.orchestration.progress import Progress
from lth_sweep.rescue.run import rescue
from lth_sweep.rescue.text import describe
from lth_sweep.search.events import Listener
from lth_sweep.spec.load import load_spec
from lth_sweep.spec.sweep import SweepSpec
from lth_sweep.tracking import MlflowListener


def run(options: argparse.Namespace) -> int:
    spec = _spec(options.sweep, options.runs)
    done = rescue(
        spec,
        options.runs,
        trial=options.trial,
        density=options.density,
        everything=options.all,
        steps=options.steps,
        hours=options.hours,
        serial=options.serial,
        ray_address=options.ray_address,
        listeners=lambda: listeners(options.json),
    )
    if options.json:
        print_json(done.to_json())
    else:
        print(f"\n{describe(done)}")
        if not done.matches:
            print(f"look closer: {command_line('ui', done.patient.name, options.runs)}")
    if done.ending == "interrupted":
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 1
    return 0


def listeners(quiet: bool) -> list[Listener]:
    return [MlflowListener()] if quiet else [Progress(), MlflowListener()]


def _spec(sweep: str, runs: Path) -> SweepSpec:
    """A sweep that was run, by its name; else a sweep file."""
    is_file = Path(sweep).is_file() or Path(sweep).suffix in (".yaml", ".yml")
    return load_spec(sweep) if is_file and not (runs / sweep / "sweep.yaml").is_file() else existing(runs, sweep)
