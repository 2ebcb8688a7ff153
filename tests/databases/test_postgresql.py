"""Optuna and MLflow on a real PostgreSQL server, which two sweeps share, and which goes away."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import mlflow
import optuna
import pytest
from optuna.trial import TrialState

from lth_sweep.disk import Patience, StorageAway
from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.orchestration.records import read
from lth_sweep.orchestration.running import run_sweep
from lth_sweep.search import storage
from lth_sweep.search.study import SweepStudy
from lth_sweep.sweepfile.spec import Search, SweepSpec, Tracking
from lth_sweep.tracking import MlflowListener
from tests.orchestration.specs import sweep
from tests.postgres import BINARIES, Postgres, postgres

pytestmark = pytest.mark.skipif(BINARIES is None, reason="PostgreSQL is not installed")
RUN = "tests.orchestration.simulated:run"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


def on(spec: SweepSpec, study: str, tracking: str) -> SweepSpec:
    return replace(spec, search=replace(spec.search, storage=study), tracking=Tracking(tracking))


def results(runs: Path) -> list[object]:
    return [(trial.number, trial.picks, trial.outcome, trial.levels) for trial in read(runs / "simulated")]


def told(url: str, runs: Path) -> list[tuple[int, TrialState]]:
    name = f"simulated-{(runs / 'simulated/sweep-id').read_text()}"
    return [(trial.number, trial.state) for trial in optuna.load_study(study_name=name, storage=url).get_trials()]


def logged(uri: str, runs: Path) -> dict[str | None, tuple[str, float | None]]:
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("simulated").experiment_id
    sweep_id = (runs / "simulated/sweep-id").read_text()
    found = client.search_runs([experiment], f"tags.`lth.sweep_id` = '{sweep_id}'")
    assert len({run.data.tags.get("lth.trial_number") for run in found}) == len(found), "a run is doubled"
    return {run.data.tags.get("lth.trial_number"): (run.info.status, run.data.metrics.get("steps_trained"))
            for run in found}  # fmt: skip


def test_two_drivers_that_are_the_first_to_use_two_databases_at_once(server: Postgres, tmp_path: Path) -> None:
    study, tracking = server.database("study_two"), server.database("tracking_two")
    script = (
        "import sys; from pathlib import Path\n"
        "from lth_sweep.orchestration.running import run_sweep\n"
        "from lth_sweep.tracking import MlflowListener\n"
        "from tests.databases.test_postgresql import on\n"
        "from tests.orchestration.specs import sweep\n"
        f"spec = on(sweep(6, seed=int(sys.argv[2])), {study!r}, {tracking!r})\n"
        "listener = MlflowListener()\n"
        f"run_sweep(spec, Path(sys.argv[1]), serial=True, work={RUN!r}, listeners=[listener])\n"
        "assert listener.missing == [], listener.missing\n"
    )
    drivers = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path / seed), seed], cwd=ROOT, stderr=subprocess.PIPE)
        for seed in ("0", "1")
    ]
    for driver in drivers:
        _, errors = driver.communicate(timeout=300)
        assert driver.returncode == 0, errors.decode()
    for seed in (0, 1):
        runs, alone = tmp_path / str(seed), tmp_path / f"alone-{seed}"
        run_sweep(sweep(6, seed=seed), alone, serial=True, work=RUN)
        assert results(runs) == results(alone)
        assert told(study, runs) == [(number, TrialState.COMPLETE) for number in range(6)]
        trials = {str(trial.number): ("FINISHED", trial.steps_trained) for trial in read(runs / "simulated")}
        found = logged(tracking, runs)
        assert {number: found[number] for number in trials} == trials
        assert len(found) == 7
    assert results(tmp_path / "0") != results(tmp_path / "1")


class Crashes:
    """A listener that crashes the server when the third trial ends, and does something two seconds later."""

    def __init__(self, server: Postgres, later: Callable[[], None] = lambda: None) -> None:
        self.server, self.later = server, threading.Timer(2, later)

    def trial_ended(self, proposal, ending, outcome, reason="", steps_saved=0) -> None:
        if proposal.number == 2 and ending != "interrupted":
            self.server.stop()
            self.later.start()

    def __getattr__(self, name):
        return lambda *arguments: None


def test_a_server_that_crashes_and_comes_back_in_the_middle_of_a_sweep(server: Postgres, tmp_path: Path) -> None:
    study, tracking = server.database("study_away"), server.database("tracking_away")
    listener, crashes = MlflowListener(say=lambda message: None), Crashes(server, server.start)
    result = run_sweep(on(sweep(6), study, tracking), tmp_path, serial=True, work=RUN, listeners=[listener, crashes])
    crashes.later.join()
    assert result.ending == "finished"
    assert listener.missing == []
    run_sweep(sweep(6), tmp_path / "unbroken", serial=True, work=RUN)
    assert results(tmp_path) == results(tmp_path / "unbroken")
    assert told(study, tmp_path) == [(number, TrialState.COMPLETE) for number in range(6)]
    found = logged(tracking, tmp_path)
    assert {status for status, _ in found.values()} == {"FINISHED"}
    assert sorted(map(str, found)) == ["0", "1", "2", "3", "4", "5", "None"]


def test_a_server_that_stays_away_ends_the_sweep_and_the_next_run_goes_on(
    server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is waited for once, and not again to put back what was asked for."""
    spec = replace(sweep(6), search=replace(sweep(6).search, storage=server.database("study_gone")))
    monkeypatch.setattr(storage, "AWAY_SECONDS", 3.0)
    waited: list[float] = []

    def wait(self: Patience, seconds: float, wait: Callable[..., None] = Patience.wait) -> None:
        waited.append(seconds)
        wait(self, seconds)

    monkeypatch.setattr(Patience, "wait", wait)
    address = f"postgresql://sweeps@127.0.0.1:{server.port}/study_gone"
    with pytest.raises(StorageAway, match=rf"^cannot reach {address}: connection .*refused"):
        run_sweep(spec, tmp_path, serial=True, work=RUN, listeners=[Crashes(server)])
    assert 3.0 <= sum(waited) + storage.PAUSE_SECONDS <= 4.0
    server.start()
    assert_goes_on(spec, tmp_path)


