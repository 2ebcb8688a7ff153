"""Whether a sweep's overhead grows: 2,000 trials of no work (benchmarks/no_work.py), serially, on SQLite.

Times are of whole trials: asking the searcher, three levels, records, telling; as CPU time of the process too, for a
machine that is busy with other things. Memory is that of the process.
"""

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from times import Times

from lth_sweep.orchestration.running import run_sweep
from lth_sweep.search.trial import Ending, Outcome, Proposal
from lth_sweep.sweepfile.load import load_spec

SWEEP = """
name: flat
trial: {seeds: 1, levels: 2}
space: {rate: {between: [0.2, 0.6]}, train.optimizer.lr: {between: [0.0001, 0.01], log: true}}
search: {sampler: %s, trials: %d}
"""


class Course(Times):
    """When each trial ended, and the process's memory then, in MB."""

    def __init__(self) -> None:
        self.ended = [(time.perf_counter(), time.process_time())]
        self.memory: list[float] = []

    def trial_ended(
        self, proposal: Proposal, ending: Ending, outcome: Outcome, reason: str = "", steps_saved: int = 0
    ) -> None:
        self.ended.append((time.perf_counter(), time.process_time()))
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.memory.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--sampler", choices=["frugal", "tpe", "random"], default="frugal")
    parser.add_argument("--quick", action="store_true", help="20 trials: only to see that it runs")
    arguments = parser.parse_args()
    trials = 20 if arguments.quick else arguments.trials
    course = Course()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "sweep.yaml").write_text(SWEEP % (arguments.sampler, trials))
        spec = replace(load_spec(Path(folder) / "sweep.yaml"), source=Path(__file__).resolve())
        run_sweep(spec, Path(folder) / "runs", serial=True, listeners=[course], work="no_work:run")
    part = max(1, trials // 20)
    for clock, name in enumerate(("wall", "CPU")):
        seconds = [after[clock] - before[clock] for before, after in pairwise(course.ended)]
        first, last = statistics.median(seconds[1 : part + 1]), statistics.median(seconds[-part:])
        print(f"{name}: {first:.3f} s a trial in the first {part}, {last:.3f} in the last (medians): "
              f"{last / first:.2f}; goal at most 0.15 s")  # fmt: skip
    at = trials // 4
    print(f"memory at trial {at}: {course.memory[at - 1]:.0f} MB, at {trials}: {course.memory[-1]:.0f} MB "
          f"({course.memory[-1] / course.memory[at - 1]:.2f})")  # fmt: skip


if __name__ == "__main__":
    main()
