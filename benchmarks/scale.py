"""1,000 trials of simulated length on a cluster of 4 simulated nodes: how busy its slots are, and whether a trial costs
the same at the end as at the start.

Trials sleep (benchmarks/sleeping.py), so that the machine's own speed matters little: what is measured is the driver,
Ray and the record files. The busy share is the time slept / (slots x time), from when all workers are up to the end of
the last trial. The overhead of a trial is the time that each slot took for one, minus the time slept. What 10,000
trials would take is computed from that; how many slots one driver keeps busy, from its processor time.
"""

import argparse
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

MANY = 10_000
SWEEP = """
name: scale
trial: {seeds: 1, levels: 1}
space: {rate: {between: [0.2, 0.6]}}
search: {sampler: random}
stop: {race: null, hopeless: false, patience: null, duplicates: false}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--cpus", type=int, default=2, help="of a node, and so trials at a time (default 2)")
    parser.add_argument("--seconds", type=float, default=4.0, help="that a trial takes (default 4)")
    parser.add_argument("--quick", action="store_true", help="12 short trials on 2 nodes: only to see that it runs")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.trials, arguments.nodes, arguments.cpus, arguments.seconds = 12, 2, 1, 0.2

    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *sys.path])  # for the workers
    os.environ["SLEEP_SECONDS"] = str(arguments.seconds)
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    cluster.add_node(num_cpus=0, include_dashboard=False)
    for _ in range(arguments.nodes):
        cluster.add_node(num_cpus=arguments.cpus)
    try:
        with tempfile.TemporaryDirectory() as folder:
            ends = run(Path(folder), cluster.address, arguments.trials)
    finally:
        cluster.shutdown()
    say(ends, arguments.nodes * arguments.cpus, arguments.seconds)


def run(folder: Path, address: str, trials: int) -> "Ends":
    from lth_sweep.orchestration.running import run_sweep
    from lth_sweep.sweepfile.load import load_spec

    (folder / "sweep.yaml").write_text(SWEEP)
    spec = replace(load_spec(folder / "sweep.yaml"), source=Path(__file__).resolve())  # sleeping.py lies beside it
    ends = Ends()
    result = run_sweep(spec, folder / "runs", ray_address=address, trials=trials, listeners=[ends], work="sleeping:run")
    if result.counts != {"finished": trials}:
        sys.exit(f"not all trials were finished: {result.counts}")
    return ends


class Ends:
    """A listener that notes when trials end, and how much processor time this process has then taken, in seconds."""

    def __init__(self) -> None:
        self.at: list[float] = []
        self.busy: list[float] = []

    def trial_ended(self, *of: object) -> None:
        self.at.append(time.perf_counter())
        self.busy.append(time.process_time())

    def __getattr__(self, name: str) -> object:
        return lambda *arguments: None


def say(ends: Ends, slots: int, seconds: float) -> None:
    """From when all workers are up, which is when as many trials have ended as there are slots."""
    steady = ends.at[slots - 1 :]
    driver = (ends.busy[-1] - ends.busy[slots - 1]) / (len(steady) - 1)
    busy = seconds * (len(steady) - 1) / slots / (steady[-1] - steady[0])
    print(f"{len(ends.at)} trials of {seconds:g} s on {slots} slots; busy share of the slots {busy:.1%} (goal 90%)")
    rounds = max(1, len(steady) // slots // 10)  # whole ones: trials of one length end in bursts
    of = rounds * slots
    first, last = ((some[-1] - some[0]) / rounds - seconds for some in (steady[: of + 1], steady[-of - 1 :]))
    print(f"overhead of a trial: {first * 1000:.0f} ms in the first {of}, {last * 1000:.0f} ms in the last {of}")
    hours = MANY * (seconds + last) / slots / 3600
    print(f"computed, not measured: {MANY:,} such trials on these slots take {hours:.1f} h; the driver takes "
          f"{driver * 1000:.0f} ms of processor time a trial, so that it keeps {seconds / driver:.0f} slots busy with "
          f"trials of {seconds:g} s, and {600 / driver:,.0f} with trials of ten minutes")  # fmt: skip


if __name__ == "__main__":
    main()
