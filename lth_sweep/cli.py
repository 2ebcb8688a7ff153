"""The commands. What a command needs is imported when it runs, so that --help is there at once.

Exit codes: 0 done, 1 the work failed or was interrupted, 2 the input was wrong.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lth_sweep.search.answer import Answer, Network
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
    run.add_argument("--serial", action="store_true", help="one trial at a time in this process, without Ray")
    run.add_argument("--ray-address", metavar="ADDRESS", help="join this Ray cluster instead of starting one here")
    plan = command("plan", _plan, "say what a sweep will cost; runs nothing")
    plan.add_argument("spec", type=Path, metavar="SPEC", help="a sweep file")
    plan.add_argument("--trials", type=_positive, metavar="N", help="trials in all, instead of the number in the file")
    status = command("status", _status, "say where a sweep stands")
    status.add_argument("name", metavar="NAME", help="a sweep's name")
    best = command("best", _best, "show the smallest network that matches")
    best.add_argument("name", metavar="NAME", help="a sweep's name")
    ui = command("ui", _ui, "open the MLflow UI on the right store", result=False)
    ui.add_argument("name", metavar="NAME", nargs="?", help="a sweep's name; by default the store of the runs folder")
    ui.add_argument("--port", type=_positive, default=5000, help="default: 5000")
    command("schema", _schema, "print the JSON Schema of the sweep file", result=False)
    return whole


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of 1 or more, but got {text!r}")
    return int(text)


def _run(options: argparse.Namespace) -> int:
    from lth_sweep.orchestration.progress import Progress
    from lth_sweep.orchestration.sweep import run_sweep
    from lth_sweep.spec.load import load_spec
    from lth_sweep.tracking import MlflowListener

    spec = load_spec(options.spec)
    listeners: list[Listener] = [MlflowListener()] if options.json else [Progress(), MlflowListener()]
    result = run_sweep(
        spec,
        options.runs,
        serial=options.serial,
        ray_address=options.ray_address,
        trials=options.trials,
        listeners=listeners,
    )
    answer = _answer(spec, result.best)
    if options.json:
        counts = {"trials": result.counts, "steps_trained": result.steps_trained, "steps_reused": result.steps_reused}
        _print_json({"name": result.name, "ending": result.ending, **counts, "best": answer and answer.to_json()})
    else:
        counted = ", ".join(f"{count} {ending}" for ending, count in sorted(result.counts.items()))
        print(f"\n{spec.name}: {result.ending}; trials: {counted}")
        print(f"steps trained: {result.steps_trained:,}; steps reused: {result.steps_reused:,}\n")
        print(_describe(answer, spec))
        where = [] if options.runs == Path("runs") else ["--runs", str(options.runs)]
        print(f"\nlook closer: lth-sweep {' '.join(['ui', spec.name, *where])}")
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
    print(
        f"  time    {_duration(found.seconds)}  ({found.slots} at a time, {found.steps_per_second:,.0f} steps/s each)"
    )
    print(f"  disk    {found.disk_bytes / 1e6:,.0f} MB")
    for warning in found.warnings:
        print(f"  note    {warning}")
    return 0


def _status(options: argparse.Namespace) -> int:
    from collections import Counter

    from lth_sweep.orchestration.records import best, read

    spec = _existing(options)
    trials = read(options.runs / options.name)
    counts = Counter(trial.ending or "unfinished" for trial in trials)
    trained, reused = (sum(getattr(trial, name) for trial in trials) for name in ("steps_trained", "steps_reused"))
    answer = _answer(spec, best(trials))
    if options.json:
        _print_json(
            {
                "name": spec.name,
                "trials": dict(counts),
                "planned": spec.search.trials,
                "steps_trained": trained,
                "steps_reused": reused,
                "best": answer and answer.to_json(),
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
    if answer:
        print(f"  smallest so far: {answer.ticket.density:.2%} of the weights, trial {answer.trial}")
    return 0


def _best(options: argparse.Namespace) -> int:
    from lth_sweep.orchestration.records import best, read

    spec = _existing(options)
    answer = _answer(spec, best(read(options.runs / options.name)))
    if options.json:
        _print_json(answer and answer.to_json())
    else:
        print(_describe(answer, spec))
    return 0 if answer else 1


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


def _answer(spec: "SweepSpec", trial: Any) -> "Answer | None":
    from lth_sweep.search.answer import Answer

    return trial and Answer.of(trial.number, trial.picks, trial.levels, trial.outcome, spec.objective)


def _describe(answer: "Answer | None", spec: "SweepSpec") -> str:
    if answer is None:
        margin = spec.objective.match.margin
        return f"No trial found a network within {margin:g} of the dense one's {spec.objective.match.metric}."
    rows = [["", "dense", "ticket"]]
    rows.append(["density", f"{answer.dense.density:.2%}", f"{answer.ticket.density:.2%}"])
    for name in answer.dense.sizes:
        rows.append([name, f"{answer.dense.sizes[name]:,.0f}", f"{answer.ticket.sizes[name]:,.0f}"])
    measured = [_interval(network, answer) for network in (answer.dense, answer.ticket)]
    rows.append([f"{answer.metric} (validation)", *measured])
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    table = "\n".join(f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}" for row in rows)
    recipe = ", ".join(
        f"{path} {pick:.4g}" if isinstance(pick, float) else f"{path} {pick}" for path, pick in answer.picks.items()
    )
    factor = answer.dense.sizes[spec.objective.first] / max(1.0, answer.ticket.sizes[spec.objective.first])
    return (
        f"{table}\n\nThe smallest network within {answer.margin:g} of dense has {answer.ticket.density:.2%} of the "
        f"weights ({factor:.1f} times fewer {spec.objective.first}): {answer.difference:+.4f} {answer.metric}, "
        f"mean of {answer.seeds} seed{'s' * (answer.seeds > 1)}.\n"
        f"Trial {answer.trial}, level {answer.ticket.level}: {recipe}"
    )


def _interval(network: "Network", answer: "Answer") -> str:
    spread = network.spread[answer.metric]
    return f"{network.metrics[answer.metric]:.4f}" + (f" ± {spread:.4f}" if answer.seeds > 1 else "")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    sys.exit(main())
