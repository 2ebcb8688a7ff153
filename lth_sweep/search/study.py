"""The Optuna study of a sweep: in a file in the sweep's folder, or on a server that several sweeps share."""

import contextlib
import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

import optuna
from optuna.storages import InMemoryStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from lth_sweep.disk import StorageAway, is_full, set_aside
from lth_sweep.lottery.common.identity import derive
from lth_sweep.remote.run_folder import RunFolder
from lth_sweep.search import frugal, samplers, storage
from lth_sweep.search.axes import distribution, suggest
from lth_sweep.search.objective import Measured
from lth_sweep.search.trial import TrialRecord
from lth_sweep.sweepfile.axis import Pick
from lth_sweep.sweepfile.spec import SweepSpec

STORAGE = "LTH_SWEEP_STORAGE"
"""The environment variable with the URL of the database for sweeps whose file names none."""
CONSTRAINT = "match"


class SweepStudy:
    """Asks for trials and tells what became of them. Every trial asked for is told, or put back to be asked again.

    A trial with a level that matches is COMPLETE with its sizes and a constraint of 0 or less. One without is COMPLETE
    too, with the sizes of the level that came nearest and, as the constraint, by how much it missed; all were measured.
    TPE ranks such trials by the constraint alone, and `best_trial` skips them. One that cannot be judged is FAIL, and
    one that was stopped before it could be, since it could not have become the smallest, is PRUNED.
    """

    def __init__(self, spec: SweepSpec, path: Path | None, tried: Iterable[Mapping[str, Pick]] = ()) -> None:
        """On the server that the sweep file or the environment names, else in the SQLite file at `path`; for
        simulations, without a path, in memory. `tried`: the picks of the trials on record, which a sampler with a fixed
        list of points does not take again."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.spec = spec
        url = server_of(spec)
        self._name = f"{spec.name}-{storage.sweep_id(path.parent)}" if path and url else spec.name
        self._distributions = {axis.path: distribution(axis) for axis in spec.space}
        self._asked: dict[int, optuna.Trial] = {}
        self._noted: dict[int, frugal.Known] = {}
        try:
            trials = self._open(path, url)
        except Exception as error:  # of any kind: that is what a damaged database leads to
            if url or not path or not path.exists() or is_full(error) or "locked" in str(error):
                raise
            set_aside(path, RunFolder(path.parent).damaged)  # the records have all that was in it
            trials = self._open(path, url)
        self.count = len(trials)
        """Trials so far; the next has this number."""
        self._tried = list(tried)
        picked = [trial.params or trial.system_attrs.get("fixed_params", {}) for trial in trials[len(self._tried) :]]
        self._points = samplers.points_left(spec, [*self._tried, *picked])

    @property
    def limit(self) -> int:
        """Trials that the sweep is to have in all."""
        trials = self.spec.search.trials
        return trials if self._points is None else min(trials, self.count + len(self._points))

    def ask(self) -> tuple[int, dict[str, Pick]]:
        """The number and the picks of a new trial."""
        if (picks := self._next()) is not None:
            self.study.enqueue_trial(dict(picks))
        self.count += 1
        return self._take()

    def add(self) -> None:
        """Put in a new trial, to be among the unfinished ones."""
        self.study.enqueue_trial(dict(self._next() or {}))
        self.count += 1

    def _next(self) -> Mapping[str, Pick] | None:
        """The picks of a new trial, where they are not for Optuna to choose."""
        first = self.spec.search.first
        picks: Mapping[str, Pick] | None = self._points.pop(0) if self._points is not None else None
        if picks is None and self.count < len(first):
            picks = first[self.count]
        elif self.count == 0 and picks is None:
            picks = samplers.base_point(self.spec)
        if picks is None and self.spec.search.sampler.counts_steps and len(self.spec.objective.sizes) == 1:
            picks = self._frugally()
        return picks

    def picks(self) -> dict[int, dict[str, Pick]]:
        """Of the trials in here, by number, as far as the space still has them."""
        return {
            trial.number: trial.params
            for trial in self.study.get_trials(deepcopy=False)
            if trial.params and trial.params.keys() <= self._distributions.keys()
        }

    def agrees(self, recorded: Mapping[int, tuple[Mapping[str, Pick], bool]]) -> bool:
        """Whether all that is in here is so in the records (number -> picks, and whether the trial has ended) and in
        the space. Optuna takes no other choices for an axis than those that it knows."""
        if len(self.study.directions) != len(self.spec.objective.sizes):
            return False
        for trial in self.study.get_trials(deepcopy=False):
            picks, ended = recorded.get(trial.number, (trial.params, False))
            if trial.state.is_finished() and not ended:
                return False
            if trial.params and trial.params != picks:
                return False
            if any(self._distributions.get(path) != known for path, known in trial.distributions.items()):
                return False
        return True

    def clear(self) -> None:
        """Forget all trials, to be restored from the records."""
        optuna.delete_study(study_name=self._name, storage=self.storage)
        self._create()
        self._points = samplers.points_left(self.spec, self._tried)
        self.count = 0

    def restore(self, picks: Mapping[str, Pick], state: TrialState, measured: Measured | None = None) -> None:
        """Put in a trial that the records know and the study does not: COMPLETE with what was measured, FAIL, PRUNED,
        or WAITING to be among the unfinished ones."""
        values, violation = measured or (None, None)
        self.study.add_trial(
            optuna.trial.create_trial(
                state=state,
                params=dict(picks),
                distributions={path: self._distributions[path] for path in picks},
                values=values,
                constraints=None if violation is None else {CONSTRAINT: violation},
            )
        )
        self.count += 1

    def unfinished(self) -> list[tuple[int, dict[str, Pick]]]:
        """Ask again, by number and with the same picks, for the trials that were not told."""
        self.release()
        waiting = self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        return [self._take() for _ in waiting]

    def release(self) -> list[int]:
        """Put back the trials that a killed process has left RUNNING; their numbers."""
        left = [trial.number for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))]
        for number in left:
            self._put_back(number)
        return left

    def note(self, number: int, picks: Mapping[str, Pick], measured: Measured | None, density: float | None) -> None:
        """What is known of a trial that has ended, or waits with its other seeds: for the frugal sampler, which knows
        more than fits in a study. `density`: of the level that matches."""
        size, violation = (measured[0][0], measured[1]) if measured else (None, 0.0)
        self._noted[number] = frugal.Known(picks, size, violation, density)

    def tell(self, number: int, measured: Measured | None, unmeasured: TrialState = TrialState.FAIL) -> None:
        """`unmeasured`: the state of the trial where nothing was measured."""
        trial = self._asked.pop(number)
        if measured is None:
            self.study.tell(trial, state=unmeasured)
            return
        values, violation = measured
        if CONSTRAINT not in trial.constraints:  # a kill can have come between the constraint and the value
            trial.set_constraint(CONSTRAINT, violation)
        self.study.tell(trial, list(values))

    def close(self) -> None:
        """Put back what was asked for and not told, and let go of the database. One that is away is not waited for:
        `release` puts back what this does not."""
        storage.give_up(self.storage)
        with contextlib.suppress(StorageAway):
            for number in self._asked:
                self._put_back(number)
        self._asked.clear()
        self.storage.remove_session()
        if isinstance(self.storage, RDBStorage):
            self.storage.engine.dispose()

    def _open(self, path: Path | None, url: str | None) -> list[FrozenTrial]:
        self.storage = InMemoryStorage() if not path else storage.server(url) if url else storage.sqlite(path)
        self._create()
        return self.study.get_trials(deepcopy=False)

    def _create(self) -> None:
        self.study = optuna.create_study(
            study_name=self._name,
            storage=self.storage,
            load_if_exists=True,
            directions=[StudyDirection.MINIMIZE] * len(self.spec.objective.sizes),
        )

    def _frugally(self) -> dict[str, Pick]:
        told = [self._noted[number] for number in sorted(self._noted)]
        running = [trial.params for number, trial in self._asked.items() if number not in self._noted]
        return frugal.pick(self.spec, told, running, derive(self.spec.search.seed, "search", self.count))

    def _take(self) -> tuple[int, dict[str, Pick]]:
        trial = self.study.ask()
        self.study.sampler = samplers.sampler(self.spec, trial.number)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            picks = suggest(trial, self.spec.space)
        self._asked[trial.number] = trial
        return trial.number, picks

    def _put_back(self, number: int) -> None:
        """To WAITING: it keeps its number and its picks, and `ask` hands it out before any new one."""
        study_id = self.storage.get_study_id_from_name(self._name)
        trial_id = self.storage.get_trial_id_from_study_id_trial_number(study_id, number)
        self.storage.set_trial_state_values(trial_id, TrialState.WAITING)


def unmeasured(trial: TrialRecord) -> TrialState:
    """The state of a trial that has ended and of which nothing was measured."""
    return TrialState.FAIL if trial.outcome.bound is None else TrialState.PRUNED


def server_of(spec: SweepSpec) -> str | None:
    """The URL of the database server that a sweep's study is on; None where it is in a file."""
    return spec.search.storage or os.environ.get(STORAGE)
