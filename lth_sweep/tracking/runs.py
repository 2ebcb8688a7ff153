"""The runs of one sweep in MLflow: found again by their tags, brought up to date, never doubled."""

from collections import Counter
from collections.abc import Callable, Iterable
from time import time
from typing import Any

from lth_sweep.lottery.data import Data
from lth_sweep.sweepfile.secrets import mask
from lth_sweep.tracking.dataset import dataset
from lth_sweep.tracking.metrics import Point
from lth_sweep.tracking.model import register
from lth_sweep.tracking.recipe import cut, renamed
from lth_sweep.tracking.recipe import key as clean
from lth_sweep.tracking.store import is_local, is_passing
from lth_sweep.tracking.update import Run, Status, Update

ENTITIES_PER_CALL = 1000
LABELS_PER_CALL = 100
"""Params, and as many tags."""
LONGEST_TAG = 8000
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""So that the UI shows the pages for training, not those for language models."""


class Runs:
    """Sends updates. Every method may be called again after an error, and goes on where it was."""

    def __init__(self, connect: Callable[[], Any], sweep: str, sweep_id: str, artifacts: str | None,
                 common_tags: dict[str, str]) -> None:  # fmt: skip
        self._connect = connect
        self._sweep, self._sweep_id, self._artifacts = sweep, sweep_id, artifacts
        self._common_tags = common_tags
        self._client: Any = None
        self._experiment = ""
        self._runs: dict[int | None, Run] | None = None
        self._unsure: set[int | None] = set()
        """Runs whose creation was asked for and not confirmed."""
        self.unsent: list[str] = []
        """Artifacts, models and data sets that could not be written."""
        self._left: list[int | None] = []
        """Those that a killed sweep has left RUNNING."""
        self.sent = Counter[str]()
        """Values of metrics, and runs that were made and that were replaced."""

    def open(self) -> dict[int | None, Run]:
        """The runs by trial number, the parent under None. The first call connects, makes what is not there, and ends
        the trials that a killed sweep has left RUNNING; those that continue are opened again by their next update."""
        if self._runs is None:
            self._client = self._client or self._connect()
            self._experiment = self._find_experiment()
            runs = dict(self._search(f"tags.`lth.sweep_id` = '{self._sweep_id}'"))
            for trial, run in runs.items():
                if trial is not None and run.status == "RUNNING":
                    self._kill(trial, run)
            self._runs = runs
        return self._runs

    def end_left(self) -> list[int | None]:
        """End all runs that are RUNNING, also the sweep's own, where nobody runs it. Whose they were."""
        for trial, run in self.open().items():
            if run.status == "RUNNING":
                self._kill(trial, run)
        return self._left

    def apply(self, update: Update) -> None:
        """Bring a run up to date. The status is last: a run that has ended is complete."""
        runs = self.open()
        if update.trial is not None and None not in runs:
            self.apply(Update(None, self._sweep))
        if update.whole and update.trial in runs and runs[update.trial].contradicts(update):
            self._client.delete_run(runs.pop(update.trial).id)  # what it says cannot be changed
            self.sent["replaced"] += 1
        run = runs.get(update.trial) or self._create(update, runs)
        if update.status == "RUNNING" != run.status:
            self._client.update_run(run.id, status="RUNNING")
            run.status = "RUNNING"
        self._log(run, update)
        if update.data:
            self._try(f"data set {update.data.kind}", self._log_data, update.data, [run, runs[None]])
        for name, text in update.files.items():
            self._try(name, self._client.log_text, run.id, text, name)
        if update.best:
            name = f"lth-{self._sweep}"
            self._try(f"model {name}", register, self._client, name, self._sweep_id, self._experiment, run.id,
                      update.best)  # fmt: skip
        if update.status and update.status != run.status:
            self._end(run, update.status)

    def drop_tags(self, prefix: str, keep: Iterable[str]) -> None:
        """Remove the parent's tags that begin with `prefix`, but for those to keep."""
        run = self.open().get(None)
        if run is None:
            return
        for name in [name for name in run.tags if name.startswith(prefix) and name not in keep]:
            self._client.delete_tag(run.id, name)
            del run.tags[name]

    def _find_experiment(self) -> str:
        found = self._client.get_experiment_by_name(self._sweep)
        if found is None:
            from mlflow.exceptions import MlflowException

            try:
                return str(self._client.create_experiment(self._sweep, self._artifacts, EXPERIMENT_TAGS))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = self._client.get_experiment_by_name(self._sweep)
        if found.lifecycle_stage == "deleted":  # by hand, in the UI; its name stays taken
            self._client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def _search(self, condition: str) -> Iterable[tuple[int | None, Run]]:
        token = None
        while True:
            page = self._client.search_runs([self._experiment], condition, max_results=1000, page_token=token)
            for run in page:
                number = run.data.tags.get("lth.trial_number")
                metrics = run.data.to_proto().metrics  # the one public view that has the steps
                clock = max([run.info.start_time, *(metric.timestamp for metric in metrics)])
                yield None if number is None else int(number), Run(
                    run.info.run_id, run.info.status, dict(run.data.params), dict(run.data.tags),
                    dict(run.data.metrics), {metric.key: metric.step for metric in metrics}, clock,
                    {one.dataset.digest for one in run.inputs.dataset_inputs})  # fmt: skip
            token = page.token
            if not token:
                return

    def _create(self, update: Update, runs: dict[int | None, Run]) -> Run:
        if update.trial in self._unsure:  # the answer may have been lost on its way
            runs.update(self._search(f"tags.`lth.sweep_id` = '{self._sweep_id}'"))
        if update.trial not in runs:
            tags = {"mlflow.runName": update.name, "lth.sweep": self._sweep, "lth.sweep_id": self._sweep_id}
            if update.trial is not None:
                tags |= {"lth.trial_number": str(update.trial), "mlflow.parentRunId": runs[None].id}
            tags = {name: cut(value, LONGEST_TAG) for name, value in (self._common_tags | tags | update.tags).items()}
            self._unsure.add(update.trial)
            created = self._client.create_run(self._experiment, tags=tags)
            self.sent["made"] += 1
            runs[update.trial] = Run(created.info.run_id, "RUNNING", {}, tags, {}, {}, created.info.start_time)
        return runs[update.trial]

    def _log(self, run: Run, update: Update) -> None:
        """The update's metrics, params and tags that the run does not have yet."""
        points = [point for point in update.points if point.step > run.steps.get(point.key, -1)]
        # Of two values at one step MLflow shows the one with the later time, and a clock may have been put back.
        now = run.clock = max(int(time() * 1000), run.clock + 1)
        points += [Point(key, value, 0, now) for key, value in update.summary.items()
                   if run.metrics.get(key) != value and not (value != value and key in run.metrics)]  # fmt: skip
        params = [(key, value) for key, value in update.params.items() if key not in run.params]
        # A param never changes in MLflow. Where a continued sweep has another value, a tag has it.
        changed = {clean(f"changed.{key}"): value for key, value in update.params.items()
                   if run.params.get(key, value) != value}  # fmt: skip
        if update.found and (name := renamed(run.tags["mlflow.runName"], update.name, update.found)):
            changed["mlflow.runName"] = name
        tags = {name: cut(value, LONGEST_TAG) for name, value in (changed | update.tags).items()}
        labels = [(name, value) for name, value in tags.items() if run.tags.get(name) != value]
        while points or params or labels:
            some_params, some_labels = params[:LABELS_PER_CALL], labels[:LABELS_PER_CALL]
            room = ENTITIES_PER_CALL - len(some_params) - len(some_labels)
            self._send(run, points[:room], some_params, some_labels)
            points, params, labels = points[room:], params[LABELS_PER_CALL:], labels[LABELS_PER_CALL:]

    def _send(self, run: Run, points: list[Point], params: list[tuple[str, str]], tags: list[tuple[str, str]]) -> None:
        from mlflow.entities import Metric, Param, RunTag

        metrics = [Metric(point.key, point.value, point.timestamp, point.step) for point in points]
        self._client.log_batch(run.id, metrics, [Param(*param) for param in params], [RunTag(*tag) for tag in tags])
        self.sent["values"] += len(points)
        run.metrics.update({point.key: point.value for point in points})
        run.steps.update({point.key: point.step for point in points})
        run.params.update(params)
        run.tags.update(tags)

    def _log_data(self, data: Data, runs: list[Run]) -> None:
        found = dataset(data)
        for run in runs:
            if found.dataset.digest not in run.data:
                self._client.log_inputs(run.id, datasets=[found])
                run.data.add(found.dataset.digest)

    def _try(self, what: str, call: Callable[..., object], *arguments: object) -> None:
        """What cannot be written does not hold up the metrics behind it; it is tried again where that may help."""
        try:
            call(*arguments)
        except Exception as error:
            if is_passing(error) and not is_local(error):
                raise
            self.unsent.append(f"{what}: {mask(str(error))}")

    def _kill(self, trial: int | None, run: Run) -> None:
        self._send(run, [], [], [("lth.ending", "interrupted"), ("lth.reason", "the sweep was killed")])
        self._end(run, "KILLED")
        self._left.append(trial)

    def _end(self, run: Run, status: Status) -> None:
        self._client.set_terminated(run.id, status, end_time=max(int(time() * 1000), run.clock))
        run.status = status
