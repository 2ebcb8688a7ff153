"""A task, a source, a mask rule and a stopping rule from outside the package: one class each, named by import path."""

import json
from pathlib import Path

import pytest
import torch

from lth_sweep.cli import main
from lth_sweep.lottery.recipe.trial import trial_digest
from lth_sweep.lottery.runs.stages import Store
from lth_sweep.lottery.ticket.ticket import Ticket
from lth_sweep.orchestration.records import read
from lth_sweep.sweepfile.load import imports_from, load_spec

MODULE = """
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from lth_sweep.lottery.common.identity import derive
from lth_sweep.lottery.data import Batch, Data, Examples, Source, Splits
from lth_sweep.lottery.task import Metric, Task
from lth_sweep.lottery.training.mask_rules import MaskRule
from lth_sweep.sweepfile.stopping import StopRule


@dataclass(frozen=True)
class Regression(Task):
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("mse", higher_is_better=False, format="number"),)

    def loss(self, output, target):
        return (output - target).square().mean(1)

    def values(self, output, target):
        return {"mse": self.loss(output, target)}

    def predictions(self, output):
        return output


class Waves(Source):
    # Made when they are asked for, and never all at once.
    def __init__(self, numbers: range) -> None:
        self.numbers = numbers

    @property
    def fingerprint(self) -> str:
        return f"waves {self.numbers}"

    def __len__(self) -> int:
        return len(self.numbers)

    def batches(self, orders: Iterable[torch.Tensor]) -> Iterator[Batch]:
        for order in orders:
            x = (torch.tensor([[self.numbers[i]] for i in order.tolist()]) * 0.37 * torch.arange(1, 9)).sin()
            yield Batch(x, x[:, :1] * x[:, 1:2] + 0.5 * x[:, 2:3])

    def to(self, device: torch.device | str) -> "Waves":
        return self


@dataclass(frozen=True)
class Made(Data):
    def load(self) -> Splits:
        return Splits(Waves(range(400)), Waves(range(400, 500)), lambda: Waves(range(500, 600)), classes=1)


@dataclass(frozen=True)
class Regrow(MaskRule):
    # Every 10 steps the smallest kept weight of a layer goes, and one that was gone comes back (Mocanu et al. 2018).
    every: int = 10

    def due(self, step, clock):
        return step % self.every == 0 and step < clock.length

    def update(self, weights, masks, gradients, step, seed):
        new = {}
        for name, mask in masks.items():
            gone = (~mask).flatten().nonzero().flatten()
            if len(gone):
                worst = weights[name].abs().masked_fill(~mask, float("inf")).flatten().argmin()
                generator = torch.Generator().manual_seed(derive(seed, "regrow", name, step))
                back = gone[torch.randint(len(gone), (1,), generator=generator)]
                new[name] = mask.flatten().index_fill(0, worst, False).index_fill(0, back, True).view_as(mask)
        return new


@dataclass(frozen=True)
class Enough(StopRule):
    level: int

    def reason(self, view):
        return f"level {self.level} is enough" if view.levels[-1].number == self.level else None


def named(n: int, seed: int) -> Examples:
    generator = torch.Generator().manual_seed(seed)
    signal, token = torch.randn(n, 6, generator=generator), torch.randint(0, 5, (n,), generator=generator)
    return Examples({"signal": signal, "token": token}, ((signal[:, 0] > 0).long() + token) % 2)


@dataclass(frozen=True)
class Named(Data):
    def load(self) -> Splits:
        return Splits(named(500, 0), named(200, 1), lambda: named(200, 2), classes=2)


class Both(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.hidden = torch.nn.Embedding(5, 8), torch.nn.Linear(14, 32)
        self.output = torch.nn.Linear(32, 2)

    def forward(self, signal, token):
        return self.output(self.hidden(torch.cat([signal, self.embedding(token)], 1)).relu())
"""
SWEEP = """
name: seams
trial:
  data: "seams:Made"
  task: "seams:Regression"
  model: {kind: mlp, hidden: [24]}
  train: {length: 60 steps, batch: 40, optimizer: {kind: adam, lr: 0.01}, evaluate: 20 steps}
  rate: 0.5
  levels: 4
  seeds: 2
space:
  mask_rule: {choice: {fixed: fixed, regrown: {kind: "seams:Regrow", every: 10}}}
objective: {match: {margin: 5.0}}
search: {sampler: grid, trials: 2}
stop: {patience: null, race: null, hopeless: false, rules: [{kind: "seams:Enough", level: 2}]}
verify: {top: 1, seeds: 2, controls: []}
"""

