"""Run a sweep, or go on with it, and say what it found.

With --json: name, ending, trials (by ending), steps_trained, steps_reused, steps_saved, best, the answer (null where no
trial matches), and rescue where there was one, as that command has it.
"""

import argparse
import os
import sys
from pathlib import Path

from lth_sweep.commands.rescue import INTERRUPTED, treat
from lth_sweep.commands.shared import command_line, in_words, material, print_json
from lth_sweep.orchestration.evidence import answer
from lth_sweep.orchestration.progress import Progress
from lth_sweep.orchestration.records import read
from lth_sweep.orchestration.running import SweepResult, run_sweep
from lth_sweep.orchestration.tickets import best_ticket
from lth_sweep.reporting.report import attachments
from lth_sweep.rescue.patient import nothing_found
from lth_sweep.rescue.result import Rescue
from lth_sweep.search.listener import Listener
from lth_sweep.sweepfile.load import load_spec
from lth_sweep.sweepfile.spec import SweepSpec
from lth_sweep.tracking import MlflowListener


def run(options: argparse.Namespace) -> int:
    spec = load_spec(options.spec, options.name)
    mlflow = MlflowListener(attach=attach_report, ticket=best_ticket)
    listeners: list[Listener] = [mlflow] if options.json else [Progress(), mlflow]
    budget = {name: getattr(options, name) for name in ("serial", "ray_address", "trials", "steps", "hours")}
    result = run_sweep(spec, options.runs, listeners=listeners, at_second_signal=_exit, **budget)
    found = answer(spec, result.folder)
    if not options.json:
        print(_words(spec, result), in_words(found, spec, options.runs), sep="\n")
        print(f"look closer: {command_line('ui', spec.name, options.runs)}")
    rescued = _rescue(spec, result, options)
    if options.json:
        value = {
            "name": result.name,
            "ending": result.ending,
            "trials": result.counts,
            "steps_trained": result.steps_trained,
            "steps_reused": result.steps_reused,
            "steps_saved": result.steps_saved,
            "best": found and found.to_json(),
        }
        print_json(value | ({"rescue": rescued.to_json()} if rescued else {}))
    if result.ending == "interrupted":
        print(INTERRUPTED, file=sys.stderr)
        return 1
    return 1 if result.counts and set(result.counts) == {"failed"} else 0


def _words(spec: SweepSpec, result: SweepResult) -> str:
    counted = ", ".join(f"{count} {ending}" for ending, count in sorted(result.counts.items()))
    lines = [
        f"\n{spec.name}: {result.ending}; trials: {counted}",
        f"steps trained: {result.steps_trained:,}; steps reused: {result.steps_reused:,}; "
        f"spared by stopping early: about {result.steps_saved:,}\n",
    ]
    spent = {"hours": "the hours are over;", "steps": "the budget of steps is spent; with a larger one,"}
    if result.spent:
        lines.append(f"{spent[result.spent]} the same command goes on from here\n")
    return "\n".join(lines)


def _rescue(spec: SweepSpec, result: SweepResult, options: argparse.Namespace) -> Rescue | None:
    """Where the sweep file asks for it, and the sweep has ended and found nothing at that density."""
    asked = spec.rescue
    if asked is None or result.ending != "finished" or result.spent:
        return None
    if not nothing_found(spec, read(result.folder), asked.density):
        return None
    if not options.json:
        print(f"\nNo trial matches at {asked.density:.2%} of the weights: looking for what helps.")
    return treat(spec, options, density=asked.density, everything=asked.all, steps=asked.steps, hours=asked.hours)


def attach_report(spec: SweepSpec, folder: Path) -> dict[str, str]:
    return attachments(material(spec, folder.parent))


def _exit() -> None:
    """At once: without waiting for MLflow, Ray or the database."""
    print("stopped at once; the same command goes on from here", file=sys.stderr, flush=True)
    os._exit(130)
