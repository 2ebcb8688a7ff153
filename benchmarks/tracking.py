"""What logging to MLflow takes: a made-up sweep, told to the listener as a run of it would; and its run list."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.many_trials import write
from lth_sweep.orchestration.records import read
from lth_sweep.search.events import Proposal
from lth_sweep.tracking import MlflowListener, locate
from lth_sweep.tracking.ui import free_port, start, stop


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=12, help="of 12 levels x 3 seeds; default: 12, as the quickstart")
    parser.add_argument("--browser", action="store_true", help="also time the run list in chromium")
    parser.add_argument("--quick", action="store_true", help="3 trials: only to see that it runs")
    arguments = parser.parse_args()
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
