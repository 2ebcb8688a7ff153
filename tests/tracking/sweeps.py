"""Hand-made sweeps, with numbers that a test can write down."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import mlflow

from lth_sweep.lottery.common.duration import Duration
from lth_sweep.lottery.recipe.rewinding import ToStep
from lth_sweep.lottery.recipe.trial import TrialConfig
from lth_sweep.lottery.records import CurvePoint, Level, LevelRecord
from lth_sweep.search.answer import Answer, Tried, Verification
from lth_sweep.search.trial import Outcome, Proposal
from lth_sweep.search.verdict import Interval, Verdict
from lth_sweep.sweepfile.axis import Axis, Between, Choice
from lth_sweep.sweepfile.spec import Search, SweepSpec, Tracking
from lth_sweep.tracking import MlflowListener

NAME = "digits"


def spec(uri: str | None = None, **changes) -> SweepSpec:
    space = (
        Axis("rate", Between(0.2, 0.6)),
        Axis("rewind", Choice({"init": "init", "early": {"kind": "step", "at": "50 steps"}})),
    )
    made = SweepSpec(NAME, {}, space, search=Search(trials=2), tracking=Tracking(uri), text="name: digits\n")
    return replace(made, **changes)


def proposal(number: int = 0, recipe: TrialConfig | None = None) -> Proposal:
    recipe = recipe or TrialConfig(rate=0.5, rewind=ToStep(Duration(50, "steps")), seeds=2)
    return Proposal(number, {"rate": 0.5, "rewind": "early"}, recipe)


def level(number: int, accuracies: Sequence[float] = (0.9, 0.8), trained: int = 100, curve: int = 2) -> Level:
    """Halves at each level; loss is 1 - accuracy, train_accuracy 1.0."""
    density = 0.5**number
    return Level(
        LevelRecord(
            "abc123", number, seed, density, {"1": density},
            {"params": int(1000 * density), "flops": int(2000 * density), "bytes": int(4000 * density)},
            {"accuracy": accuracy, "loss": 1 - accuracy, "train_accuracy": 1.0, "train_loss": 0.1},
            tuple(CurvePoint(10 * (i + 1), 0.5 / (i + 1), {"accuracy": accuracy, "loss": 1 - accuracy})
                  for i in range(curve)),
            f"stage/{number}", trained, 10, 1.5)
        for seed, accuracy in enumerate(accuracies)
    )  # fmt: skip


MATCHED = Outcome(value=500, violation=-0.01, level=1)
NO_MATCH = Outcome(value=None, violation=0.2, level=None)


def found(*tried: Tried) -> Answer:
    """Trial 0 at level 1; verified where candidates were tried."""
    picks, levels = proposal().picks, (level(0), level(1))
    smallest = Answer.of(0, picks, levels, MATCHED, spec().objective)
    assert smallest
    if not tried:
        return smallest
    known = Interval(0.9, 0.89, 0.91)
    word = Verdict("matches", 0.0, -0.005, 0.005, 3, 0.01, 0.95, len(tried))
    return replace(smallest, verification=Verification(word, (2, 3, 4), 300, known, known, {}, {}, tried, None, None))


def start(runs: Path, uri: str | None = None, said: list[str] | None = None, **options) -> MlflowListener:
    listener = MlflowListener(said.append if said is not None else fail, **options)
    listener.sweep_started(spec(uri), runs / NAME)
    return listener


def fail(message: str) -> None:
    raise AssertionError(message)


def run_trial(listener: MlflowListener, number: int = 0, levels: int = 2, outcome: Outcome = MATCHED) -> None:
    trial = proposal(number)
    listener.trial_started(trial)
    for i in range(levels):
        listener.level_done(trial, level(i))
    listener.trial_ended(trial, "finished", outcome)


def store(runs: Path) -> str:
    return f"sqlite:///{runs}/mlflow.db"


def logged(uri: str) -> dict[str | None, mlflow.entities.Run]:
    """All runs of the sweep by trial number, the parent under None."""
    client = mlflow.MlflowClient(uri)
    runs = client.search_runs([client.get_experiment_by_name(NAME).experiment_id])
    numbers = [run.data.tags.get("lth.trial_number") for run in runs]
    assert len(set(numbers)) == len(numbers), "a run is doubled"
    return dict(zip(numbers, runs, strict=True))


def history(uri: str, run: mlflow.entities.Run, key: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in mlflow.MlflowClient(uri).get_metric_history(run.info.run_id, key)]
