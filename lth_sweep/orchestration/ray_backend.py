"""Runs the trials of a sweep with Ray Tune.

Tune schedules, reuses workers and starts failed trials again; what to run, when to stop and what it means is the
driver's. Tune's own logs, checkpoints and searcher state are switched off: the record files and the stages are what a
sweep goes on from.
"""

import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from lth_sweep.lottery.errors import ConfigError
from lth_sweep.orchestration.driver import RETRIES, Driver
from lth_sweep.orchestration.interruption import Interruption
from lth_sweep.orchestration.trainable import LevelTrainable
from lth_sweep.orchestration.work import Work
from lth_sweep.spec.sweep import Resources

SETTINGS = {
    "RAY_AIR_NEW_OUTPUT": "0",  # the new one prints even where it should be silent
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # it would stay in place after the sweep
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_RESULT_BUFFER_LENGTH": "1",  # a trial that should stop must not have begun its next level
    "TUNE_WARN_THRESHOLD_S": "1e9",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}
PER_TRIAL = re.compile(r"Failure # \d+ \(.*\)\n")
COLOUR = re.compile(r"\x1b\[\d+m")


def run_on_ray(driver: Driver, work: Work, interruption: Interruption, address: str | None = None) -> None:
    """Run trials until the driver has no more, or a budget is spent: on a local cluster or on the one at `address`.

    Raises KeyboardInterrupt when interrupted, and ConfigError where the cluster is not there or has too little.
    """
    os.environ.update(SETTINGS)
    with cluster(address):
        interruption.listen()  # Ray has taken SIGTERM
        resources = work.spec.resources
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        folder = driver.folder / "ray"
        trainable = tune.with_parameters(LevelTrainable, work=work, folder=Path.cwd())
        try:
            tune.Tuner(
                tune.with_resources(trainable, {"cpu": resources.cpu, "gpu": resources.gpu}),
                tune_config=tune.TuneConfig(
                    search_alg=_Proposals(driver),
                    max_concurrent_trials=_capacity(resources),
                    num_samples=-1,
                    reuse_actors=True,
                ),
                run_config=tune.RunConfig(
                    name="sweep",
                    storage_path=str(folder.absolute()),
                    stop=_Levels(driver, interruption),
                    callbacks=[_Ends(driver)],
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                    failure_config=tune.FailureConfig(max_failures=RETRIES),
                    verbose=0,
                ),
            ).fit()
        except _Spent:
            pass
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class _Proposals(Searcher):
    """Asks the driver for the next trial. It is told of levels and ends by the two classes below."""

    def __init__(self, driver: Driver) -> None:
        super().__init__()
        self.driver = driver

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        proposal = self.driver.propose()
        if proposal is None:
            return Searcher.FINISHED
        return {"number": proposal.number, "picks": dict(proposal.picks)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None: ...

    def save(self, checkpoint_path: str) -> None: ...

    def restore(self, checkpoint_path: str) -> None: ...

    def get_state(self) -> dict[str, Any]:
        return {}


class _Spent(KeyboardInterrupt):
    """A budget is. Tune ends at once and leaves the trials as they are, as it does for Ctrl-C."""


class _Levels(tune.Stopper):
    """Gives every level to the driver, which says whether the trial stops."""

    def __init__(self, driver: Driver, interruption: Interruption) -> None:
        self.driver, self.interruption = driver, interruption

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        number = result["config"]["number"]
        level, refused = result.pop("level", None), result.pop("refused", None)  # Tune would keep them
        if refused:
            error, traceback = refused
            self.driver.attempt_failed(number, traceback)
            self.driver.refuse(number, error)
        return level is not None and self.driver.level(number, level)

    def stop_all(self) -> bool:
        self.interruption.check()  # here, between two events, nothing is half done
        if self.driver.spent:
            raise _Spent
        return False


class _Ends(tune.Callback):
    """Tells the driver what became of a trial."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self.driver.end(trial.config["number"])

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._log(trial)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self.driver.end(trial.config["number"], self._log(trial))

    def _log(self, trial: Trial) -> str:
        """Keep the traceback of the last attempt; its last line is the error."""
        text = COLOUR.sub("", PER_TRIAL.split(Path(trial.error_file).read_text())[-1]).strip()
        self.driver.attempt_failed(trial.config["number"], text)
        if "Traceback" in text or text.startswith("ray::"):
            return text.splitlines()[-1]
        return "the worker process died: killed, out of memory, or a crash in native code"


@contextmanager
def cluster(address: str | None) -> Iterator[None]:
    """Join the one at `address`, or start one on this machine. One that this process has joined is used as it is."""
    if ray.is_initialized():
        yield
        return
    try:
        # "local" and not None, which would join what an address file names, even a cluster that is long gone.
        ray.init(address or "local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        if address is None:
            raise
        raise ConfigError(f"cannot join a Ray cluster at {address!r}: {error}", "ray_address") from error
    try:
        yield
    finally:
        ray.shutdown()


def _capacity(resources: Resources) -> int:
    """How many trials the cluster can run at a time."""
    total = ray.cluster_resources()
    slots = {"cpu": total.get("CPU", 0) / resources.cpu}
    if resources.gpu:
        slots["gpu"] = total.get("GPU", 0) / resources.gpu
    scarce = min(slots, key=lambda name: slots[name])
    if slots[scarce] < 1:
        found = total.get(scarce.upper(), 0)
        raise ConfigError(
            f"a trial asks for {getattr(resources, scarce):g}, but the cluster has {found:g} in all",
            f"resources.{scarce}",
        )
    return int(slots[scarce] + 1e-9)
