"""What the report of a large sweep takes: 500 made-up trials x 12 levels x 3 seeds, from its records to the file."""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from many_trials import write


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="10 trials, once: only to see that it runs")
    arguments = parser.parse_args()
    repeat, trials = (1, 10) if arguments.quick else (arguments.repeat, arguments.trials)

    wall, busy = [], []
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), "large", trials)
        command = [sys.executable, "-m", "lth_sweep.cli", "report", "large", "--runs", folder]
        for _ in range(repeat):
            started, before = time.perf_counter(), _processor_seconds()
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
            wall.append(time.perf_counter() - started)
            busy.append(_processor_seconds() - before)
        size = (Path(folder) / "large" / "report.html").stat().st_size / 1e6
    print(f"{trials} trials x 12 levels x 3 seeds; n = {repeat}; goal: under 15 s and under 8 MB")
    for name, seconds in (("wall", wall), ("processor", busy)):
        print(f"{name:10} {statistics.median(seconds):.1f} s  ({min(seconds):.1f} to {max(seconds):.1f})")
    print(f"size       {size:.1f} MB")


def _processor_seconds() -> float:
    """Of the commands that have ended; on a machine with other work, the wall says less."""
    times = os.times()
    return times.children_user + times.children_system


if __name__ == "__main__":
    main()