INPUTS = """
name: inputs
trial: {data: "seams:Named", model: "seams:Both", levels: 2, rate: 0.4, seeds: 2,
        train: {length: 150 steps, batch: 50, optimizer: {kind: adam, lr: 0.01}}}
space: {granularity: {choice: [weight, unit]}}
objective: {match: {margin: 0.5}}
search: {sampler: {kind: grid, shuffle: false}, trials: 2}
stop: {race: null, hopeless: false}
verify: {top: 1, seeds: 2, controls: [shuffle]}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "seams.py").write_text(MODULE)
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_one_class_each_is_enough(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "sweep.yaml", "--serial", "--json"]) == 0
    best = json.loads(capsys.readouterr().out)["best"]
    assert best["metric"] == "mse"
    assert best["verification"]["verdict"]["word"] in ("matches", "does not match", "undecided")

    spec, trials = load_spec("sweep.yaml"), read(folder / "runs" / "seams")
    assert {str(trial.picks["mask_rule"]) for trial in trials} == {"fixed", "regrown"}
    for trial in trials:
        assert (trial.ending, trial.reason, len(trial.levels)) == ("stopped", "level 2 is enough", 3)
        assert all({"mse", "loss", "train_mse"} <= record.metrics.keys() for level in trial.levels for record in level)
        dense = trial.levels[0]
        assert dense.mean("mse") < 0.5 * dense[0].curve[0].metrics["mse"]
    fixed, regrown = sorted(trials, key=lambda trial: str(trial.picks["mask_rule"]))
    assert fixed.levels[0][0].stage == regrown.levels[0][0].stage  # the dense run is none of the rule's
    with imports_from(folder):
        store, masks = Store(folder / "runs" / "stages"), {}
        for trial in (fixed, regrown):
            recipe = spec.recipe(trial.picks)
            assert trial.levels[1][0].trial == trial_digest(recipe)
            ticket = Ticket.load(recipe, trial.levels[1][0], store)
            masks[str(trial.picks["mask_rule"])] = ticket.masks
            assert not any(ticket.state.model[name][~mask].any() for name, mask in ticket.masks.tensors.items())
    kept = [mask.kept for mask in masks.values()]
    assert kept[0] == kept[1]  # one for one
    changed = {name: int((masks["fixed"][name] != masks["regrown"][name]).sum()) for name in masks["fixed"]}
    assert all(2 <= count <= 2 * 5 for count in changed.values()), changed  # at steps 10, 20, ... 50


def test_a_run_under_a_rule_that_changes_masks_goes_on_as_it_would_have(folder: Path) -> None:
    """From a stage in between, whose masks are those of that step."""
    from lth_sweep.lottery.recipe.trial import Runtime
    from lth_sweep.lottery.runs.states import States

    spec = load_spec("sweep.yaml")
    with imports_from(folder):
        recipe = spec.recipe({"mask_rule": "regrown"})
        ends = []
        for name, stops in (("whole", (60,)), ("parts", (7, 30, 60))):
            states = States(recipe, Store(folder / name), Runtime())
            dense = states.tree.dense(0)
            masks = states.network.full.replace({"fc1.weight": torch.arange(24 * 8).view(24, 8) % 2 == 0})
            path = states.tree.level(dense, dense, 60, masks, recipe.mask_rule)
            for stop in stops:
                [replica] = states.at([path], stop)
            ends.append(replica)
    assert ends[0].state.masks.digest == ends[1].state.masks.digest != masks.digest
    assert ends[0].curve == ends[1].curve
    assert all(torch.equal(tensor, ends[1].state.model[name]) for name, tensor in ends[0].state.model.items())


def test_inputs_by_name_and_of_any_type(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Integers stay integers; nothing asks for a shape. In batches, in the compact network, in exported files."""
    (folder / "inputs.yaml").write_text(INPUTS)
    assert main(["run", "inputs.yaml", "--serial", "--json"]) == 0
    best = json.loads(capsys.readouterr().out)["best"]
    assert best["dense"]["metrics"]["accuracy"] > 0.8
    trials = read(folder / "runs" / "inputs")
    assert [trial.levels[2].density for trial in trials] == pytest.approx([0.6 * 0.6, 0.6 * 0.6], abs=0.15)
    assert main(["export", "inputs", "--formats", "safetensors,pt2,onnx"]) == 0  # which checks that they are equal
