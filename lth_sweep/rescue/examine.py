"""The patient's ladder and a few cheap runs beside it: controls, twins, and the dense network trained longer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from statistics import fmean
from typing import Any

from lth_sweep.lottery.common.duration import Clock, Duration
from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.data import load
from lth_sweep.lottery.experiments.controls import Control, control
from lth_sweep.lottery.experiments.silence import Silence, silence
from lth_sweep.lottery.experiments.stability import STABLE, stable_from
from lth_sweep.lottery.loop import run
from lth_sweep.lottery.probes.activity import activity, relu_inputs
from lth_sweep.lottery.probes.twins import StabilityRecord, between_twins
from lth_sweep.lottery.recipe.trial import Runtime, TrialConfig
from lth_sweep.lottery.records import Level, LevelRecord
from lth_sweep.lottery.runs.stages import Stages
from lth_sweep.lottery.runs.states import States
from lth_sweep.lottery.task import Metric
from lth_sweep.lottery.ticket.ticket import Ticket
from lth_sweep.orchestration.executor import Executor
from lth_sweep.orchestration.work import Work, go_to
from lth_sweep.remote.mirror import stages_of
from lth_sweep.rescue.effects import Difference, paired
from lth_sweep.rescue.patient import Patient
from lth_sweep.sweepfile.spec import Objective

LATER = (2, 5, 10, 20, 40)
"""Where twins part, in per cent of a run, until they are stable."""
TWIN_SEEDS = 3
"""Barriers differ much less between seeds than between steps."""
CONTROLS: tuple[Control, ...] = ("reinit", "shuffle")


@dataclass(frozen=True)
class Examination:
    """What was looked at. Levels have a record for each seed, in one order."""

    levels: tuple[Level, ...]
    """The patient's ladder: dense first, the ticket last."""
    objective: Objective
    examples: int
    """Of the validation split."""
    said: str
    """What a network says of an example, in a word."""
    weights: Mapping[str, int]
    """Of each layer of the dense network."""
    units: int
    """Hidden ones, of which it could be told whether they are dead."""
    rewinds_to: int
    """k: the step of the dense run that the patient's levels start from."""
    connected: tuple[float, ...] = ()
    """The ticket's density without weights that no path leads through, by seed."""
    twins: tuple[StabilityRecord, ...] = ()
    """Of dense runs, that part at k and, where that is not stable, later."""
    controls: Mapping[str, Level] = field(default_factory=dict)
    longer: Level = field(default_factory=Level)
    """The dense network trained twice as long."""
    silences: tuple[Sequence[Silence], ...] = ()
    """Units that ReLU silences and pruning removes, by seed and layer."""

    @property
    def dense(self) -> Level:
        return self.levels[0]

    @property
    def ticket(self) -> Level:
        return self.levels[-1]

    @property
    def metric(self) -> Metric:
        return self.objective.metric

    @property
    def margin(self) -> float:
        """In units of the metric."""
        return self.objective.margin(self.dense.mean(self.metric.name))

    @property
    def scale(self) -> float:
        """What is much for the metric: the whole of a share, else what the dense network has."""
        return 1.0 if self.metric.format == "percent" else abs(self.dense.mean(self.metric.name))

    @property
    def difference(self) -> Difference:
        """The ticket to the dense network, on validation."""
        return self.paired(self.ticket, self.dense)

    def paired(self, one: Level, other: Level, metric: Metric | None = None) -> Difference:
        """How much better `one` is than `other`."""
        return paired(one, other, metric or self.metric, self.examples)

    @property
    def matches(self) -> bool:
        return self.objective.matches(self.ticket, self.dense)

    @property
    def stable_from(self) -> int | None:
        return stable_from(self.twins) if self.twins else None

    @property
    def steps(self) -> int:
        """Optimizer steps that were run to find all this out."""
        levels = (*self.levels, self.longer, *self.controls.values())
        return sum(level.steps_trained for level in levels) + sum(twin.steps_trained for twin in self.twins)


