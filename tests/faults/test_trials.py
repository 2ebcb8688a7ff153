"""A trial that goes wrong ends as failed with the reason, and its log kept; the others go on."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import mlflow
import pytest

from lth_sweep.lottery.recipe.trial import TrialConfig
from lth_sweep.lottery.records import Level
from lth_sweep.orchestration import deadline
from lth_sweep.orchestration.deadline import Pace, kind_of
from lth_sweep.orchestration.interruption import Interruption
from lth_sweep.orchestration.on_ray import OnRay
from lth_sweep.orchestration.records import read
from lth_sweep.orchestration.running import run_sweep
from lth_sweep.sweepfile.axis import Axis, Choice
from lth_sweep.sweepfile.spec import Resources
from lth_sweep.tracking import MlflowListener
from tests.faults.trials import EATS_MEMORY, HANGS, HANGS_ONCE, IS_KILLED, NAN, hangs
from tests.orchestration.conftest import cluster
from tests.orchestration.simulated import GOOD, record
from tests.orchestration.specs import sweep

__all__ = ["cluster"]
RUN = "tests.faults.trials:run"
REPOSITORY = Path(__file__).parents[2]


def jobs_on_ray(cpu: float) -> OnRay:
    return OnRay(Resources(cpu=cpu), Interruption(), joined=False)


def of(*kinds: int):
    labels = {f"{number}": kind for number, kind in enumerate(kinds)}
    return sweep(len(kinds), space=(Axis("train.batch", Choice(labels)),), sampler="grid")


@pytest.mark.usefixtures("cluster")
def test_a_worker_that_hangs_in_native_code_is_killed_and_its_trial_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(deadline, "AT_LEAST", 5.0)
    result = run_sweep(of(GOOD, HANGS_ONCE), tmp_path, work=RUN)
    assert [(trial.ending, len(trial.levels)) for trial in read(result.folder)] == [("finished", 9)] * 2
    log = (result.folder / "logs/001.txt").read_text()
    assert log.startswith("hung: no level within 5 seconds, by far the slowest of this sweep\n")


@pytest.mark.usefixtures("cluster")
def test_a_task_that_hangs_in_native_code_is_killed(tmp_path):
    tasks, pid = jobs_on_ray(cpu=1), tmp_path / "pid"
    jobs = [tasks.submit(os.path.basename, "a/b"), tasks.submit(hangs, pid)]
    until(pid.exists)
    results = tasks.results(jobs, 2.0)
    assert next(results) == "b"
    with pytest.raises(TimeoutError, match="hung: no network within 2 seconds, by far the slowest of this sweep"):
        next(results)
    ends(pid)


@pytest.mark.usefixtures("cluster")
def test_a_task_that_no_node_has_room_for_is_not_waited_for(tmp_path):
    tasks = jobs_on_ray(cpu=64)
    with pytest.raises(TimeoutError, match="or no node has room for one"):
        next(tasks.results([tasks.submit(os.path.basename, "a/b")], 0.5))


@pytest.mark.usefixtures("cluster")
def test_a_signal_ends_a_task(tmp_path):
    tasks, pid = jobs_on_ray(cpu=1), tmp_path / "pid"
    job = tasks.submit(hangs, pid)
    until(pid.exists)
    with Interruption() as interruption, interruption.at_once():
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
        with pytest.raises(KeyboardInterrupt):
            next(tasks.results([job]))
    ends(pid)


def until(holds) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def ends(pid: Path) -> None:
    """The process whose id is in that file."""
    until(lambda: not Path(f"/proc/{pid.read_text()}").exists())


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_all_that_can_go_wrong_with_a_trial(tmp_path, monkeypatch):
    monkeypatch.setattr(deadline, "AT_LEAST", 10.0)
    kinds = {GOOD: "finished", HANGS: "failed", HANGS_ONCE: "finished", EATS_MEMORY: "failed", IS_KILLED: "failed",
             NAN: "stopped"}  # fmt: skip
    said = []
    result = run_sweep(of(*kinds), tmp_path, work=RUN, listeners=[MlflowListener(said.append)])
    assert said == []
    trials = {of(*kinds).recipe(trial.picks).train.batch: trial for trial in read(result.folder)}
    assert {kind: trial.ending for kind, trial in trials.items()} == kinds
    assert trials[HANGS].reason == "hung: no level within 10 seconds, by far the slowest of this sweep"
    assert trials[EATS_MEMORY].reason.startswith("numpy._core._exceptions._ArrayMemoryError: Unable to allocate")
    assert trials[IS_KILLED].reason == "the worker process died: killed, out of memory, or a crash in native code"
    assert trials[NAN].reason == "training diverged at level 2: a metric is not a number"
    assert all(len(trials[kind].levels) == 2 for kind in kinds if kinds[kind] == "failed")
    assert len(trials[HANGS_ONCE].levels) == 9

    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    for kind, attempts in ((HANGS, 3), (HANGS_ONCE, 2), (EATS_MEMORY, 3), (IS_KILLED, 3)):
        tried = next((tmp_path / "stages").glob(f"attempts-{trials[kind].levels[0][0].trial}"))
        assert tried.stat().st_size == attempts
        log = result.folder / f"logs/{trials[kind].number:03d}.txt"
        assert log.read_text().count("\n\n") == (3 if kinds[kind] == "failed" else 1)
        [run] = client.search_runs(
            [client.get_experiment_by_name("simulated").experiment_id],
            f"tags.`lth.trial_number` = '{trials[kind].number}'",
        )
        assert run.info.status == kinds[kind].upper()
        if kinds[kind] == "failed":
            assert run.data.tags["lth.reason"] == trials[kind].reason
            assert run.data.tags["lth.log"] == str(log)
            assert mlflow.artifacts.load_text(f"{run.info.artifact_uri}/log.txt") == log.read_text()


def test_what_kills_the_process_that_runs_it_is_given_up_after_three_runs_of_the_sweep(tmp_path):
    script = (
        "import sys; from pathlib import Path\n"
        "from tests.faults.test_trials import GOOD, IS_KILLED, RUN, of, run_sweep\n"
        "run_sweep(of(GOOD, IS_KILLED, GOOD), Path(sys.argv[1]), work=RUN, serial=True)"
    )
    codes = []
    while len(codes) < 5 and 0 not in codes:
        codes.append(subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=REPOSITORY).returncode)
    assert codes == [-9, -9, -9, 0]
    trials = {trial.picks["train.batch"]: trial for trial in read(tmp_path / "simulated")}
    assert {label: trial.ending for label, trial in trials.items()} == {"0": "finished", "1": "failed", "2": "finished"}
    assert trials["1"].reason == "the process that ran it died: killed, out of memory, or a crash in native code"
    assert not (tmp_path / "simulated/running").exists()


def test_deaths_are_counted_over_several_runs_and_from_the_last_new_level(tmp_path):
    from lth_sweep.orchestration.records import Records

    records = Records(tmp_path)
    trial = records.start(0, {})
    for fault in range(2):
        trial = records.fault(trial, f"fault {fault}")
    assert (read(tmp_path), trial.faults, trial.reason) == ([trial], 2, "fault 1")
    trial = records.put_level(records.start(0, {}), Level([record(TrialConfig(), 0, 0)]))
    assert (read(tmp_path), trial.faults, trial.reason) == ([trial], 0, "")
    assert records.fault(trial, "again").faults == read(tmp_path)[0].faults == 1


def test_the_deadline_follows_the_pace_of_the_others():
    from dataclasses import replace

    def level(seconds: float, trained: int = 60, reused: int = 0):
        steps = {"steps_trained": trained, "steps_reused": reused}
        return tuple(replace(record(TrialConfig(), 0, seed), seconds=seconds, **steps) for seed in (0, 1))

    pace, recipe = Pace(), TrialConfig()
    small, large = kind_of(recipe), kind_of(replace(recipe, train=replace(recipe.train, batch=120)))
    assert kind_of(replace(recipe, rate=0.5)) == small
    assert pace.deadline(small) == float("inf")
    pace.note(recipe, [level(1, trained=0, reused=60)])
    assert pace.deadline(small) == float("inf"), "what the store has says nothing of how long training takes"
    pace.note(recipe, [level(1), level(2), level(1)])
    assert pace.deadline(small) == deadline.AT_LEAST
    assert pace.deadline(large) == deadline.AT_LEAST_OTHERS
    pace.note(recipe, [level(50)])
    assert pace.deadline(small) == 10 * 100
    assert pace.deadline(large) == 100 * 100
    pace.note(recipe, [level(50, trained=20, reused=40)])
    assert pace.deadline(small) == 10 * 300
    pace.note(recipe, [(level(200)[0], level(0.1, trained=0, reused=60)[1])])
    assert pace.deadline(small) == 10 * 400
