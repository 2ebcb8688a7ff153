"""A sweep of no work, as if it had been run: made-up record files, the same for the same arguments."""

import random
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from lth_sweep.lottery.experiments.verification import Pair, Tested
from lth_sweep.lottery.records import CurvePoint, Level, LevelRecord
from lth_sweep.orchestration.evidence import Evidence, candidates, save
from lth_sweep.orchestration.records import Records, read, write_tables
from lth_sweep.search.answer import Latency
from lth_sweep.search.objective import judge
from lth_sweep.sweepfile.axis import Pick
from lth_sweep.sweepfile.load import load_spec
from lth_sweep.sweepfile.spec import SweepSpec

SWEEP = """\
name: {name}
trial: {{model: {{kind: mlp, hidden: [300, 100]}}, levels: {levels}, seeds: {seeds}}}
space:
  rate: {{between: [0.2, 0.6]}}
  train.optimizer.lr: {{between: [0.0001, 0.01], log: true}}
  rewind: {{choice: {{init: init, early: {{kind: step, at: 50 steps}}}}}}
  granularity: {{choice: [weight, unit]}}
search: {{trials: {trials}}}
"""
LAYERS = {"0": 235_200, "2": 30_000, "4": 1_000}
WEIGHTS = sum(LAYERS.values())
WORKERS = 4


def write(runs: Path, name: str, trials: int, levels: int = 11, seeds: int = 3, points: int = 12,
          fail_every: int = 25) -> SweepSpec:  # fmt: skip
    """Write runs/NAME: trials of `levels` levels and the dense one. Each `fail_every`th fails, a third is stopped."""
    folder = runs / name
    folder.mkdir(parents=True)
    (folder / "sweep.yaml").write_text(SWEEP.format(name=name, trials=trials, levels=levels, seeds=seeds))
    spec = load_spec(folder / "sweep.yaml")
    records, chance = Records(folder), random.Random(name)
    free = [1_700_000_000.0] * WORKERS
    for number in range(trials):
        worker = free.index(min(free))
        picks: dict[str, Pick] = {
            "rate": chance.uniform(0.2, 0.6),
            "train.optimizer.lr": 10 ** chance.uniform(-4, -2),
            "rewind": chance.choice(["init", "early"]),
            "granularity": chance.choice(["weight", "unit"]),
        }
        trial = records.start(number, picks)
        last = levels // 2 if number % 3 == 2 else levels
        for level in range(last + 1):
            made = _level(picks, level, seeds, points, chance)
            free[worker] += sum(record.seconds for record in made) + 0.1
            clock = SimpleNamespace(time=partial(free.__getitem__, worker))
            with mock.patch("lth_sweep.orchestration.records.time", clock):
                trial = records.put_level(trial, made)
        outcome = judge(trial.levels, spec.objective)
        if number % fail_every == fail_every - 1:
            records.end(trial, "", "failed", outcome, "RuntimeError: CUDA out of memory <16 GiB & more>")
        elif last < levels:
            saved = 600 * seeds * (levels - last)
            records.end(trial, "", "stopped", outcome, "2 levels in a row below the margin", saved)
        else:
            records.end(trial, "", "finished", outcome, "")
    save(folder, {one.key: _evidence(one.seeds, one.controls, chance) for one in candidates(spec, read(folder))})
    write_tables(folder, read(folder), spec.objective)
    return spec


def _level(picks: dict[str, Pick], level: int, seeds: int, points: int, chance: random.Random) -> Level:
    density = (1 - float(picks["rate"])) ** level
    knee = 0.02 * (1 + 2 * (picks["granularity"] == "unit") + (picks["rewind"] == "init"))
    return Level(_record(level, seed, density, knee, points, chance) for seed in range(seeds))


def _record(level: int, seed: int, density: float, knee: float, points: int, chance: random.Random) -> LevelRecord:
    chance_level = random.Random(seed) if level == 0 else chance  # dense networks are shared
    accuracy = 0.97 - min(0.6, 0.02 * (knee / density) ** 1.5) + chance_level.gauss(0, 0.002)
    curve = tuple(
        CurvePoint(600 * at // points, 1 / at, {"accuracy": accuracy * (1 - 0.3 / at**2), "loss": 0.5 / at})
        for at in range(1, points + 1)
    )
    params = round(WEIGHTS * density) + 410
    return LevelRecord(
        trial="made-up",
        level=level,
        seed=seed,
        density=density,
        layer_density={"0": density * 0.95, "2": min(1.0, density * 1.2), "4": min(1.0, density**0.5)},
        sizes={"params": params, "flops": 2 * params, "bytes": 4 * params},
        metrics={"accuracy": accuracy, "loss": 1 - accuracy, "train_accuracy": 1.0, "train_loss": 0.01, "constant": 0.0,
                 "effective_density": density * 0.97, "cut_units": 300 * max(0.0, 0.1 - density), "dead_units": 3.0,
                 "rare_units": 1.0},
        curve=curve,
        stage=f"seed-{seed}/600" if level == 0 else f"{chance.getrandbits(64):016x}/600",
        steps_trained=600 if level else 0,
        steps_reused=50 if level else 600,
        seconds=chance.uniform(0.5, 1.0),
    )  # fmt: skip


def _evidence(seeds: tuple[int, ...], controls: tuple[str, ...], chance: random.Random) -> Evidence:
    examples = 10_000

    def pair(seed: int, base: float, change: int) -> Pair:
        gained = 20 + chance.randrange(10)
        return Pair.of_shares(seed, examples, base, base + change / examples, gained, gained - change)

    pairs = tuple(pair(seed, 0.968 + seed / 10_000, -chance.randrange(20)) for seed in seeds)
    worse = {kind: tuple(pair(one.seed, one.value, -150 - 40 * index) for one in pairs)
             for index, kind in enumerate(controls)}  # fmt: skip
    return Evidence(Tested(pairs, worse), Latency(0.231, 0.042, 32, "cpu", 1))
