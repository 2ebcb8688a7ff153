"""What a sweep will cost, before it is run."""

import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
import torch

from lth_sweep.lottery.common.duration import Duration
from lth_sweep.lottery.data import load
from lth_sweep.lottery.recipe.forecast import Forecast
from lth_sweep.lottery.recipe.trial import Runtime, TrialConfig
from lth_sweep.lottery.runs.stages import Store
from lth_sweep.lottery.runs.states import States
from lth_sweep.lottery.runs.tree import Tree
from lth_sweep.orchestration.fates import Fates, fates
from lth_sweep.search import samplers
from lth_sweep.search.axes import suggest
from lth_sweep.sweepfile.axis import Choice, Pick
from lth_sweep.sweepfile.load import imports_from
from lth_sweep.sweepfile.spec import SweepSpec

CALIBRATION_STEPS = 200
SAMPLE = 50
"""Trials that are drawn to see how much room they take."""
DISAGREE = 0.05
"""Share of the examples that only one of dense network and ticket gets right, where noise is estimated."""


@dataclass(frozen=True)
class Plan:
    """Upper bounds: as if no trial were stopped early."""

    trials: int
    stages: int
    """Training runs that are stored."""
    steps_alone: int
    """Optimizer steps if every trial trained all of its own."""
    steps: int
    """Optimizer steps with what the trials share trained once."""
    verification_steps: int
    """Optimizer steps of all that may be verified after them, on top."""
    steps_per_second: float
    """Of one trial on this machine, measured now."""
    slots: int
    """Trials that run at a time."""
    seconds: float
    disk_bytes: int
    warnings: tuple[str, ...]
    fates: tuple[Fates, ...]
    """What becomes of each layer, for each network and granularity: model, granularity, layers, each with layer,
    weights and fate (pruned, or spared or left out and why)."""

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "warnings": list(self.warnings), "fates": [one.to_json() for one in self.fates]}


def plan(spec: SweepSpec, cpus: int) -> Plan:
    """Draw the sweep's trials at random and add up what they need; train one of them for a moment to see how fast
    this machine is. Nothing is written."""
    with imports_from(spec.import_folder), tempfile.TemporaryDirectory() as folder:
        recipes = [spec.recipe(picks) for picks in _draw(spec)]
        forecasts = _forecasts(recipes)
        dense: dict[str, int] = {}
        alone = branches = stages = stored = 0
        for recipe, one in zip(recipes, forecasts, strict=True):
            tree = Tree(recipe, one.clock, load(recipe.data).digest)
            for seed in recipe.seed_list:
                path = tree.dense(seed)
                runs = {path.digest: one.level_steps(0)}
                if steps := one.twin_steps(0):
                    runs[tree.twin(path, one.clock.length - steps, 1).digest] = steps
                dense |= runs
                alone += sum(runs.values())
            tickets = one.levels * len(recipe.seed_list) * (1 + recipe.stability)
            alone, branches = alone + tickets * one.start.length, branches + tickets * one.start.length
            stages, stored = stages + tickets, stored + one.weight_bytes * tickets
        stored += 3 * forecasts[-1].weight_bytes * len(dense)
        rate = _steps_per_second(recipes[0], Path(folder), max(1, int(spec.resources.cpu)))
        slots = max(1, int(cpus // spec.resources.cpu))
        steps = sum(dense.values()) + branches
        verification = _verification_steps(spec, forecasts)
        return Plan(
            trials=len(recipes),
            stages=len(dense) + stages,
            steps_alone=alone,
            steps=steps,
            verification_steps=verification,
            steps_per_second=rate,
            slots=min(slots, len(recipes)),
            seconds=(steps / min(slots, len(recipes)) + verification / slots) / rate,
            disk_bytes=stored,
            warnings=tuple(_warnings(spec, forecasts)),
            fates=tuple(fates(forecasts)),
        )


def room(spec: SweepSpec, trials: int) -> int:
    """Bytes that so many trials store at most: as `plan` counts, but by a sample of them."""
    sample = min(trials, SAMPLE)
    if sample == 0:
        return 0
    with imports_from(spec.import_folder):
        drawn = _draw(replace(spec, search=replace(spec.search, trials=sample)))
        forecasts = _forecasts([spec.recipe(picks) for picks in drawn])
        stored = sum(one.weight_bytes * one.levels * len(one.trial.seed_list) for one in forecasts)
        dense = {_without_pruning(one.trial): one.weight_bytes for one in forecasts}
        seeds = max(len(one.trial.seed_list) for one in forecasts)
        return int(stored / len(drawn) * trials + 3 * seeds * sum(dense.values()))


def _forecasts(recipes: Sequence[TrialConfig]) -> list[Forecast]:
    """With one network for all recipes that have the same."""
    known: dict[str, Forecast] = {}
    for recipe in recipes:
        known.setdefault(_network(recipe), Forecast(recipe))
    return [known[_network(recipe)].like(recipe) for recipe in recipes]


def _network(recipe: TrialConfig) -> str:
    return repr((recipe.data, recipe.task, recipe.model, recipe.prunable))


def _draw(spec: SweepSpec) -> list[dict[str, Pick]]:
    points = samplers.points(spec)
    if points is not None:
        return list(points[: spec.search.trials])
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=spec.search.seed))
    return [suggest(study.ask(), spec.space) for _ in range(spec.search.trials)]


