"""A whole sweep, ours against one written by hand (benchmarks/by_hand.py): wall time, and the smallest network found.

That of the quickstart: 12 trials on digits, 64-300-100-10, 12 levels of 600 steps, three seeds, two trials at a time;
rate 0.2 to 0.6, rewind to 0 or 50, single weights or units; MLflow on SQLite. Each side is a process of its own, from
its start to its end, with fresh folders. Kept weights are the ones in the masks, without biases, a mean over the seeds,
on both sides. Our other sides: with the verification on fresh seeds and the test split, which there is none of by hand;
and without any stopping rule, so that every trial goes through all its levels and seeds, as by hand.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SWEEP = """
name: benchmark
trial:
  data: digits
  model: {{kind: mlp, hidden: [300, 100]}}
  train: {{length: {steps} steps, batch: 60, optimizer: {{kind: adam, lr: 0.0012}}}}
  levels: {levels}
  seeds: {seeds}
space:
  rate: {{between: [0.2, 0.6]}}
  rewind: {{choice: {{init: init, early: {{kind: step, at: {early} steps}}}}}}
  granularity: {{choice: [weight, unit]}}
search: {{trials: {trials}, seed: 0}}
stop: {stop}
verify: {verify}
resources: {{cpu: 1}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=3, help="how often each side is run, in turns (default 3)")
    parser.add_argument("--quick", action="store_true", help="2 trials of 20 steps: only to see that it runs")
    parser.add_argument("--ours", nargs=2, metavar=("FOLDER", "SPEC"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ours:
        run_ours(*map(Path, arguments.ours))
        return
    repeat, trials, levels, steps, seeds = arguments.repeat, 12, 12, 600, 3
    if arguments.quick:
        repeat, trials, levels, steps, seeds = 1, 2, 1, 20, 2

    sides = {"by hand": None, "ours": ("{}", "{top: 0}"), "verified": ("{}", "{top: 2, seeds: 8}"),
             "no stop": ("{patience: null, race: null, hopeless: false, duplicates: false}", "{top: 0}")}  # fmt: skip
    """How each of ours stops, and what it verifies."""
    if arguments.quick:
        del sides["verified"], sides["no stop"]
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    for _ in range(repeat):
        for side, rules in sides.items():
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                if rules:
                    stop, verify = rules
                    text = SWEEP.format(trials=trials, levels=levels, steps=steps, seeds=seeds,
                                        early=min(50, steps - 1), stop=stop, verify=verify)  # fmt: skip
                    (folder / "sweep.yaml").write_text(text)
                    command = [__file__, "--ours", name, str(folder / "sweep.yaml")]
                else:
                    command = [str(Path(__file__).parent / "by_hand.py"), name, str(trials), str(levels), str(steps),
                               str(seeds)]  # fmt: skip
                took, result = timed(command, folder)
            seconds[side].append(took)
            found[side].append(result)

    print(f"{trials} trials, {levels} levels, {steps} steps, {seeds} seeds; n = {repeat} runs of each side, in turns")
    for side, of in seconds.items():
        kept, trained = ([result[key] for result in found[side]] for key in ("kept", "steps"))
        print(f"{side:8} {statistics.median(of):7.1f} s ({min(of):.1f} to {max(of):.1f})   smallest matching network"
              f" {span(kept)} weights   steps trained {span(trained)}")  # fmt: skip
        if "seconds" in found[side][0]:
            phases = [f"{name} {took:.1f} s" for name, took in found[side][-1]["seconds"].items()]
            print(f"         in the last run: {', '.join(phases)}")
    for side in list(sides)[1:]:
        ratios = [theirs / mine for theirs, mine in zip(seconds["by hand"], seconds[side], strict=True)]
        goal = "  goal at least 6" if side == "ours" else ""
        print(f"ratio by hand / {side}: {statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f}){goal}")


def timed(command: list[str], folder: Path) -> tuple[float, dict[str, Any]]:
    """Seconds of the whole process, and the JSON that it printed last."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=folder, check=False)
    took = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return took, json.loads(done.stdout.strip().splitlines()[-1])


def run_ours(folder: Path, path: Path) -> None:
    started = time.perf_counter()
    from times import Times

    from lth_sweep.orchestration.running import run_sweep
    from lth_sweep.sweepfile.load import load_spec
    from lth_sweep.tracking import MlflowListener

    spec = load_spec(path)
    read = time.perf_counter()
    times = Times()
    result = run_sweep(spec, folder / "runs", listeners=[times, MlflowListener()])
    ended = time.perf_counter()
    kept = 64 * 300 + 300 * 100 + 100 * 10
    if (best := result.best) and best.outcome.level is not None:  # else the dense network is the smallest, as by hand
        kept = round(statistics.fmean(record.density for record in best.levels[best.outcome.level]) * kept)
    first, last = times.first_level, times.last_trial
    phases = {"import and read": read - started, "up to the first level": first - read, "trials": last - first,
              "verifying and closing": ended - last}  # fmt: skip
    print(json.dumps({"kept": kept, "steps": result.steps_trained, "seconds": phases}))


def span(values: list[float]) -> str:
    values = [round(value) for value in values]
    return f"{min(values):,}" if min(values) == max(values) else f"{min(values):,} to {max(values):,}"


if __name__ == "__main__":
    main()
