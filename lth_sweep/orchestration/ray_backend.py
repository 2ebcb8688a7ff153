"""Runs the trials of a sweep with Ray Tune.

Tune schedules and reuses workers; what to run, what to try again, when to stop and what it means is the driver's.
Tune's own retries, logs, checkpoints and searcher state are switched off: the record files and the stages are what a
sweep goes on from. A trial that is tried again is a new one for Tune.
"""

import gc
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_task_oom_retries", "2")  # of a network that is verified; by itself 15

import ray
from ray import tune
from ray._private import ray_constants
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.orchestration import ray_actors
from lth_sweep.orchestration.capacity import Capacity
from lth_sweep.orchestration.deadline import Pace, kind_of
from lth_sweep.orchestration.driver import Driver
from lth_sweep.orchestration.interruption import Interruption
from lth_sweep.orchestration.records import read
from lth_sweep.orchestration.trainable import LevelTrainable
from lth_sweep.orchestration.work import Work
from lth_sweep.remote.run_folder import RunFolder

SETTINGS = {
    "RAY_AIR_NEW_OUTPUT": "0",  # the new one prints even where it should be silent
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # it would stay in place after the sweep
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",
    "TUNE_MAX_PENDING_TRIALS_PG": "1000000",  # how many are under way is for Capacity to say
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_RESULT_BUFFER_LENGTH": "1",  # a trial that should stop must not have begun its next level
    "TUNE_WARN_THRESHOLD_S": "1e9",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}
NO_MEMORY = "out of memory: Ray killed the worker to save the node; with more CPUs a trial, fewer run at a time"
PER_TRIAL = re.compile(r"Failure # \d+ \(.*\)\n")
COLOUR = re.compile(r"\x1b\[\d+m")


def run_on_ray(driver: Driver, work: Work, interruption: Interruption, address: str | None = None) -> None:
    """Run trials until the driver has no more, or a budget is spent: on a local cluster or on the one at `address`.

    Raises KeyboardInterrupt when interrupted, ConfigError where the cluster is not there or has too little, and what
    the driver raises.
    """
    os.environ.update(SETTINGS)
    ray_actors.use()
    with cluster(address):
        interruption.listen()  # Ray has taken SIGTERM
        resources = work.spec.resources
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        folder = RunFolder(driver.folder).tune
        trainable = tune.with_parameters(LevelTrainable, work=work, folder=Path.cwd())
        ask = _Ask(driver, interruption)
        try:
            tune.Tuner(
                tune.with_resources(trainable, {"cpu": resources.cpu, "gpu": resources.gpu}),
                tune_config=tune.TuneConfig(
                    search_alg=_Proposals(ask, Capacity(resources, joined=address is not None)),
                    num_samples=-1,
                    reuse_actors=True,
                ),
                run_config=tune.RunConfig(
                    name="sweep",
                    storage_path=str(folder.absolute()),
                    stop=_Levels(ask),
                    callbacks=[_Ends(ask)],
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                    failure_config=tune.FailureConfig(max_failures=0),
                    verbose=0,
                ),
            ).fit()
        except _Over:
            if ask.error:
                raise ask.error from None
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class _Over(KeyboardInterrupt):
    """A budget is spent, or the driver has failed. Tune ends at once and leaves the trials as they are, as it does for
    Ctrl-C."""


