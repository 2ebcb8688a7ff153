"""The trials of a search as Ray Tune's, see `executor`. A trial's step is one level."""

import logging
import os
import re
import shutil
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.air.execution._internal import RayActorManager
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.tune.execution import tune_controller
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from lth_sweep.disk import storage_fault
from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.records import Level
from lth_sweep.orchestration.capacity import Capacity
from lth_sweep.orchestration.deadline import Pace, kind_of
from lth_sweep.orchestration.driver import Driver
from lth_sweep.orchestration.interruption import Interruption
from lth_sweep.orchestration.records import read
from lth_sweep.orchestration.work import Work, go_to
from lth_sweep.remote.run_folder import RunFolder

SETTINGS = {
    "RAY_AIR_NEW_OUTPUT": "0",  # the new one prints even where it should be silent
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # it would stay in place after the sweep
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",
}
"""What Tune has no argument for."""
UNLIMITED = 10**6
"""Trials under way, for Tune: how many there are is for Capacity to say."""
NO_MEMORY = "out of memory: Ray killed the worker to save the node; with more CPUs a trial, fewer run at a time"
PER_TRIAL = re.compile(r"Failure # \d+ \(.*\)\n")
COLOUR = re.compile(r"\x1b\[\d+m")


def search(driver: Driver, work: Work, interruption: Interruption, capacity: Capacity) -> None:
    """What `Executor.search` does, on the cluster that this process has joined."""
    os.environ.update(SETTINGS)
    tune_controller.RayActorManager = _Actors
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    resources, folder = work.spec.resources, RunFolder(driver.folder).tune
    trainable = tune.with_parameters(LevelTrainable, work=work, folder=Path.cwd())
    trials = _Trials(driver, interruption)
    try:
        tune.Tuner(
            tune.with_resources(trainable, {"cpu": resources.cpu, "gpu": resources.gpu}),
            tune_config=tune.TuneConfig(
                search_alg=_Proposals(trials, capacity),
                num_samples=-1,
                max_concurrent_trials=UNLIMITED,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=str(folder.absolute()),
                stop=trials,
                callbacks=[trials],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=0),
                verbose=0,
            ),
        ).fit()
    except _Over:
        if trials.error:
            raise trials.error from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class LevelTrainable(tune.Trainable):
    """What runs in a worker: one trial after the other."""

    def setup(self, config: dict[str, Any], work: Work, folder: Path) -> None:
        self.work, self.folder = work, folder
        self.levels: Iterator[Level] = iter(())
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        go_to(self.folder)
        self.picks = new_config["picks"]
        self.levels = self.work.levels(self.picks)
        return True

    def step(self) -> dict[str, Any]:
        try:
            level = next(self.levels, None)
            # With the last level, and not after it: a round trip less.
            return {"level": level, "done": level is None or self.work.is_last(level, self.picks)}
        except ConfigError as error:
            return {"refused": (f"ConfigError: {error}", traceback.format_exc()), "done": True}
        except Exception as error:
            if (fault := storage_fault(error)) is None:
                raise
            return {"fault": fault, "done": True}

    def cleanup(self) -> None:
        self.levels = iter(())


class _Over(KeyboardInterrupt):
    """A budget is spent, or the driver has failed. Tune ends at once and leaves the trials as they are, as it does for
    Ctrl-C."""


