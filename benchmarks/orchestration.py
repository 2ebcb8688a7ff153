"""What a trial costs beyond its work: 200 trials of none, with MLflow on SQLite, on a local Ray cluster and serially.

Each trial reports three levels (benchmarks/no_work.py). Either back end is a process of its own, with fresh folders.
"Beyond start-up" counts from the first level of the first trial to the end of the last.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

SWEEP = """
name: no-work
trial: {seeds: 1, levels: 2}
space: {rate: {between: [0.2, 0.6]}}
search: {sampler: %s}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--repeat", type=int, default=3, help="how often each is run, in turns (default 3)")
    parser.add_argument("--sampler", choices=["tpe", "random"], default="tpe")
    parser.add_argument("--quick", action="store_true", help="3 trials: only to see that it runs")
    parser.add_argument("--one", nargs=2, metavar=("BACKEND", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        run_one(arguments.one[0], Path(arguments.one[1]), arguments.trials, arguments.sampler)
        return
    repeat, trials = (1, 3) if arguments.quick else (arguments.repeat, arguments.trials)

    total: dict[str, list[float]] = {"ray": [], "serial": []}
    beyond: dict[str, list[float]] = {"ray": [], "serial": []}
    for _ in range(repeat):
        for backend in total:
            with tempfile.TemporaryDirectory() as folder:
                command = [sys.executable, __file__, "--one", backend, folder, "--trials", str(trials),
                           "--sampler", arguments.sampler]  # fmt: skip
                started = time.perf_counter()
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                total[backend].append((time.perf_counter() - started) / trials)
                if done.returncode:
                    sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
                beyond[backend].append(json.loads(done.stdout.strip().splitlines()[-1])["seconds"] / (trials - 1))

    print(f"{trials} trials of no work, 3 levels each; n = {repeat} runs of each, in turns; goal at most 0.2 s a trial")
    for backend in total:
        for name, seconds in (("in all", total[backend]), ("beyond start-up", beyond[backend])):
            print(f"{backend:7} {name:15} {statistics.median(seconds):.3f} s a trial"
                  f"  ({min(seconds):.3f} to {max(seconds):.3f})")  # fmt: skip
    ratios = [ray / serial for ray, serial in zip(total["ray"], total["serial"], strict=True)]
    print(f"ratio ray / serial: {statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})")


def run_one(backend: str, folder: Path, trials: int, sampler: str) -> None:
    from times import Times

    from lth_sweep.orchestration.running import run_sweep
    from lth_sweep.sweepfile.load import load_spec
    from lth_sweep.tracking import MlflowListener

    (folder / "sweep.yaml").write_text(SWEEP % sampler)
    spec = replace(load_spec(folder / "sweep.yaml"), source=Path(__file__).resolve())  # no_work.py lies beside it
    times, mlflow = Times(), MlflowListener()
    result = run_sweep(spec, folder / "runs", serial=backend == "serial", trials=trials, listeners=[times, mlflow],
                       work="no_work:run")  # fmt: skip
    if result.counts.get("finished") != trials or mlflow.missing:
        sys.exit(f"not all trials were finished and logged: {result.counts}, MLflow lacks {mlflow.missing}")
    print(json.dumps({"seconds": times.last_trial - times.first_level}))


if __name__ == "__main__":
    main()
