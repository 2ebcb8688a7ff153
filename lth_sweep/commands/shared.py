"""What several commands need: a sweep that was run, what is known about it, and how results are printed."""

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from lth_sweep.lottery.common.errors import ConfigError, unknown
from lth_sweep.lottery.common.identity import plain
from lth_sweep.orchestration.evidence import answer
from lth_sweep.orchestration.extension import as_run, check_file
from lth_sweep.orchestration.records import damaged, read
from lth_sweep.remote import mirror
from lth_sweep.remote.run_folder import RunFolder
from lth_sweep.reporting.answer import describe
from lth_sweep.reporting.material import Material
from lth_sweep.search.answer import Answer
from lth_sweep.sweepfile.load import load_spec
from lth_sweep.sweepfile.spec import SweepSpec


def existing(runs: Path, name: str) -> SweepSpec:
    """The sweep file of a sweep that has been run, with the budgets that it was last run with."""
    folder = RunFolder(runs / name)
    folder.fetch()
    if not folder.exists:
        raise ConfigError(unknown(f"sweep in {mirror.shown(runs)}", name, mirror.sweeps(runs)))
    check_file(folder.path)
    for one in damaged(folder.path):
        print(f"lth-sweep: {folder.records / one} is damaged, and what is behind the damage is left out; "
              "`lth-sweep run` with the sweep's file puts it right", file=sys.stderr)  # fmt: skip
    spec = load_spec(folder.file, checked=True)
    if spec.name != name:
        whose = f"{folder.file} is of a sweep named {spec.name!r}"
        raise ConfigError(f"{whose}: a folder in {runs} has the name of its sweep", "name")
    return as_run(spec, folder.path)


def material(spec: SweepSpec, runs: Path) -> Material:
    """What the report and the figures of a sweep are made from."""
    folder = RunFolder(runs / spec.name)
    commands = {
        "run it again, or go on with it": command_line("run", shlex.quote(str(folder.file)), runs),
        "the answer": command_line("best", spec.name, runs),
        "the ticket as a smaller network": command_line("export", spec.name, runs),
        "look closer in MLflow": command_line("ui", spec.name, runs),
    }
    trials = read(folder.path)
    return Material(spec, trials, answer(spec, folder.path, trials), commands)


def in_words(found: Answer | None, spec: SweepSpec, runs: Path) -> str:
    return describe(found, spec, command_line("export", spec.name, runs))


def command_line(name: str, sweep: str, runs: Path) -> str:
    where = [] if runs == Path("runs") else ["--runs", shlex.quote(mirror.shown(runs))]
    return " ".join(["lth-sweep", name, sweep, *where])


def show(options: argparse.Namespace, value: Any, words: str) -> None:
    """A result: as JSON where that is wanted, else in words."""
    if options.json:
        print_json(value)
    else:
        print(words)


def print_json(value: Any) -> None:
    """As strict JSON: NaN is null."""
    print(json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False))
