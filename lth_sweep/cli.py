"""The commands. What a command needs is imported when it runs, so that --help is there at once.

Exit codes: 0 done, 1 the work failed or was interrupted, 2 the input was wrong.
"""

import argparse
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lth_sweep.reporting.material import Material
    from lth_sweep.search.answer import Answer
    from lth_sweep.search.events import Listener
    from lth_sweep.spec.sweep import SweepSpec


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    options = parser().parse_args(arguments)
    from lth_sweep.lottery.errors import ConfigError

    try:
        return int(options.command(options))
    except ConfigError as error:
        print(f"lth-sweep: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of a pipe has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(
        prog="lth-sweep", description="Find the smallest network that still matches the accuracy of a dense one."
    )
    commands = whole.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, function: Any, text: str, *, result: bool = True) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, description=text)
        one.set_defaults(command=function)
        if name != "schema":
            one.add_argument(
                "--runs", type=Path, default=Path("runs"), metavar="DIR", help="the runs folder (default: runs)"
            )
        if result:
            one.add_argument("--json", action="store_true", help="print the result as JSON")
        return one

    run = command("run", _run, "run a sweep, or go on with it")
    run.add_argument("spec", type=Path, metavar="SPEC", help="a sweep file")
    run.add_argument("--trials", type=_positive, metavar="N", help="trials in all, instead of the number in the file")
    run.add_argument("--steps", type=_positive, metavar="N", help="training steps in all, instead of the file's")
    run.add_argument("--hours", type=_hours, metavar="H", help="end after so many hours; the same command goes on")
    run.add_argument("--serial", action="store_true", help="one trial at a time in this process, without Ray")
    run.add_argument("--ray-address", metavar="ADDRESS", help="join this Ray cluster instead of starting one here")
    plan = command("plan", _plan, "say what a sweep will cost; runs nothing")
    plan.add_argument("spec", type=Path, metavar="SPEC", help="a sweep file")
    plan.add_argument("--trials", type=_positive, metavar="N", help="trials in all, instead of the number in the file")
    status = command("status", _status, "say where a sweep stands")
    status.add_argument("name", metavar="NAME", help="a sweep's name")
    best = command("best", _best, "show the smallest network that matches")
    best.add_argument("name", metavar="NAME", help="a sweep's name")
    export = command("export", _export, "write the ticket as a smaller network, checked equal")
    export.add_argument("name", metavar="NAME", help="a sweep's name")
    export.add_argument("--trial", type=_number, metavar="T", help="default: the trial of the answer")
    export.add_argument("--level", type=_number, metavar="L", help="default: the level of the answer")
    export.add_argument("--seed", type=_number, metavar="S", help="default: the seed that is best on validation")
    export.add_argument("--out", type=Path, metavar="DIR", help="default: tickets/ in the sweep's folder")
    export.add_argument(
        "--formats", default="safetensors,pt2", metavar="LIST", help="of safetensors, pt2, onnx (default: %(default)s)"
    )
    stability = command("stability", _stability, "say from which step on training is stable to its noise")
    stability.add_argument("spec", type=Path, metavar="SPEC", help="a sweep file; its base recipe is looked at")
    stability.add_argument(
        "--at", required=True, metavar="LIST", help='steps to part at, such as "0 steps, 100 steps, 2 epochs"'
    )
    stability.add_argument("--level", type=_number, default=0, metavar="N", help="of the ticket; default: 0, dense")
    report = command("report", _report, "write the figures and the answer as one HTML file", result=False)
    report.add_argument("names", nargs="+", metavar="NAME", help="a sweep's name; of several, they are compared")
    report.add_argument("--out", type=Path, metavar="FILE", help="default: report.html in the sweep's folder")
    figure = command("figure", _figure, "draw a figure for a paper", result=False)
    figure.add_argument("name", metavar="NAME", help="a sweep's name")
    figure.add_argument("--kind", required=True, choices=["curves", "front", "layers", "stability"])
    figure.add_argument("--out", type=Path, required=True, metavar="FILE", help="a .pdf, .svg or .png file")
    figure.add_argument("--from", type=Path, metavar="FILE", dest="source",
                        help="what `lth-sweep stability --json` has printed, for --kind stability")  # fmt: skip
    cache = command("cache", _cache, "show the trained states on disk, or make room")
    cache.add_argument("action", choices=["ls", "gc"], help="ls: by sweep, size and last use; gc: remove")
    cache.add_argument("--older-than", type=_positive, metavar="DAYS", help="gc what was not used for so long")
    cache.add_argument("--larger-than", type=_positive, metavar="MB", help="gc the longest unused beyond this size")
    cache.add_argument("--gone", action="store_true", help="gc what belongs to no sweep in the runs folder")
    ui = command("ui", _ui, "open the MLflow UI on the right store", result=False)
    ui.add_argument("name", metavar="NAME", nargs="?", help="a sweep's name; by default the store of the runs folder")
    ui.add_argument("--port", type=_positive, default=5000, help="default: 5000")
    command("schema", _schema, "print the JSON Schema of the sweep file", result=False)
    return whole


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of 1 or more, but got {text!r}")
    return int(text)