class _Trials(tune.Callback, tune.Stopper):
    """Gives every level to the driver, which says whether the trial stops, and tells it what became of a trial; kills
    the worker of one that hangs."""

    def __init__(self, driver: Driver, interruption: Interruption) -> None:
        self.driver, self._interruption = driver, interruption
        self._pace = Pace.of(driver.spec, read(driver.folder))
        self.starved: set[int] = set()
        """Trials with a worker that was killed because its node was short of memory."""
        self.error: Exception | None = None
        """The driver's, or the storage's."""
        self._waiting: dict[Trial, tuple[float, str]] = {}
        """For a level: since when, and of which kind of recipe."""
        self._hung: dict[Trial, str] = {}

    def __getstate__(self) -> dict[str, object]:
        """Nothing: Tune pickles all that it is given, for a restore that is not used here."""
        return {}

    def ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What a function of the driver gives; None from the first that raises on, which Tune would take for the
        trial's."""
        if self.error is None:
            try:
                return function(*arguments)
            except Exception as error:
                self.error = error
        return None

    def stop_all(self) -> bool:
        """Called between two events, where nothing is half done."""
        self._interruption.check()
        if self.error or self.driver.spent:
            raise _Over
        return False

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        number = result["config"]["number"]
        level, refused = result.pop("level", None), result.pop("refused", None)  # Tune would keep them
        if fault := result.get("fault"):
            self.error = self.error or fault
        if refused:
            self.ask(self.driver.refuse, number, *refused)
        if level is None:
            return False
        self._pace.note(self.driver.spec.recipe(result["config"]["picks"]), [level])
        return bool(self.ask(self.driver.level, number, level))

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        recipe = self.driver.spec.recipe(trial.config["picks"])
        self._waiting[trial] = time.monotonic(), kind_of(recipe)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        self.on_trial_start(iteration, trials, trial)

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        now = time.monotonic()
        for trial, (since, kind) in list(self._waiting.items()):
            patience = self._pace.deadline(kind)
            if now - since > patience:
                del self._waiting[trial]
                self._hung[trial] = f"hung: no level within {patience:.0f} seconds, by far the slowest of this sweep"
                ray.kill(trial.temporary_state.ray_actor)  # also one that hangs in native code

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._waiting.pop(trial, None)
        self.ask(self.driver.end, trial.config["number"])

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._waiting.pop(trial, None)
        text = COLOUR.sub("", PER_TRIAL.split(Path(trial.error_file).read_text())[-1]).strip()
        error = self._hung.pop(trial, "") or _reason(text)
        if error == NO_MEMORY:
            self.starved.add(trial.config["number"])
        log = text if error in text else f"{error}\n{text}"
        self.ask(self.driver.attempt_failed, trial.config["number"], error, log)


class _Proposals(Searcher):
    """Asks the driver for the next trial. It is told of levels and ends by `_Trials`."""

    def __init__(self, trials: _Trials, capacity: Capacity) -> None:
        super().__init__()
        self._trials, self._capacity = trials, capacity

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        driver = self._trials.driver
        if driver.running >= (1 if self._alone else self._capacity()):
            return None  # to be asked again
        proposal = self._trials.ask(driver.propose)
        if proposal is None:
            return None if driver.running else Searcher.FINISHED
        return {"number": proposal.number, "picks": dict(proposal.picks)}

    @property
    def _alone(self) -> bool:
        """Ray may kill those beside the one that takes all the memory as well: on a machine of its own, each is tried
        again alone, until it has come further."""
        return not self._capacity.joined and any(map(self._trials.driver.faults, self._trials.starved))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None: ...

    def save(self, checkpoint_path: str) -> None: ...

    def restore(self, checkpoint_path: str) -> None: ...

    def get_state(self) -> dict[str, Any]:
        return {}


class _Actors(RayActorManager):
    """Tune's workers, as its controller handles them: whatever Ray loses one by, its trial has failed, not the sweep.

    Ray has several errors for that, and Tune knows one of them. It ends with "Caught unexpected exception" where a
    worker was killed because its node was short of memory, or where a node was lost with a result on it (seen in Ray
    2.60, `RayActorManager._actor_task_failed`).
    """

    def _actor_task_failed(self, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, RayError) and not isinstance(exception, RayActorError | RayTaskError):
            exception = RayActorError(error_msg=str(exception))
        super()._actor_task_failed(tracked_actor_task, exception)


def _reason(text: str) -> str:
    """Why a worker failed, in one line: the last of a traceback, or how it died."""
    if "Traceback" in text or text.startswith("ray::"):
        return text.splitlines()[-1]
    if "running low on memory" in text:
        return NO_MEMORY
    if "node has died" in text or "node was terminated" in text:
        return "the node that it ran on was lost"
    return "the worker process died: killed, out of memory, or a crash in native code"
