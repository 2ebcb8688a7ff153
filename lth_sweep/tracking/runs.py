"""The runs of one sweep in MLflow: found again by their tags, brought up to date, never doubled."""

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from time import time
from typing import Any

from lth_sweep.lottery.data import Data
from lth_sweep.search.storage import sweep_id
from lth_sweep.sweepfile.document import mask
from lth_sweep.sweepfile.spec import SweepSpec
from lth_sweep.tracking.model import register
from lth_sweep.tracking.origin import dataset, environment
from lth_sweep.tracking.recipe import cut, renamed
from lth_sweep.tracking.recipe import key as clean
from lth_sweep.tracking.store import connect, is_local, is_passing, locate
from lth_sweep.tracking.update import LoggedRun, Sample, Status, Update

ENTITIES_PER_CALL = 1000
LABELS_PER_CALL = 100
"""Params, and as many tags."""
LONGEST_TAG = 8000
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""So that the UI shows the pages for training, not those for language models."""


class Runs:
    """Sends updates. Every method may be called again after an error, and goes on where it was."""

    def __init__(self, spec: SweepSpec, folder: Path, say: Callable[[str], None] | None = None) -> None:
        """Of the sweep in `folder`, which is runs/NAME. `say`: see `connect`."""
        self.place = locate(folder.parent, spec.tracking.uri)
        self._say, self._sweep, self._sweep_id = say, spec.name, sweep_id(folder)
        self._common_tags = environment()
        self._client: Any = None
        self._experiment = ""
        self._runs: dict[int | None, LoggedRun] | None = None
        self._unsure: set[int | None] = set()
        """Runs whose creation was asked for and not confirmed."""
        self.unsent: list[str] = []
        """Artifacts, models and data sets that could not be written."""
        self._left: list[str] = []
        """Whose they were that a killed sweep has left RUNNING."""
        self.sent = Counter[str]()
        """Values of metrics, and runs that were made and that were replaced."""

    def open(self) -> dict[int | None, LoggedRun]:
        """The runs by trial number, the parent under None. The first call connects, makes what is not there, and ends
        the trials that a killed sweep has left RUNNING; those that continue are opened again by their next update."""
        if self._runs is None:
            self._client = self._client or connect(self.place, self._say)
            self._experiment = self._find_experiment()
            runs = dict(self._search())
            for trial, run in runs.items():
                if trial is not None and run.status == "RUNNING":
                    self._kill(trial, run)
            self._runs = runs
        return self._runs

    def end_left(self) -> list[str]:
        """End all runs that a sweep which nobody runs has left RUNNING, also the sweep's own. Whose they were."""
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
                artifacts = (self.place.artifacts / self._sweep).as_uri() if self.place.artifacts else None
                return str(self._client.create_experiment(self._sweep, artifacts, EXPERIMENT_TAGS))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = self._client.get_experiment_by_name(self._sweep)
        if found.lifecycle_stage == "deleted":  # by hand, in the UI; its name stays taken
            self._client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def _search(self) -> Iterable[tuple[int | None, LoggedRun]]:
        condition, token = f"tags.`lth.sweep_id` = '{self._sweep_id}'", None
        while True:
            page = self._client.search_runs([self._experiment], condition, max_results=1000, page_token=token)
            for run in page:
                number = run.data.tags.get("lth.trial_number")
                metrics = run.data.to_proto().metrics  # the one public view that has the steps
                clock = max([run.info.start_time, *(metric.timestamp for metric in metrics)])
                yield None if number is None else int(number), LoggedRun(
                    run.info.run_id, run.info.status, dict(run.data.params), dict(run.data.tags),
                    dict(run.data.metrics), {metric.key: metric.step for metric in metrics}, clock,
                    {one.dataset.digest for one in run.inputs.dataset_inputs})  # fmt: skip
            token = page.token
            if not token:
                return

    def _create(self, update: Update, runs: dict[int | None, LoggedRun]) -> LoggedRun:
        if update.trial in self._unsure:  # the answer may have been lost on its way
            runs.update(self._search())
        if update.trial not in runs:
            tags = {"mlflow.runName": update.name, "lth.sweep": self._sweep, "lth.sweep_id": self._sweep_id}
            if update.trial is not None:
                tags |= {"lth.trial_number": str(update.trial), "mlflow.parentRunId": runs[None].id}
            tags = {name: cut(value, LONGEST_TAG) for name, value in (self._common_tags | tags | update.tags).items()}
            self._unsure.add(update.trial)
            created = self._client.create_run(self._experiment, tags=tags)
            self.sent["made"] += 1
            runs[update.trial] = LoggedRun(created.info.run_id, "RUNNING", {}, tags, {}, {}, created.info.start_time)
        return runs[update.trial]

    def _log(self, run: LoggedRun, update: Update) -> None:
        """The update's metrics, params and tags that the run does not have yet."""
        samples = [sample for sample in update.samples if sample.step > run.steps.get(sample.key, -1)]
        # Of two values at one step MLflow shows the one with the later time, and a clock may have been put back.
        now = run.clock = max(int(time() * 1000), run.clock + 1)
        samples += [Sample(key, value, 0, now) for key, value in update.summary.items()
                    if run.metrics.get(key) != value and not (value != value and key in run.metrics)]  # fmt: skip
        params = [(key, value) for key, value in update.params.items() if key not in run.params]
        # A param never changes in MLflow. Where a continued sweep has another value, a tag has it.
        changed = {clean(f"changed.{key}"): value for key, value in update.params.items()
                   if run.params.get(key, value) != value}  # fmt: skip
        if update.found and (name := renamed(run.tags["mlflow.runName"], update.name, update.found)):
            changed["mlflow.runName"] = name
        tags = {name: cut(value, LONGEST_TAG) for name, value in (changed | update.tags).items()}
        labels = [(name, value) for name, value in tags.items() if run.tags.get(name) != value]
        while samples or params or labels:
            some_params, some_labels = params[:LABELS_PER_CALL], labels[:LABELS_PER_CALL]
            room = ENTITIES_PER_CALL - len(some_params) - len(some_labels)
            self._send(run, samples[:room], some_params, some_labels)
            samples, params, labels = samples[room:], params[LABELS_PER_CALL:], labels[LABELS_PER_CALL:]

    def _send(self, run: LoggedRun, samples: list[Sample], params: list[tuple[str, str]],
              tags: list[tuple[str, str]]) -> None:  # fmt: skip
        from mlflow.entities import Metric, Param, RunTag

        metrics = [Metric(sample.key, sample.value, sample.timestamp, sample.step) for sample in samples]
        self._client.log_batch(run.id, metrics, [Param(*param) for param in params], [RunTag(*tag) for tag in tags])
        self.sent["values"] += len(samples)
        run.metrics.update({sample.key: sample.value for sample in samples})
        run.steps.update({sample.key: sample.step for sample in samples})
        run.params.update(params)
        run.tags.update(tags)

    def _log_data(self, data: Data, runs: list[LoggedRun]) -> None:
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

    def _kill(self, trial: int | None, run: LoggedRun) -> None:
        self._send(run, [], [], [("lth.ending", "interrupted"), ("lth.reason", "the sweep was killed")])
        self._end(run, "KILLED")
        self._left.append("the sweep's own" if trial is None else f"trial {trial}'s")

    def _end(self, run: LoggedRun, status: Status) -> None:
        self._client.set_terminated(run.id, status, end_time=max(int(time() * 1000), run.clock))
        run.status = status