def _number(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"expected a whole number of 0 or more, but got {text!r}")
    return int(text)


def _hours(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = 0.0
    if not 0 < hours < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, such as 1.5, but got {text!r}")
    return hours


def _run(options: argparse.Namespace) -> int:
    from lth_sweep.orchestration.evidence import answer
    from lth_sweep.orchestration.progress import Progress
    from lth_sweep.orchestration.sweep import run_sweep
    from lth_sweep.spec.load import load_spec
    from lth_sweep.tracking import MlflowListener

    spec = load_spec(options.spec)
    mlflow = MlflowListener(attach=_attachments)
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
        _print_json({"name": result.name, "ending": result.ending, **counts, "best": found and found.to_json()})
    else:
        counted = ", ".join(f"{count} {ending}" for ending, count in sorted(result.counts.items()))
        print(f"\n{spec.name}: {result.ending}; trials: {counted}")
        print(
            f"steps trained: {result.steps_trained:,}; steps reused: {result.steps_reused:,}; "
            f"spared by stopping early: about {result.steps_saved:,}\n"
        )
        if result.spent:
            print(f"the budget of {result.spent} is spent; with a larger one, the same command goes on from here\n")
        _print_answer(found, spec, options.runs)
        print(f"look closer: {_command('ui', spec.name, options.runs)}")
    if result.ending == "interrupted":
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 1
    return 1 if result.counts and set(result.counts) == {"failed"} else 0


def _plan(options: argparse.Namespace) -> int:
    from dataclasses import replace

    from lth_sweep.orchestration.plan import plan
    from lth_sweep.spec.load import load_spec

    spec = load_spec(options.spec)
    if options.trials:
        spec = replace(spec, search=replace(spec.search, trials=options.trials))
    found = plan(spec, len(os.sched_getaffinity(0)))
    if options.json:
        _print_json(found.to_json())
        return 0
    shared = 1 - found.steps / found.steps_alone
    print(f"{spec.name}: {found.trials} trials, {found.stages:,} training runs, at most (no trial stopped early):")
    print(f"  steps   {found.steps:,}  ({found.steps_alone:,} without sharing; {shared:.0%} shared)")
    print(f"  verify  {found.verification_steps:,}  (steps; {spec.verify.top} tickets on {spec.verify.seeds} seeds)")
    print(
        f"  time    {_duration(found.seconds)}  ({found.slots} at a time, {found.steps_per_second:,.0f} steps/s each)"
    )
    print(f"  disk    {found.disk_bytes / 1e6:,.0f} MB")
    for warning in found.warnings:
        print(f"  note    {warning}")
    return 0


def _status(options: argparse.Namespace) -> int:
    from collections import Counter

    from lth_sweep.orchestration.evidence import answer
    from lth_sweep.orchestration.records import read

    spec = _existing(options)
    trials = read(options.runs / options.name)
    counts = Counter(trial.ending or "unfinished" for trial in trials)
    trained, reused = (sum(getattr(trial, name) for trial in trials) for name in ("steps_trained", "steps_reused"))
    found = answer(spec, options.runs / options.name, trials)
    if options.json:
        _print_json(
            {
                "name": spec.name,
                "trials": dict(counts),
                "planned": spec.search.trials,
                "steps_trained": trained,
                "steps_reused": reused,
                "best": found and found.to_json(),
            }
        )
        return 0
    print(f"{spec.name}: {len(trials)} of {spec.search.trials} trials begun")
    for ending, count in sorted(counts.items()):
        print(f"  {count:5d} {ending}")
    for trial in trials:
        if trial.ending == "failed":
            print(f"  trial {trial.number} failed: {trial.reason}")
    print(f"  steps trained: {trained:,}; steps reused: {reused:,}")
    if found:
        word = found.verification.verdict.word if found.verification else "not verified yet"
        print(f"  smallest: {found.ticket.density:.2%} of the weights, trial {found.trial} ({word})")
    return 0


def _best(options: argparse.Namespace) -> int:
    from lth_sweep.orchestration.evidence import answer

    spec = _existing(options)
    found = answer(spec, options.runs / options.name)
    if options.json:
        _print_json(found and found.to_json())
    else:
        _print_answer(found, spec, options.runs)
    return 0 if found else 1


def _export(options: argparse.Namespace) -> int:
    from lth_sweep.orchestration.export import export_ticket

    spec = _existing(options)
    formats = [name.strip() for name in options.formats.split(",")]
    done = export_ticket(spec, options.runs, options.trial, options.level, options.seed, options.out, formats)
    if options.json:
        _print_json(done.to_json())
        return 0
    print(f"trial {done.trial}, level {done.level}, seed {done.seed}: {done.params:,} parameters, "
          f"{done.params_dense:,} in the dense network; each file computes the same as the masked network")  # fmt: skip
    for path in done.files:
        print(f"  {path}  {path.stat().st_size:,} bytes")
    return 0


def _stability(options: argparse.Namespace) -> int:
    from lth_sweep.lottery.config import Runtime, TrialConfig
    from lth_sweep.lottery.duration import Duration
    from lth_sweep.lottery.stability import stability, stable_from
    from lth_sweep.lottery.store import Store
    from lth_sweep.reporting.stability_text import describe_stability
    from lth_sweep.spec.decode import decode
    from lth_sweep.spec.load import imports_from, load_spec

    spec = load_spec(options.spec)
    at = [Duration.parse(text) for text in options.at.split(",")]
    with imports_from(spec.import_folder):
        base = decode(TrialConfig, spec.base)
        records = stability(base, Store(options.runs / "stages"), Runtime(), at, options.level)
    if options.json:
        _print_json({"stable_from": stable_from(records), "records": [record.to_json() for record in records]})
    else:
        print(describe_stability(records))
    return 0


def _report(options: argparse.Namespace) -> int:
    from lth_sweep.reporting.report import report, save

    specs = [_existing(argparse.Namespace(runs=options.runs, name=name)) for name in dict.fromkeys(options.names)]
    sweeps = [_material(spec, options.runs) for spec in specs]
    folder = options.runs / sweeps[0].spec.name if len(sweeps) == 1 else options.runs
    path = options.out or folder / "report.html"
    save(report(sweeps), path)
    print(path)
    return 0


def _figure(options: argparse.Namespace) -> int:
    from lth_sweep.reporting.paper import figure

    figure(_material(_existing(options), options.runs), options.kind, options.out, options.source)
    print(options.out)
    return 0


def _cache(options: argparse.Namespace) -> int:
    from datetime import datetime

    from lth_sweep.lottery.errors import ConfigError
    from lth_sweep.orchestration.cache import by_sweep, remove, runs_in, superfluous

    found = runs_in(options.runs)
    if options.action == "gc":
        if not (options.older_than or options.larger_than or options.gone):
            raise ConfigError("say what is to go: --older-than DAYS, --larger-than MB or --gone", "cache gc")
        unwanted = superfluous(
            found,
            older=options.older_than and options.older_than * 86400,
            larger=options.larger_than and options.larger_than * 10**6,
            gone=options.gone,
        )
        count, size = remove(options.runs, unwanted)
        if options.json:
            _print_json({"removed": count, "bytes": size})
        else:
            print(f"removed {count:,} of {len(found):,} training runs, {size / 1e6:,.1f} MB")
        return 0
    rows = by_sweep(found)
    if options.json:
        _print_json(rows)
        return 0
    for row in rows:
        used = datetime.fromtimestamp(row["last_used"]).strftime("%Y-%m-%d %H:%M")
        whose = ", ".join(row["sweeps"]) or "no sweep's records"
        print(f"{row['bytes'] / 1e6:10,.1f} MB  {row['training_runs']:6,} training runs  last used {used}  {whose}")
    print(f"{sum(row['bytes'] for row in rows) / 1e6:10,.1f} MB in all")
    return 0


def _ui(options: argparse.Namespace) -> int:
    from lth_sweep.tracking import locate, serve_ui

    uri = _existing(options).tracking.uri if options.name else None
    return serve_ui(locate(options.runs, uri), port=options.port)


def _schema(options: argparse.Namespace) -> int:
    from lth_sweep.spec.schema import schema

    _print_json(schema())
    return 0


def _existing(options: argparse.Namespace) -> "SweepSpec":
    """The sweep file of a sweep that has been run."""
    from lth_sweep.lottery.errors import ConfigError, unknown
    from lth_sweep.spec.load import load_spec

    file = options.runs / options.name / "sweep.yaml"
    if not file.is_file():
        names = [path.parent.name for path in options.runs.glob("*/sweep.yaml")]
        raise ConfigError(unknown(f"sweep in {options.runs}", options.name, names))
    return load_spec(file)


def _material(spec: "SweepSpec", runs: Path) -> "Material":
    """What the report and the figures of a sweep are made from."""
    from lth_sweep.orchestration.evidence import answer
    from lth_sweep.orchestration.records import read
    from lth_sweep.reporting.material import Material

    folder = runs / spec.name
    commands = {
        "run it again, or go on with it": _command("run", shlex.quote(str(folder / "sweep.yaml")), runs),
        "the answer": _command("best", spec.name, runs),
        "the ticket as a smaller network": _command("export", spec.name, runs),
        "look closer in MLflow": _command("ui", spec.name, runs),
    }
    trials = read(folder)
    return Material(spec, trials, answer(spec, folder, trials), commands)


def _attachments(spec: "SweepSpec", folder: Path) -> dict[str, str]:
    from lth_sweep.reporting.attachments import attachments

    return attachments(_material(spec, folder.parent))


def _print_answer(answer: "Answer | None", spec: "SweepSpec", runs: Path) -> None:
    from lth_sweep.reporting.answer_text import describe

    print(describe(answer, spec, _command("export", spec.name, runs)))


def _command(name: str, sweep: str, runs: Path) -> str:
    return " ".join(["lth-sweep", name, sweep] + ([] if runs == Path("runs") else ["--runs", shlex.quote(str(runs))]))


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    sys.exit(main())
