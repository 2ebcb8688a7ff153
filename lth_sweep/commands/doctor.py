"""Check whether everything is there that a sweep needs, and put right what a killed one has left.

With --json: ok, and checks: about, ok and text of each.
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

from lth_sweep.commands.shared import existing, print_json
from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.orchestration import extension, preflight
from lth_sweep.orchestration.housekeeping import repair
from lth_sweep.orchestration.preflight import Check
from lth_sweep.orchestration.records import read
from lth_sweep.remote.run_folder import RunFolder
from lth_sweep.search.study import server_of
from lth_sweep.sweepfile.load import imports_from, load_spec
from lth_sweep.sweepfile.spec import SweepSpec
from lth_sweep.tracking.runs import Runs
from lth_sweep.tracking.store import locate, reach


def run(options: argparse.Namespace) -> int:
    checks = []
    for check in _checks(options):
        checks.append(check)
        if not options.json:
            print(check, flush=True)
    fine = all(check.ok for check in checks)
    if options.json:
        print_json({"ok": fine, "checks": [check.to_json() for check in checks]})
    return 0 if fine else 1


def _checks(options: argparse.Namespace) -> Iterator[Check]:
    runs: Path = options.runs
    target = options.target
    spec = None
    if target and Path(target).is_file():
        try:
            spec = load_spec(target)
        except ConfigError as error:
            yield Check("sweep file", False, str(error))
        else:
            RunFolder(runs / spec.name).fetch()
            yield _file(spec, runs)
    elif target:
        spec = existing(runs, target)
    try:
        yield from preflight.compare(_nodes(options, spec), spec.resources if spec else None)
        yield preflight.database(runs, server_of(spec) if spec else None)
    except ConfigError as error:
        yield Check(error.path or "storage", False, error.message)
    yield Check("mlflow", *reach(locate(runs, spec.tracking.uri if spec else None)))
    if spec:
        yield preflight.disk(spec, runs, max(0, spec.search.trials - len(read(runs / spec.name))))
    if spec and not Path(target).is_file():
        yield _put_right(spec, runs / target)


def _nodes(options: argparse.Namespace, spec: SweepSpec | None) -> list[preflight.Node]:
    data = preflight.data_of(spec) if spec else []
    address = options.ray_address or os.environ.get("RAY_ADDRESS")
    with imports_from(spec.import_folder if spec else None):
        if not address:
            return preflight.here(options.runs, data)
        from lth_sweep.orchestration.on_ray import cluster

        with cluster(address):
            return preflight.on_cluster(options.runs, data, spec.import_folder if spec else None)


def _file(spec: SweepSpec, runs: Path) -> Check:
    """Whether the file can be run as it is."""
    done = len(read(runs / spec.name))
    if not done:
        return Check("sweep file", True, f"{spec.name}, {spec.search.trials} trials")
    try:
        changes = extension.check(runs / spec.name, spec)
    except ConfigError as error:
        return Check("sweep file", False, error.message)
    changed = f"; changed: {'; '.join(map(str, changes))}" if changes else ""
    return Check("sweep file", True, f"{spec.name} goes on after {done} trials{changed}")


def _put_right(spec: SweepSpec, folder: Path) -> Check:
    try:
        with RunFolder(folder).exclusive():
            done = repair(spec, folder)
            try:
                if left := Runs(spec, folder).end_left():
                    done.append(f"MLflow had {', '.join(left)} run RUNNING; they have ended")
            except Exception as error:  # of any kind that a store has; `mlflow` above says what to do
                return Check(spec.name, False, "; ".join([*done, f"MLflow cannot be put right: {error}"]))
    except ConfigError as error:  # somebody runs it
        return Check(spec.name, True, f"left alone: {error.message}")
    return Check(spec.name, True, "; ".join(done) if done else "nothing was left to put right")