class _Ask:
    """The driver, as the classes below call it. Tune would take an exception in a callback for the trial's."""

    def __init__(self, driver: Driver, interruption: Interruption) -> None:
        self.driver, self._interruption = driver, interruption
        self.pace = Pace.of(driver.spec, read(driver.folder))
        self.starved: set[int] = set()
        """Trials with a worker that was killed because its node was short of memory."""
        self.error: Exception | None = None

    def __getstate__(self) -> dict[str, object]:
        """Nothing: Tune pickles all that it is given, for a restore that is not used here."""
        return {}

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What the function gives; None from the first that raises on."""
        if self.error is None:
            try:
                return function(*arguments)
            except Exception as error:
                self.error = error
        return None

    def check(self) -> None:
        """Called between two events, where nothing is half done."""
        self._interruption.check()
        if self.error or self.driver.spent:
            raise _Over


class _Proposals(Searcher):
    """Asks the driver for the next trial. It is told of levels and ends by the two classes below."""

    def __init__(self, ask: _Ask, capacity: Capacity) -> None:
        super().__init__()
        self.ask, self.capacity = ask, capacity

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        driver = self.ask.driver
        if driver.running >= (1 if self._alone else self.capacity()):
            return None  # to be asked again
        proposal = self.ask(driver.propose)
        if proposal is None:
            return None if driver.running else Searcher.FINISHED
        return {"number": proposal.number, "picks": dict(proposal.picks)}

    @property
    def _alone(self) -> bool:
        """Ray may kill those beside the one that takes all the memory as well: on a machine of its own, each is tried
        again alone, until it has come further."""
        return not self.capacity.joined and any(map(self.ask.driver.faults, self.ask.starved))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None: ...

    def save(self, checkpoint_path: str) -> None: ...

    def restore(self, checkpoint_path: str) -> None: ...

    def get_state(self) -> dict[str, Any]:
        return {}


class _Levels(tune.Stopper):
    """Gives every level to the driver, which says whether the trial stops."""

    def __init__(self, ask: _Ask) -> None:
        self.ask = ask

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        number = result["config"]["number"]
        level, refused = result.pop("level", None), result.pop("refused", None)  # Tune would keep them
        if fault := result.get("fault"):
            self.ask.error = self.ask.error or fault
        if refused:
            self.ask(self.ask.driver.refuse, number, *refused)
        if level is None:
            return False
        self.ask.pace.note(self.ask.driver.spec.recipe(result["config"]["picks"]), [level])
        return bool(self.ask(self.ask.driver.level, number, level))

    def stop_all(self) -> bool:
        self.ask.check()
        return False


class _Ends(tune.Callback):
    """Tells the driver what became of a trial, and kills the worker of one that hangs."""

    def __init__(self, ask: _Ask) -> None:
        self.ask = ask
        self._waiting: dict[Trial, tuple[float, str]] = {}
        """For a level: since when, and of which kind of recipe."""
        self._hung: dict[Trial, str] = {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        recipe = self.ask.driver.spec.recipe(trial.config["picks"])
        self._waiting[trial] = time.monotonic(), kind_of(recipe)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        self.on_trial_start(iteration, trials, trial)

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        now = time.monotonic()
        for trial, (since, kind) in list(self._waiting.items()):
            patience = self.ask.pace.deadline(kind)
            if now - since > patience:
                del self._waiting[trial]
                self._hung[trial] = f"hung: no level within {patience:.0f} seconds, by far the slowest of this sweep"
                ray.kill(trial.temporary_state.ray_actor)  # also one that hangs in native code

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._waiting.pop(trial, None)
        self.ask(self.ask.driver.end, trial.config["number"])

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._waiting.pop(trial, None)
        text = COLOUR.sub("", PER_TRIAL.split(Path(trial.error_file).read_text())[-1]).strip()
        error = self._hung.pop(trial, "") or _reason(text)
        if error == NO_MEMORY:
            self.ask.starved.add(trial.config["number"])
        log = text if error in text else f"{error}\n{text}"
        self.ask(self.ask.driver.attempt_failed, trial.config["number"], error, log)


def _reason(text: str) -> str:
    """Why a worker failed, in one line: the last of a traceback, or how it died."""
    if "Traceback" in text or text.startswith("ray::"):
        return text.splitlines()[-1]
    if "running low on memory" in text:
        return NO_MEMORY
    if "node has died" in text or "node was terminated" in text:
        return "the node that it ran on was lost"
    return "the worker process died: killed, out of memory, or a crash in native code"


@contextmanager
def cluster(address: str | None) -> Iterator[None]:
    """Join the one at `address`, or start one on this machine. One that this process has joined is used as it is."""
    if ray.is_initialized():
        yield
        return
    on_network = ray_constants.ENABLE_RAY_CLUSTER
    if address is None:  # then Ray listens on loopback alone, as it always does on macOS and Windows
        ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        # "local" and not None, which would join what an address file names, even a cluster that is long gone.
        ray.init(address or "local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except ray.exceptions.AuthenticationError as error:
        raise ConfigError(f"Ray's token: {str(error).splitlines()[0]}", "ray_address") from error
    except (ConnectionError, ValueError, RuntimeError) as error:
        if address is None:
            raise
        raise ConfigError(f"cannot join a Ray cluster at {address!r}: {error}", "ray_address") from error
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = on_network
    try:
        yield
    finally:
        # Ray ends the process where, while it shuts down, another thread frees one of its references, of which Tune
        # leaves many in garbage: seen in 12 of 12 sweeps whose report was written meanwhile.
        gc.disable()
        try:
            ray.shutdown()
        finally:
            gc.enable()
