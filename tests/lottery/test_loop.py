"""The algorithm as a whole: what it yields, and what it trains."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from lth_sweep.lottery.common.duration import Duration
from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.loop import run
from lth_sweep.lottery.network.models import Mlp, Model
from lth_sweep.lottery.pruning.criteria import SynFlow
from lth_sweep.lottery.pruning.granularity import Unit
from lth_sweep.lottery.recipe.rewinding import ToStep
from lth_sweep.lottery.recipe.trial import Runtime, Train, TrialConfig
from lth_sweep.lottery.records import Level, LevelRecord
from lth_sweep.lottery.runs.stages import Store
from lth_sweep.lottery.task import Classification, Metric
from lth_sweep.lottery.task.metric import Meter, Sums
from lth_sweep.lottery.ticket.ticket import Ticket
from lth_sweep.lottery.training.optimizers import SGD

TRIAL = TrialConfig(
    model=Mlp((32, 16)),
    train=Train(length=Duration(60, "steps"), evaluate=Duration(30, "steps")),
    rate=0.5,
    levels=3,
    seeds=2,
)


def levels(trial: TrialConfig, folder: Path, **runtime: object) -> list[Level]:
    return list(run(trial, Store(folder), Runtime(**runtime)))  # type: ignore[arg-type]


def cost(found: list[Level]) -> list[tuple[int, int]]:
    return [(sum(r.steps_trained for r in level), sum(r.steps_reused for r in level)) for level in found]


def test_a_ladder(tmp_path: Path) -> None:
    found = levels(TRIAL, tmp_path)
    assert [[(record.level, record.seed) for record in level] for level in found] == [
        [(level, 0), (level, 1)] for level in range(4)
    ]
    assert [level[0].density for level in found] == [1, 1400 / 2720, 730 / 2720, 387 / 2720]
    assert found[0][0].sizes["params"] == 64 * 32 + 32 * 16 + 16 * 10 + 58
    assert found[0][0].layer_density == {"fc1": 1.0, "fc2": 1.0, "output": 1.0}
    assert found[1][0].layer_density == {"fc1": 0.5, "fc2": 0.5, "output": 0.75}
    assert [point.step for point in found[0][0].curve] == [30, 60]
    assert cost(found) == [(120, 0)] * 4


def test_running_again_trains_nothing_and_finds_the_same(tmp_path: Path) -> None:
    once, again = levels(TRIAL, tmp_path), levels(TRIAL, tmp_path)
    assert [[record.result() for record in level] for level in once] == [
        [record.result() for record in level] for level in again
    ]
    assert cost(again) == [(0, 120)] * 4


def test_two_stores_find_the_same(tmp_path: Path) -> None:
    once, again = levels(TRIAL, tmp_path / "a"), levels(TRIAL, tmp_path / "b")
    assert [[record.result() for record in level] for level in once] == [
        [record.result() for record in level] for level in again
    ]


def test_trials_that_differ_only_in_k_share_the_dense_run(tmp_path: Path) -> None:
    """k = 10 and k = 20, both snapshots of the one dense run; then k = 0, which needs nothing of it; then an unforeseen
    k = 15, five steps from a stored one."""
    early = {k: replace(TRIAL, rewind=ToStep(Duration(k, "steps"))) for k in (10, 20, 15)}
    assert cost(levels(early[10], tmp_path, snapshots=(10, 20))) == [(120, 0)] + [(100, 0)] * 3
    assert cost(levels(early[20], tmp_path, snapshots=(10, 20))) == [(0, 120)] + [(80, 0)] * 3
    assert cost(levels(TRIAL, tmp_path, snapshots=(10, 20))) == [(0, 120)] + [(120, 0)] * 3
    assert cost(levels(early[15], tmp_path)) == [(0, 120), (100, 0), (90, 0), (90, 0)]


def test_a_trial_with_more_levels_or_seeds_goes_on(tmp_path: Path) -> None:
    levels(TRIAL, tmp_path)
    assert cost(levels(replace(TRIAL, levels=4), tmp_path))[-2:] == [(0, 120), (120, 0)]
    assert cost(levels(replace(TRIAL, seeds=3), tmp_path)) == [(60, 120)] * 4


def test_recipes_that_arrive_at_the_same_masks_share_them(tmp_path: Path) -> None:
    """One level removes the same weights whether the rate is written 0.5, or 0.25 with twice the factor everywhere."""
    one = replace(TRIAL, levels=1, layer_rates={})
    levels(one, tmp_path)
    assert cost(levels(replace(one, rate=0.25, layer_rates={"*": 2.0}), tmp_path)) == [(0, 120)] * 2


def test_units_shrink_both_sides(tmp_path: Path) -> None:
    found = levels(replace(TRIAL, granularity=Unit(), levels=1, layer_rates={}), tmp_path)
    assert found[1][0].layer_density == {"fc1": 0.5, "fc2": 0.25, "output": 0.5}
    assert found[1][0].sizes["params"] == 64 * 16 + 16 * 8 + 8 * 10 + 16 + 8 + 10
    assert found[1][0].sizes["bytes"] == 4 * found[1][0].sizes["params"]


def test_a_diverged_trial_says_so_and_ends(tmp_path: Path) -> None:
    found = levels(replace(TRIAL, train=replace(TRIAL.train, optimizer=SGD(lr=1e30))), tmp_path)
    assert len(found) == 1
    assert all(str(record.metrics["accuracy"]) == "nan" for record in found[0])


def test_closing_stops_it(tmp_path: Path) -> None:
    trial = run(TRIAL, Store(tmp_path), Runtime())
    next(trial)
    trial.close()
    assert cost(levels(TRIAL, tmp_path)) == [(0, 120)] + [(120, 0)] * 3


def test_records_survive_json(tmp_path: Path) -> None:
    import json

    for record in levels(TRIAL, tmp_path)[1]:
        assert LevelRecord.from_json(json.loads(json.dumps(record.to_json()))) == record


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"rewind": ToStep(Duration(60, "steps"))}, "rewind.at"),
        ({"train": replace(TRIAL.train, batch=5000)}, "train.batch"),
        ({"train": replace(TRIAL.train, length=Duration(0.01, "epochs"))}, "train.length"),
        ({"train": replace(TRIAL.train, evaluate=Duration(0.001, "epochs"))}, "train.evaluate"),
        ({"layer_rates": {"conv*": 0.5}}, "layer_rates.conv*"),
    ],
)
def test_what_does_not_fit_the_data_is_refused(change: dict[str, object], path: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        levels(replace(TRIAL, **change), tmp_path)  # type: ignore[arg-type]
    assert caught.value.path == path
    assert list(tmp_path.iterdir()) == []


def test_batched_replicas_give_the_same_ladder(tmp_path: Path) -> None:
    apart = levels(TRIAL, tmp_path / "apart")
    together = levels(TRIAL, tmp_path / "together", batched=True)
    for one, other in zip(apart, together, strict=True):
        for a, b in zip(one, other, strict=True):
            assert (a.level, a.seed, a.density) == (b.level, b.seed, b.density)
            assert b.metrics["loss"] == pytest.approx(a.metrics["loss"], rel=0.01)
    assert cost(together) == [(120, 0)] * 4


class _Two(nn.Module):
    """A network with two outputs, by name."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.hidden, self.sign, self.output = nn.Linear(inputs, 16), nn.Linear(16, 1), nn.Linear(16, outputs)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.hidden(x.flatten(1)).relu()
        return {"sign": self.sign(y).flatten(), "class": self.output(y)}


