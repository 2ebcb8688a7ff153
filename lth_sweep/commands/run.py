"""Run a sweep, or go on with it, and say what it found.

With --json: name, ending, trials (by ending), steps_trained, steps_reused, steps_saved, and best, the answer (null
where no trial matches).
"""

import argparse
import sys
from pathlib import Path

from lth_sweep.commands.shared import command_line, material, print_answer, print_json
from lth_sweep.orchestration.evidence import answer
from lth_sweep.orchestration.export import best_ticket
from lth_sweep.orchestration.progress import Progress
from lth_sweep.orchestration.sweep import run_sweep
from lth_sweep.reporting.attachments import attachments
from lth_sweep.search.events import Listener
from lth_sweep.spec.load import load_spec
from lth_sweep.spec.sweep import SweepSpec
from lth_sweep.tracking import MlflowListener


def run(options: argparse.Namespace) -> int:
    spec = load_spec(options.spec, options.name)
    mlflow = MlflowListener(attach=attach_report, ticket=best_ticket)
    listeners: list[Listener] = [mlflow] if options.json else [Progress(), mlflow]
    result = run_sweep(
        spec,
        options.runs,
        serial=options.serial,
        ray_address=options.ray_address,
        trials=options.trials,
        steps=options.steps,
        hours=options.hours,
        listeners=listeners,
    )
    found = answer(spec, result.folder)
    if options.json:
        counts = {
            "trials": result.counts,
            "steps_trained": result.steps_trained,
            "steps_reused": result.steps_reused,
            "steps_saved": result.steps_saved,
        }
        print_json({"name": result.name, "ending": result.ending, **counts, "best": found and found.to_json()})
    else:
        counted = ", ".join(f"{count} {ending}" for ending, count in sorted(result.counts.items()))
        print(f"\n{spec.name}: {result.ending}; trials: {counted}")
        print(
            f"steps trained: {result.steps_trained:,}; steps reused: {result.steps_reused:,}; "
            f"spared by stopping early: about {result.steps_saved:,}\n"
        )
        if result.spent:
            print(f"the budget of {result.spent} is spent; with a larger one, the same command goes on from here\n")
        print_answer(found, spec, options.runs)
        print(f"look closer: {command_line('ui', spec.name, options.runs)}")
    if result.ending == "interrupted":
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 1
    return 1 if result.counts and set(result.counts) == {"failed"} else 0


def attach_report(spec: SweepSpec, folder: Path) -> dict[str, str]:
    return attachments(material(spec, folder.parent))
