"""What logging to MLflow takes: a made-up sweep, told to the listener as a run of it would; and its run list.

With --pairs N: the quickstart with MLflow and without, in turns, each as a process of its own with fresh folders.
"""

import argparse
import gc
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.many_trials import write
from lth_sweep.orchestration.records import read
from lth_sweep.search.trial import Proposal
from lth_sweep.tracking import MlflowListener, locate
from lth_sweep.tracking.ui import free_port, start, stop

QUICKSTART = Path(__file__).resolve().parents[1] / "sweeps" / "quickstart.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=12, help="of 12 levels x 3 seeds; default: 12, as the quickstart")
    parser.add_argument("--browser", action="store_true", help="also time the run list in chromium")
    parser.add_argument("--pairs", type=int, help="how often to run the quickstart with MLflow and without")
    parser.add_argument("--spec", type=Path, default=QUICKSTART, help="instead of the quickstart")
    parser.add_argument("--run", nargs=2, metavar=("FOLDER", "LISTENERS"), help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="3 trials: only to see that it runs")
    arguments = parser.parse_args()
    if arguments.run:
        sweep(arguments.spec, Path(arguments.run[0]), arguments.run[1] == "mlflow")
        return
    if arguments.pairs:
        compare(arguments.spec, arguments.pairs)
        return
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder)
        spec = write(runs, "large", 3 if arguments.quick else arguments.trials)
        trials = [(Proposal(one.number, one.picks, spec.recipe(one.picks)), one) for one in read(runs / "large")]
        listener, busy, waits = MlflowListener(), time.process_time(), []

        def tell(call, *told: object) -> None:
            before = time.perf_counter()
            call(*told)
            waits.append(time.perf_counter() - before)

        tell(listener.sweep_started, spec, runs / "large")
        for proposal, trial in trials:
            tell(listener.trial_started, proposal)
            for level in trial.levels:
                tell(listener.level_done, proposal, level)
            tell(listener.trial_ended, proposal, trial.ending, trial.outcome, trial.reason, trial.steps_saved)
        waited = sum(waits)
        before = time.perf_counter()
        listener.sweep_ended("finished")
        print(f"{len(trials)} trials; missing in MLflow: {listener.missing or 'nothing'}")
        print(f"processor   {time.process_time() - busy:.1f} s in all, of which the import of mlflow is a part")
        print(f"trials wait {waited * 1000:.1f} ms in all, {max(waits) * 1000:.1f} ms at most, in {len(waits):,} calls")
        print(f"the end     {time.perf_counter() - before:.1f} s, as nothing was trained meanwhile")
        if arguments.browser:
            print(f"run list    {run_list(runs):.1f} s in chromium")


def compare(spec: Path, pairs: int) -> None:
    """Wall time, and processor time of the process that logs, with MLflow less without."""
    took: dict[str, list[tuple[float, float]]] = {"mlflow": [], "without": []}
    for _ in range(pairs):
        for side, of in took.items():
            with tempfile.TemporaryDirectory() as folder:
                before = time.perf_counter()
                command = [sys.executable, __file__, "--spec", str(spec), "--run", folder, side]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                of.append((time.perf_counter() - before, float(done.stdout.split()[-1])))
    print(f"{spec.name}; n = {pairs} pairs, in turns")
    for index, name in enumerate(("wall", "processor")):
        mlflow, without = ([one[index] for one in of] for of in took.values())
        more = [one - other for one, other in zip(mlflow, without, strict=True)]
        print(f"{name:10} {statistics.median(mlflow):.1f} s with MLflow, {statistics.median(without):.1f} s without;"
              f" more by {statistics.median(more):.2f} s ({min(more):.2f} to {max(more):.2f})")  # fmt: skip


def sweep(path: Path, folder: Path, mlflow: bool) -> None:
    """Run it; print the seconds of processor time that this process has taken."""
    from lth_sweep.commands.run import attach_report
    from lth_sweep.orchestration.running import run_sweep
    from lth_sweep.orchestration.tickets import best_ticket
    from lth_sweep.sweepfile.load import load_spec

    gc.set_threshold(20_000, 10, 10)  # as in cli.py
    listeners = [MlflowListener(attach=attach_report, ticket=best_ticket)] if mlflow else []
    result = run_sweep(load_spec(path), folder / "runs", listeners=listeners)
    assert result.ending == "finished"
    print(time.process_time())


def run_list(runs: Path) -> float:
    """Seconds from the page's address to the names of trials on it, on a server that has answered before."""
    from tests.browser import chromium

    port, place = free_port("127.0.0.1", 0), locate(runs)
    server = start(place, "127.0.0.1", port)
    try:
        with chromium(runs / "profile") as browser:
            for _ in range(2):  # the first visit fetches the program of the UI
                before = time.perf_counter()
                browser.get(f"http://127.0.0.1:{port}/#/experiments/1/runs?t={before}")
                while time.perf_counter() - before < 120:
                    text = browser.execute_script("return document.body ? document.body.innerText : ''")
                    if "matching runs" in text and "large" in text:
                        break
                    time.sleep(0.1)
                seconds = time.perf_counter() - before
                browser.get("about:blank")
            return seconds
    finally:
        stop(server)


if __name__ == "__main__":
    main()
