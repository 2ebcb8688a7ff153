"""Find out what ails a poor ticket, and try what should help.

With --json: the keys of rescue.json, which docs/rescue.md lists.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from lth_sweep.commands.shared import command_line, existing, print_json
from lth_sweep.orchestration.progress import Progress
from lth_sweep.remote.run_folder import RunFolder
from lth_sweep.rescue.result import Rescue
from lth_sweep.rescue.run import rescue
from lth_sweep.rescue.text import conclusion, describe
from lth_sweep.search.listener import Listener
from lth_sweep.sweepfile.load import load_spec
from lth_sweep.sweepfile.spec import SweepSpec
from lth_sweep.tracking import MlflowListener, note_on_sweep

INTERRUPTED = "interrupted; the same command goes on from here"


def run(options: argparse.Namespace) -> int:
    how = {"everything": options.all} | {
        name: getattr(options, name) for name in ("trial", "density", "steps", "hours")
    }
    try:
        done = treat(_spec(options.sweep, options.runs), options, **how)
    except KeyboardInterrupt:  # while it looked at the patient
        print(INTERRUPTED, file=sys.stderr)
        return 1
    if options.json:
        print_json(done.to_json())
    return 1 if done.ending == "interrupted" else 0


def treat(spec: SweepSpec, options: argparse.Namespace, **how: Any) -> Rescue:
    """Rescue with a progress view, and tell MLflow; what was found is printed, unless it is to be JSON."""

    def listeners() -> list[Listener]:
        return [MlflowListener()] if options.json else [Progress(), MlflowListener()]

    serial, address = options.serial, options.ray_address
    done = rescue(spec, options.runs, listeners=listeners, serial=serial, ray_address=address, **how)
    if not done.matches:
        _note(done)
    if not options.json:
        print(f"\n{describe(done)}\nthe answer with figures: {RunFolder(done.folder).rescue_page}")
        if not done.matches:
            print(f"look closer: {command_line('ui', done.patient.name, options.runs)}")
    if done.ending == "interrupted":
        print(INTERRUPTED, file=sys.stderr)
    return done


def _note(done: Rescue) -> None:
    """The answer, on the run of the rescue's sweep."""
    strongest, best = done.findings[0], done.best
    tags = {
        "rescue.of": f"{done.patient.spec.name}, {done.patient.which}, level {done.patient.level}",
        "rescue.finding": strongest.cause,
        "rescue.best": best.remedy.name if best else "none",
        "rescue.verdict": best.word if best else "",
        "mlflow.note.content": conclusion(done),
    }
    metrics = {f"finding/{finding.cause.replace(' ', '_')}": finding.score for finding in done.findings}
    if best and best.effect:
        metrics |= {"rescue/to_patient": best.effect.to_patient.mean, "rescue/to_dense": best.effect.to_dense.mean}
    folder = RunFolder(done.folder)
    paths = [folder.rescue, folder.rescue_page, *([folder.rescue_recipe] if best else [])]
    files = {path.name: path.read_text() for path in paths}
    note_on_sweep(load_spec(folder.file), done.folder, done.ending, tags=tags, metrics=metrics, files=files)


def _spec(sweep: str, runs: Path) -> SweepSpec:
    """A sweep that was run, by its name; else a sweep file."""
    is_file = Path(sweep).is_file() or Path(sweep).suffix in (".yaml", ".yml")
    return load_spec(sweep) if is_file and not RunFolder(runs / sweep).exists else existing(runs, sweep)