@dataclass(frozen=True)
class _TwoOutputs(Model):
    def build(self, example: Any, outputs: int) -> nn.Module:
        return _Two(example[0].numel(), outputs)


@dataclass(frozen=True)
class _Named(Classification):
    """With a metric of the whole set."""

    metrics: ClassVar[tuple[Metric, ...]] = (Metric("accuracy"), Metric("spread", per_example=False, format="number"))

    def loss(self, output: Any, target: Tensor) -> Tensor:
        return super().loss(output["class"], target) + (output["sign"] - (target > 4).float()).square()

    def values(self, output: Any, target: Tensor) -> Mapping[str, Tensor]:
        return {"accuracy": self.predictions(output) == target}

    def meters(self) -> Mapping[str, Meter]:
        return {"spread": Sums(lambda output, target: output["sign"].sum(), float)}

    def read(self, given: Any) -> Any:
        return given

    def predictions(self, output: Any) -> Tensor:
        return super().predictions(output["class"])


@pytest.mark.parametrize("batched", [False, True])
def test_outputs_that_are_no_single_tensor(batched: bool, tmp_path: Path) -> None:
    trial = replace(TRIAL, model=_TwoOutputs(), task=_Named(), granularity=Unit(), criterion=SynFlow(2), levels=2)
    found = levels(trial, tmp_path, batched=batched)
    assert [level[0].sizes["params"] for level in found] == [64 * n + n + 11 * n + 11 for n in (16, 8, 4)]
    assert {"dead_units", "spread", "train_spread"} <= found[0][0].metrics.keys()
    ticket = Ticket.load(trial, found[2][0], Store(tmp_path))
    smaller = ticket.compact
    assert sum(parameter.numel() for parameter in smaller.parameters()) <= found[2][0].sizes["params"]
    x = torch.randn(5, 1, 8, 8)
    torch.testing.assert_close(smaller(x), ticket.module(x))