def _verification_steps(spec: SweepSpec, forecasts: Sequence[Forecast]) -> int:
    """As if each candidate were the last level of the longest recipe, and none shared a dense run. On top of a ladder
    there is what starts from fresh weights."""
    longest = max(one.steps() + len(spec.verify.controls) * one.clock.length for one in forecasts)
    return spec.verify.top * spec.verify.seeds * longest


def _without_pruning(recipe: TrialConfig) -> str:
    """What the dense run depends on."""
    return repr((recipe.data, recipe.model, recipe.train, recipe.init, recipe.seeds))


def _steps_per_second(recipe: TrialConfig, folder: Path, threads: int) -> float:
    """Train the dense network from where the caches are warm."""
    clock_free = replace(recipe.train, evaluate=Duration(10**9, "steps"))
    before = torch.get_num_threads()
    try:
        states = States(replace(recipe, train=clock_free, seeds=1), Store(folder), Runtime(threads=threads))
        path, steps = states.tree.dense(0), min(CALIBRATION_STEPS, states.clock.length)
        states.at([path], max(1, steps // 10))
        trained, started = states.trained[0], time.perf_counter()
        states.at([path], steps)
        return max(1, states.trained[0] - trained) / (time.perf_counter() - started)
    finally:
        torch.set_num_threads(before)


def _warnings(spec: SweepSpec, forecasts: Sequence[Forecast]) -> list[str]:
    """What is likely to be a mistake."""
    found = []
    if all(isinstance(axis.domain, Choice) and len(axis.domain.options) == 1 for axis in spec.space):
        found.append("the space has a single point: every trial would be the same")
    late = [one for one in forecasts if one.clock.length / 10 < one.start.first < one.clock.length]
    if late:
        found.append(f"{len(late)} of {len(forecasts)} trials rewind to later than a tenth of the run; early is usual")
    return found + _about_margin(spec, forecasts, min(len(load(one.trial.data).validation) for one in forecasts))


def _about_margin(spec: SweepSpec, forecasts: Sequence[Forecast], examples: int) -> list[str]:
    """About a margin in shares of the examples, of which it can be told how much they vary by chance."""
    if spec.objective.match.relative or spec.objective.metric.format != "percent":
        return []
    margin, seeds = spec.objective.match.amount, min(len(one.trial.seed_list) for one in forecasts)
    noise = math.sqrt(DISAGREE / examples / seeds)
    several = f"{seeds} seed{'s' * (seeds > 1)}"
    if margin < 1 / examples:
        return [
            f"the margin of {margin:g} is less than one of the {examples} validation examples: "
            f"a level matches only where its {spec.objective.metric.name} is no lower at all"
        ]
    if margin < noise / 2:
        return [
            f"the margin of {margin:g} is far below the noise: two networks that differ on {DISAGREE:.0%} of the "
            f"{examples} validation examples differ by ± {noise:.4f} by chance, as a mean of {several}; take about "
            f"{math.ceil(DISAGREE / examples / margin**2)} seeds, or a larger margin"
        ]
    return []