def examine(patient: Patient, runs: Path, executor: Executor) -> Examination:
    """Nothing is trained that the stages have. A patient that matches is looked at no further."""
    work = Work(replace(patient.spec, base=patient.written, space=()), stages_of(runs))
    recipe = patient.recipe
    seeds = recipe.seed_list
    splits = load(recipe.data)
    network = recipe.network()
    clock = recipe.clock(len(splits.train))
    job = _Job(work, Path.cwd(), clock)

    def each(function: Callable[..., Any], *arguments: Sequence[Any]) -> list[Any]:
        return [executor.submit(function, *some) for some in zip(*arguments, strict=True)]

    ladders = executor.results(each(job.ladder, seeds))
    seen = Examination(
        tuple(map(Level, zip(*ladders, strict=False))),  # down to where the first replica has diverged
        patient.spec.objective,
        len(splits.validation),
        recipe.task.said,
        {layer: prod(network.shapes[name]) for layer, name in network.weights.items()},
        sum(network.shapes[network.weights[layer]][0] for layer in relu_inputs(network)),
        min(recipe.rewind.start(clock).first, clock.length),
    )
    silences = tuple(executor.results(each(job.silence, seen.dense, seen.ticket)))
    seen = replace(seen, silences=silences if all(silences) else ())
    if seen.matches:
        return seen
    connected, longer = each(job.connected, seen.ticket), each(job.longer, seeds)
    controls = {kind: each(job.control, seen.ticket, [kind] * len(seeds)) for kind in CONTROLS}
    twins = _twins(job, executor, seeds[:TWIN_SEEDS], [seen.rewinds_to, *later_steps(clock, seen.rewinds_to)])
    trained = {kind: Level(executor.results(jobs)) for kind, jobs in controls.items()}
    return replace(
        seen,
        connected=tuple(executor.results(connected)),
        twins=tuple(twins),
        controls={kind: level for kind, level in trained.items() if all(level)},
        longer=Level(executor.results(longer)),
    )


def later_steps(clock: Clock, step: int) -> list[int]:
    """Those of LATER that come after `step`."""
    return [later for share in LATER if (later := clock.steps(Duration(share, "%"))) > step]


def _twins(job: "_Job", executor: Executor, seeds: Sequence[int], steps: Sequence[int]) -> list[StabilityRecord]:
    """Twins of dense runs that part at the first of the steps, and so on, until they are stable."""
    found: list[StabilityRecord] = []
    for step in steps:
        if step < job.end:
            some = list(executor.results([executor.submit(job.twins, seed, step) for seed in seeds]))
            found += some
            if fmean(twin.barriers["validation"] for twin in some) < STABLE:
                break
    return found


class _Job:
    """Runs of one seed, wherever they are done. Plain data, like the work that it is part of."""

    def __init__(self, work: Work, folder: Path, clock: Clock) -> None:
        self.work, self.folder = work, folder
        self.end = clock.length
        # Stored in passing, for twins and for rewinding later: so no step of a dense run is run twice.
        self.snapshots = tuple(step for step in later_steps(clock, 0) if step < clock.length)

    def ladder(self, seed: int) -> list[LevelRecord]:
        recipe, store, runtime = self._prepare(seed)
        return [level[0] for level in run(recipe, store, runtime)]

    def control(self, ticket: LevelRecord, kind: Any) -> LevelRecord | None:
        recipe, store, runtime = self._prepare(ticket.seed)
        try:
            return control(recipe, store, runtime, ticket, kind)
        except ConfigError:  # of a supermask, and of the dense network alone, where there is no ticket
            return None

    def silence(self, dense: LevelRecord, ticket: LevelRecord) -> list[Silence]:
        """Nothing where there is no ticket."""
        recipe, store, _ = self._prepare(dense.seed)
        return silence(Ticket.load(recipe, dense, store), Ticket.load(recipe, ticket, store)) if ticket.level else []

    def connected(self, record: LevelRecord) -> float:
        """Its density without the weights that no path leads through."""
        recipe, store, _ = self._prepare(record.seed)
        ticket = Ticket.load(recipe, record, store)
        network = recipe.network(ticket.module)
        return activity(network, ticket.masks, {}).effective_density if ticket.masks.tensors else 1.0

    def twins(self, seed: int, step: int) -> StabilityRecord:
        """Of dense runs."""
        recipe, store, runtime = self._prepare(seed)
        states = States(recipe, store, runtime)
        return between_twins(states, [states.tree.dense(seed)], step)[0]

    def longer(self, seed: int) -> LevelRecord:
        """The dense network, trained twice as long."""
        recipe, store, runtime = self._prepare(seed)
        length = recipe.train.length
        train = replace(recipe.train, length=Duration(2 * length.amount, length.unit))
        return next(run(replace(recipe, train=train), store, runtime))[0]

    def _prepare(self, seed: int) -> tuple[TrialConfig, Stages, Runtime]:
        go_to(self.folder)
        recipe, store, runtime = self.work.prepare({})
        snapshots = (*runtime.snapshots, *self.snapshots)
        return replace(recipe, seeds=(seed,)), store, replace(runtime, snapshots=snapshots)
