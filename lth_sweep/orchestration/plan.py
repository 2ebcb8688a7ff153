"""What a sweep will cost, before it is run."""

import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna

from lth_sweep.lottery.common.duration import Duration
from lth_sweep.lottery.recipe.trial import Runtime, TrialConfig
from lth_sweep.lottery.runs.stages import Store
from lth_sweep.lottery.runs.trajectory import Lab
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

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "warnings": list(self.warnings)}


def plan(spec: SweepSpec, cpus: int) -> Plan:
    """Draw the sweep's trials at random and add up what they need; train one of them for a moment to see how fast
    this machine is. Nothing is written."""
    with imports_from(spec.import_folder), tempfile.TemporaryDirectory() as folder:
        recipes = [spec.recipe(picks) for picks in _draw(spec)]
        labs = {_without_pruning(recipe): Lab(recipe, Store(Path(folder)), Runtime()) for recipe in recipes}
        dense: dict[str, int] = {}
        alone = branches = stages = stored = 0
        for recipe in recipes:
            lab = labs[_without_pruning(recipe)]
            length = lab.clock.length
            weight_bytes = 4 * sum(tensor.numel() for tensor in lab.network.module.parameters())
            for seed in recipe.seed_list:
                runs = {lab.dense(seed).digest: length}
                if recipe.stability:
                    k = recipe.rewind.step(lab.clock) % length  # fine-tuning starts at the end, its dense twins at 0
                    runs[lab.twin(lab.dense(seed), k, 1).digest] = length - k
                dense |= runs
                alone += sum(runs.values())
            tickets = recipe.method.levels(recipe) * len(recipe.seed_list) * (1 + recipe.stability)
            own = (length + recipe.rewind.tail(lab.clock) - recipe.rewind.step(lab.clock)) * tickets
            alone, branches = alone + own, branches + own
            stages, stored = stages + tickets, stored + weight_bytes * tickets
        stored += 3 * weight_bytes * len(dense)
        rate = _steps_per_second(recipes[0], Path(folder), max(1, int(spec.resources.cpu)))
        slots = max(1, int(cpus // spec.resources.cpu))
        steps = sum(dense.values()) + branches
        verification = _verification_steps(spec, recipes, labs)
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
            warnings=tuple(_warnings(spec, recipes, labs)),
        )


def room(spec: SweepSpec, trials: int) -> int:
    """Bytes that so many trials store at most: as `plan` counts, but by a sample of them."""
    sample = min(trials, SAMPLE)
    if sample == 0:
        return 0
    with imports_from(spec.import_folder):
        drawn = _draw(replace(spec, search=replace(spec.search, trials=sample)))
        stored = 0.0
        dense: dict[str, int] = {}
        for recipe in map(spec.recipe, drawn):
            if (same := _without_pruning(recipe)) not in dense:
                network = Lab(recipe, Store(Path()), Runtime()).network
                dense[same] = 4 * sum(tensor.numel() for tensor in network.module.parameters())
            stored += dense[same] * recipe.method.levels(recipe) * len(recipe.seed_list)
        seeds = max(len(spec.recipe(picks).seed_list) for picks in drawn)
        return int(stored / len(drawn) * trials + 3 * seeds * sum(dense.values()))


def _draw(spec: SweepSpec) -> list[dict[str, Pick]]:
    points = samplers.points(spec)
    if points is not None:
        return list(points[: spec.search.trials])
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=spec.search.seed))
    return [suggest(study.ask(), spec.space) for _ in range(spec.search.trials)]


def _verification_steps(spec: SweepSpec, recipes: Sequence[TrialConfig], labs: dict[str, Lab]) -> int:
    """As if each candidate were the last level of the longest recipe, and none shared a dense run."""
    longest = 0
    for recipe in recipes:
        clock = labs[_without_pruning(recipe)].clock
        level = clock.length + recipe.rewind.tail(clock) - recipe.rewind.step(clock)
        whole = 1 + len(spec.verify.controls)  # the dense network, and what starts from fresh weights
        longest = max(longest, clock.length * whole + recipe.method.levels(recipe) * level)
    return spec.verify.top * spec.verify.seeds * longest


def _without_pruning(recipe: TrialConfig) -> str:
    """What the clock and the dense run depend on."""
    return repr((recipe.data, recipe.model, recipe.train, recipe.init, recipe.seeds))


def _steps_per_second(recipe: TrialConfig, folder: Path, threads: int) -> float:
    """Train the dense network from where the caches are warm."""
    clock_free = replace(recipe.train, evaluate=Duration(10**9, "steps"))
    lab = Lab(replace(recipe, train=clock_free, seeds=1), Store(folder), Runtime(threads=threads))
    steps = min(CALIBRATION_STEPS, lab.clock.length)
    lab.reach([lab.dense(0)], max(1, steps // 10))
    before, started = lab.trained[0], time.perf_counter()
    lab.reach([lab.dense(0)], steps)
    return max(1, lab.trained[0] - before) / (time.perf_counter() - started)


def _warnings(spec: SweepSpec, recipes: Sequence[TrialConfig], labs: dict[str, Lab]) -> list[str]:
    """What is likely to be a mistake."""
    found = []
    if all(isinstance(axis.domain, Choice) and len(axis.domain.options) == 1 for axis in spec.space):
        found.append("the space has a single point: every trial would be the same")
    clocks = [(recipe.rewind, labs[_without_pruning(recipe)].clock) for recipe in recipes]
    late = [clock for rule, clock in clocks if not rule.tail(clock) and rule.step(clock) * 10 > clock.length]
    if late:
        found.append(f"{len(late)} of {len(recipes)} trials rewind to later than a tenth of the run; early is usual")
    found += _about_margin(spec, recipes, min(len(lab.splits.validation.y) for lab in labs.values()))
    return found


def _about_margin(spec: SweepSpec, recipes: Sequence[TrialConfig], examples: int) -> list[str]:
    margin, seeds = spec.objective.match.margin, min(len(recipe.seed_list) for recipe in recipes)
    noise = math.sqrt(DISAGREE / examples / seeds)
    several = f"{seeds} seed{'s' * (seeds > 1)}"
    if margin < 1 / examples:
        return [
            f"the margin of {margin:g} is less than one of the {examples} validation examples: "
            "a level matches only where its accuracy is no lower at all"
        ]
    if margin < noise / 2:
        return [
            f"the margin of {margin:g} is far below the noise: two networks that differ on {DISAGREE:.0%} of the "
            f"{examples} validation examples differ by ± {noise:.4f} by chance, as a mean of {several}; take about "
            f"{math.ceil(DISAGREE / examples / margin**2)} seeds, or a larger margin"
        ]
    return []