def test_a_signal_ends_a_sweep_that_waits_for_its_server(server: Postgres, tmp_path: Path) -> None:
    """At once, where it would have waited for ten minutes."""
    spec = replace(sweep(6), search=replace(sweep(6).search, storage=server.database("study_signal")))
    crashes = Crashes(server, lambda: os.kill(os.getpid(), signal.SIGTERM))
    started = time.monotonic()
    assert run_sweep(spec, tmp_path, serial=True, work=RUN, listeners=[crashes]).ending == "interrupted"
    assert time.monotonic() - started < storage.AWAY_SECONDS / 10
    server.start()
    assert_goes_on(spec, tmp_path)


def assert_goes_on(spec: SweepSpec, runs: Path) -> None:
    assert len(read(runs / "simulated")) == 3
    assert run_sweep(spec, runs, serial=True, work=RUN).ending == "finished"
    run_sweep(sweep(6), runs / "unbroken", serial=True, work=RUN)
    assert results(runs) == results(runs / "unbroken")
    assert told(spec.search.storage or "", runs) == [(number, TrialState.COMPLETE) for number in range(6)]


def test_a_server_that_takes_a_connection_and_never_answers_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "CONNECT_SECONDS", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://sweeps:secret@127.0.0.1:{silent.getsockname()[1]}/none?application_name=hidden"
        with pytest.raises(ConfigError, match=r"cannot open postgresql://sweeps:\*\*\*@127.0.0.1:\d+/none: .*timeout"):
            storage.server(url)


def test_the_environment_names_the_database_for_a_sweep_file_that_does_not(
    server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.database("study_environment")
    monkeypatch.setenv("LTH_SWEEP_STORAGE", url)
    (tmp_path / "s").mkdir()
    study = SweepStudy(replace(sweep(2), name="s"), tmp_path / "s/optuna.db")
    assert study.ask()[0] == 0
    study.close()
    assert [one.study_name for one in optuna.get_all_study_summaries(url)] == [f"s-{study_id(tmp_path / 's')}"]
    assert not (tmp_path / "s/optuna.db").exists()


def study_id(folder: Path) -> str:
    return (folder / "sweep-id").read_text()


def test_what_cannot_be_used_is_said(server: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"cannot open postgresql://sweeps@127.0.0.1:\d+/none: .*does not exist"):
        storage.server(f"postgresql://sweeps@127.0.0.1:{server.port}/none")
    with pytest.raises(ConfigError, match=r"cannot open postgresql://sweeps:\*\*\*@127.0.0.1:9/none"):
        storage.server("postgresql://sweeps:secret@127.0.0.1:9/none")
    url = server.database("mlflows")
    mlflow.MlflowClient(url).search_experiments(max_results=1)
    with pytest.raises(ConfigError, match="is MLflow's, and Optuna cannot share it"):
        storage.server(url)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite:///optuna.db", "must be a PostgreSQL database, .* but its scheme is 'sqlite'"),
        ("postgresql://ann:secret@host/optuna", "has a password, .*; leave it to the environment variable PGPASSWORD"),
        ("postgresql://host/optuna?user=ann&password=secret", "has a password, which would be kept with the results"),
    ],
)
def test_what_a_sweep_file_cannot_name(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        Search(storage=url)
    assert refused.value.path == "storage"
    assert "secret" not in refused.value.message
