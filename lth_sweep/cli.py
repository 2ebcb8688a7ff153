"""The commands. What a command needs is imported when it runs, so that --help is there at once.

Exit codes: 0 done, 1 the work failed or was interrupted, 2 the input was wrong.
"""

import argparse
import atexit
import gc
import importlib
import math
import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    atexit.register(gc.freeze)  # Python would look for garbage in all that the libraries have made: 2 to 4 s of `run`
    gc.set_threshold(20_000, 10, 10)  # saves 0.4 s of 2.3 of imports (n = 4), a quarter of MLflow's work (n = 3)
    options = parser().parse_args(arguments)
    from lth_sweep.disk import DiskFull, storage_fault
    from lth_sweep.lottery.common.errors import ConfigError

    try:
        return importlib.import_module(f"lth_sweep.commands.{options.command}").run(options) or 0
    except ConfigError as error:
        print(f"lth-sweep: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of a pipe has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if (fault := storage_fault(error)) is None:
            raise
        what, todo = ("the disk is full: ", "Make room, as with `lth-sweep cache gc`, and the") if isinstance(
            fault, DiskFull) else ("", "Once it can be reached, the")  # fmt: skip
        print(f"lth-sweep: {what}{str(fault).splitlines()[0]}\nNothing is damaged. {todo} same command goes on from "
              "here.", file=sys.stderr)  # fmt: skip
        return 1


def parser() -> ArgumentParser:
    whole = ArgumentParser(prog="lth-sweep", description="Find the smallest network that still matches a dense one.")
    commands = whole.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, text: str, spec: str = "", *, sweep: bool = False, result: bool = True) -> ArgumentParser:
        """One that takes a sweep file, of which `spec` says what for, or a sweep's name, or neither."""
        one = commands.add_parser(name, help=text, description=text)
        one.set_defaults(command=name)
        if name != "schema":
            one.add_argument("--runs", type=_runs, default=Path("runs"), metavar="DIR",
                             help="the runs folder, or s3://BUCKET/PREFIX (default: runs)")  # fmt: skip
        if result:
            one.add_argument("--json", action="store_true", help="print the result as JSON")
        if spec:
            one.add_argument("spec", type=Path, metavar="SPEC", help=spec)
        if sweep:
            one.add_argument("name", metavar="NAME", help="a sweep's name")
        return one

    run = command("run", "run a sweep, or go on with it", "a sweep file")
    run.add_argument("--as", dest="name", metavar="NEWNAME", help="run it under another name than the file's")
    run.add_argument("--trials", type=_positive, metavar="N", help="trials in all, instead of the number in the file")
    run.add_argument("--steps", type=_positive, metavar="N", help="training steps in all, instead of the file's")
    run.add_argument("--hours", type=_hours, metavar="H", help="end after so many hours; the same command goes on")
    run.add_argument("--serial", action="store_true", help="one trial at a time in this process, without Ray")
    run.add_argument("--ray-address", metavar="ADDRESS", help="join this Ray cluster instead of starting one here")
    plan = command("plan", "say what a sweep will cost; runs nothing", "a sweep file")
    plan.add_argument("--trials", type=_positive, metavar="N", help="trials in all, instead of the number in the file")
    doctor = command("doctor", "check what a sweep needs on every machine; put right what a killed one has left")
    doctor.add_argument("target", metavar="SPEC|NAME", nargs="?", help="a sweep file, or the name of a sweep")
    doctor.add_argument("--ray-address", metavar="ADDRESS", help="of a Ray cluster (default: RAY_ADDRESS, or none)")
    command("sync", "send to MLflow what it lacks of a sweep's records", sweep=True)
    command("status", "say where a sweep stands", sweep=True)
    command("best", "show the smallest network that matches", sweep=True)
    export = command("export", "write the ticket as a smaller network, checked equal", sweep=True)
    export.add_argument("--trial", type=_number, metavar="T", help="default: the trial of the answer")
    export.add_argument("--level", type=_number, metavar="L", help="default: the level of the answer")
    export.add_argument("--seed", type=_number, metavar="S", help="default: the seed that is best on validation")
    export.add_argument("--out", type=Path, metavar="DIR", help="default: tickets/ in the sweep's folder")
    export.add_argument(
        "--formats", default="safetensors,pt2", metavar="LIST", help="of safetensors, pt2, onnx (default: %(default)s)"
    )
    stability = command("stability", "say from which step on training is stable to its noise",
                        "a sweep file; its base recipe is looked at")  # fmt: skip
    stability.add_argument(
        "--at", required=True, metavar="LIST", help='steps to part at, such as "0 steps, 100 steps, 2 epochs"'
    )
    stability.add_argument("--level", type=_number, default=0, metavar="N", help="of the ticket; default: 0, dense")
    rescue = command("rescue", "find out what ails a poor ticket, and try what should help")
    rescue.add_argument("sweep", metavar="NAME|SPEC", help="a sweep's name, or a sweep file that never ran")
    rescue.add_argument("--trial", type=_number, metavar="T", help="default: the trial that is best at the density")
    rescue.add_argument("--density", type=float, default=0.05, metavar="D",
                        help="of the ticket: the last level of at least this density (default: 0.05)")  # fmt: skip
    rescue.add_argument("--steps", type=_positive, metavar="N", help="training steps of all remedies together")
    rescue.add_argument("--hours", type=_hours, metavar="H", help="end after so many hours; the same command goes on")
    rescue.add_argument("--all", action="store_true", help="try every remedy, also after one that matches")
    rescue.add_argument("--serial", action="store_true", help="one at a time in this process, without Ray")
    rescue.add_argument("--ray-address", metavar="ADDRESS", help="join this Ray cluster instead of starting one here")
    report = command("report", "write the figures and the answer as one HTML file", result=False)
    report.add_argument("names", nargs="+", metavar="NAME", help="a sweep's name; of several, they are compared")
    report.add_argument("--out", type=Path, metavar="FILE", help="default: report.html in the sweep's folder")
    figure = command("figure", "draw a figure for a paper", sweep=True, result=False)
    figure.add_argument("--kind", required=True, choices=["curves", "front", "layers", "stability"])
    figure.add_argument("--out", type=Path, required=True, metavar="FILE", help="a .pdf, .svg or .png file")
    figure.add_argument("--from", type=Path, metavar="FILE", dest="source",
                        help="what `lth-sweep stability --json` has printed, for --kind stability")  # fmt: skip
    cache = command("cache", "show the trained states on disk, or make room")
    cache.add_argument("action", choices=["ls", "gc"], help="ls: by sweep, size and last use; gc: remove")
    cache.add_argument("--older-than", type=_positive, metavar="DAYS", help="gc what was not used for so long")
    cache.add_argument("--larger-than", type=_positive, metavar="MB", help="gc the longest unused beyond this size")
    cache.add_argument("--gone", action="store_true", help="gc what belongs to no sweep in the runs folder")
    ui = command("ui", "open the MLflow UI on the right store", result=False)
    ui.add_argument("name", metavar="NAME", nargs="?", help="a sweep's name; by default the store of the runs folder")
    ui.add_argument("--port", type=_port, default=5000, help="default: 5000")
    command("schema", "print the JSON Schema of the sweep file", result=False)
    return whole


def _runs(text: str) -> Path:
    if "://" not in text:
        return Path(text)
    from lth_sweep.lottery.common.errors import ConfigError
    from lth_sweep.remote.mirror import runs_folder

    try:
        return runs_folder(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(error.message) from error


def _whole(least: int, most: float = math.inf, what: str = "") -> Callable[[str], int]:
    """Reads a whole number from `least` to `most`."""
    what = what or f"a whole number of {least} or more"

    def read(text: str) -> int:
        if not text.isdigit() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"expected {what}, but got {text!r}")
        return int(text)

    return read


_number, _positive = _whole(0), _whole(1)
_port = _whole(1, 65535, "a port, a whole number from 1 to 65535")


def _hours(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = 0.0
    if not 0 < hours < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, such as 1.5, but got {text!r}")
    return hours


if __name__ == "__main__":
    sys.exit(main())
