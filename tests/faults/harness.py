"""Sweeps that are run by the real command, broken off, run again, and compared with an unbroken one."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
import optuna
from optuna.trial import TrialState

from lth_sweep.orchestration.evidence import load
from lth_sweep.orchestration.records import read

# The rules of `stop` that look at other trials are off: what they do depends on the order in which trials end.
SWEEP = """\
name: broken
trial:
  data: digits
  model: {{kind: mlp, hidden: [16]}}
  train: {{length: 40 steps, optimizer: {{kind: adam, lr: 0.005}}}}
  criterion: counting:Counted
  levels: {levels}
  seeds: {seeds}
space:
  rate: {{between: [0.3, 0.6]}}
  rewind: {{choice: {{init: init, early: {{kind: step, at: 10 steps}}}}}}
objective: {{minimize: params, match: {{margin: 0.3}}}}
search: {{sampler: random, trials: {trials}}}
stop: {{race: null, hopeless: false}}
verify: {{top: {top}, seeds: 2, controls: [reinit]}}
"""


@dataclass
class Sandbox:
    """A folder with a sweep file, where the command is run."""

    folder: Path
    mark: str = field(default_factory=lambda: f"LTH_TEST_{uuid.uuid4().hex}")
    """An environment variable of all processes that come of it."""

    @classmethod
    def make(cls, folder: Path, levels: int = 2, seeds: int = 2, trials: int = 4, top: int = 1) -> "Sandbox":
        folder.mkdir(parents=True)
        text = SWEEP.format(levels=levels, seeds=seeds, trials=trials, top=top)
        (folder / "broken.yaml").write_text(text)
        shutil.copy(Path(__file__).with_name("counting.py"), folder)
        return cls(folder)

    @property
    def run_folder(self) -> Path:
        return self.folder / "runs" / "broken"

    def start(self, *arguments: str, **variables: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "lth_sweep.cli", *arguments],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **variables, self.mark: "1"},
        )

    def run(self, *arguments: str, **variables: str) -> str:
        """Run the sweep to its end, where nothing may be said about trouble; what it says."""
        code, output, errors = self.finish(self.start("run", "broken.yaml", *arguments, **variables))
        assert (code, errors) == (0, ""), output + errors
        return output

    def finish(self, process: "subprocess.Popen[str]") -> tuple[int, str, str]:
        """Wait for a command's end: its exit code, and what it said. Where it does not end, nothing of it is left."""
        try:
            output, errors = process.communicate(timeout=300)
        except BaseException:
            for left in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(left, signal.SIGKILL)
            raise
        return process.returncode, output, errors

    def run_and_kill(self, seconds: float, *arguments: str) -> bool:
        """Kill the command, and nothing else, after so many seconds; whether it was still running. All that it had
        started dies too."""
        process = self.start("run", "broken.yaml", *arguments)
        try:
            process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            self.wait_for_processes()
            return True
        return False

    def processes(self) -> dict[int, str]:
        """The command lines of all processes that have come of this sandbox and live, by their ids."""
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (process / "environ").read_bytes():
                    found[int(process.name)] = (process / "cmdline").read_text().replace("\0", " ").strip()
            except OSError:
                continue
        return found

    def wait_for_processes(self, seconds: float = 30) -> None:
        """But for Ray's two agents of a node, which notice only after a minute that it is gone."""
        deadline = time.monotonic() + seconds
        while left := [command for command in self.processes().values() if not command.endswith("Agent")]:
            assert time.monotonic() < deadline, left
            time.sleep(0.2)

    def counted(self, what: str) -> Counter[str]:
        """How often each stage was trained, or published."""
        lines = (self.folder / "counted").read_text().split("\n")
        return Counter(line.split()[1] for line in lines if line.startswith(what))

    def results(self) -> dict[str, Any]:
        """All that must not depend on interruptions."""
        runs = self.folder / "runs"
        trials = {
            trial.number: (
                dict(trial.picks), trial.ending, trial.outcome, trial.reason,
                [record.result() for level in trial.levels for record in level],
            )
            for trial in read(self.run_folder)
        }  # fmt: skip
        storage = f"sqlite:///{self.run_folder / 'optuna.db'}"
        told = optuna.load_study(study_name="broken", storage=storage).get_trials()
        assert {trial.state for trial in told} == {TrialState.COMPLETE}
        stages = sorted(str(path.parent.relative_to(runs)) for path in (runs / "stages").glob("??/*/*/stage.json"))
        return {
            "trials": trials,
            "told": [(trial.number, trial.params, trial.values, trial.constraints) for trial in told],
            "verified": load(self.run_folder),
            "stages": stages,
            "mlflow": self._mlflow(),
        }

    def _mlflow(self) -> dict[str, Any]:
        """Of each run what it ends with; there is exactly one of a trial, and one of the sweep."""
        [database] = self.folder.rglob("mlflow.db")
        client = mlflow.MlflowClient(f"sqlite:///{database}")
        experiment = client.get_experiment_by_name("broken")
        assert experiment
        runs = client.search_runs([experiment.experiment_id])
        names = [run.data.tags.get("lth.trial_number", "sweep") for run in runs]
        assert len(set(names)) == len(names), f"a run is doubled: {names}"
        assert {run.info.status for run in runs} == {"FINISHED"}
        of_the_machine = ("seconds", "latency", "memory", "steps_trained", "steps_reused")
        return {
            name: {
                key: value for key, value in run.data.metrics.items() if not any(part in key for part in of_the_machine)
            }
            for name, run in zip(names, runs, strict=True)
        }


def assert_equal(broken: Sandbox, unbroken: Sandbox, cut_off: int) -> None:
    """The same results, and no stage trained twice but those that were cut off, at most so many."""
    found, expected = broken.results(), unbroken.results()
    for part in expected:
        assert found[part] == expected[part], part
    published = broken.counted("published")
    assert set(published.values()) == {1}, published
    assert set(published) <= set(unbroken.counted("published"))
    twice = [stage for stage, count in broken.counted("trained").items() if count > 1]
    assert len(twice) <= cut_off, twice
    assert max(broken.counted("trained").values()) <= 2
