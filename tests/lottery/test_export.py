"""Tickets of real trials, as files that other programs read."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lth_sweep.lottery.common.duration import Duration
from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.common.registry import find
from lth_sweep.lottery.data import Digits, load
from lth_sweep.lottery.loop import run
from lth_sweep.lottery.network.masks import pack
from lth_sweep.lottery.network.models import Conv4, Mlp, Model, ResNet
from lth_sweep.lottery.network.state import State
from lth_sweep.lottery.pruning.granularity import Unit, Weight
from lth_sweep.lottery.recipe.methods import EdgePopup
from lth_sweep.lottery.recipe.trial import Runtime, Train, TrialConfig
from lth_sweep.lottery.records import LevelRecord
from lth_sweep.lottery.runs.stages import Stage, Store
from lth_sweep.lottery.task import Classification
from lth_sweep.lottery.ticket.export import export
from lth_sweep.lottery.ticket.loading import load_ticket
from lth_sweep.lottery.ticket.ticket import Ticket
from lth_sweep.lottery.training.evaluation import evaluate
from tests.lottery.own import OwnModule
from tests.lottery.test_compaction import dead_units, random_masks, randomised

OWN = """
from torch import nn

class Net(nn.Module):
    def __init__(self, hidden=6):
        super().__init__()
        self.first = nn.Linear(64, hidden)
        self.output = nn.Linear(hidden, 10)

    def forward(self, x):
        return self.output(self.first(x.flatten(1)).relu())
"""


def ticket(model: Model, units: bool = True) -> Ticket:
    splits = load(Digits())
    module = randomised(model.build(splits.example, splits.classes))
    masks = dead_units(module, splits.shape, 0.5) if units else random_masks(module, splits.shape, 0.1)
    return Ticket(TrialConfig(model=model), 3, 7, State.of(module).masked(masks))


def logits(module: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return module(load(Digits()).validation.x)


@pytest.mark.parametrize("model", [Mlp((20, 10)), Conv4(width=0.1), ResNet(8, 0.25)], ids=lambda model: model.kind)
def test_every_format(model: Model, tmp_path: Path) -> None:
    exported = ticket(model)
    folder = tmp_path / "out"
    assert [path.name for path in export(exported, folder).paths] == [
        "config.json", "ticket.onnx", "ticket.pt2", "ticket.safetensors"]  # fmt: skip
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json", "ticket.onnx", "ticket.pt2", "ticket.safetensors"]  # fmt: skip
    expected = logits(exported.module)

    loaded = load_ticket(folder)
    assert not loaded.training
    assert torch.equal(logits(loaded), logits(exported.compact))
    assert (logits(loaded) - expected).abs().max() < 1e-5 * expected.abs().max()
    assert torch.equal(logits(load_ticket(folder / "ticket.safetensors")), logits(loaded))
    program = torch.export.load(folder / "ticket.pt2").module()
    assert (logits(program) - expected).abs().max() < 1e-5 * expected.abs().max()

    config = json.loads((folder / "config.json").read_text())
    assert (config["level"], config["seed"], config["masks"]) == (3, 7, exported.masks.digest)
    assert config["params"] == sum(parameter.numel() for parameter in loaded.parameters())
    assert config["params"] < sum(parameter.numel() for parameter in exported.module.parameters())
    assert config["recipe"]["model"] == config["model"]


def test_the_safetensors_package_reads_it(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    exported = ticket(Mlp((20, 10)), units=False)
    export(exported, tmp_path, ["safetensors"])
    tensors = load_file(tmp_path / "ticket.safetensors")
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == {
        name: tuple(tensor.shape) for name, tensor in exported.compact.state_dict().items()
    }


def test_a_ticket_of_a_stage(tmp_path: Path) -> None:
    """What the loop stores: packed masks beside the tensors."""
    exported = ticket(Mlp((20, 10)))
    packed = {f"mask/{name}": pack(mask) for name, mask in exported.masks.tensors.items()}
    tensors = exported.state.to_tensors() | packed
    store = Store(tmp_path)
    store.publish("ab12", 60, Stage(tensors, {}))
    record = LevelRecord("t", 3, 7, 0.5, {}, {}, {}, (), "ab12/60", 0, 0)
    loaded = Ticket.load(exported.trial, record, store)
    assert (loaded.level, loaded.seed, loaded.masks.digest) == (3, 7, exported.masks.digest)
    assert torch.equal(logits(loaded.module), logits(exported.module))
    with pytest.raises(ConfigError, match=r"level 3, seed 7, is not in .* \(stage ab12/61\); run the sweep again"):
        Ticket.load(exported.trial, replace(record, stage="ab12/61"), store)


@pytest.mark.parametrize(
    "change",
    [
        {"granularity": Unit(), "model": Conv4(width=0.1)},
        {"granularity": Weight(), "rate": 0.9},
        {"method": EdgePopup(0.5)},
    ],
    ids=["units", "weights", "supermask"],
)
def test_a_ticket_of_a_trial(change: dict[str, Any], tmp_path: Path) -> None:
    """Exported and loaded, it has the validation accuracy of the trial's record."""
    recipe = Train(length=Duration(40, "steps"), evaluate=Duration(40, "steps"))
    trial = replace(TrialConfig(model=Mlp((20, 10)), train=recipe, rate=0.5, levels=1, seeds=1), **change)
    store = Store(tmp_path / "stages")
    for (record,) in run(trial, store, Runtime()):
        export(Ticket.load(trial, record, store), tmp_path / str(record.level), ["safetensors"])
        loaded = load_ticket(tmp_path / str(record.level))
        assert evaluate(loaded, Classification(), load(Digits()).validation)["accuracy"] == record.metrics["accuracy"]
        params = sum(parameter.numel() for parameter in loaded.parameters())
        assert params == record.sizes["params"] or not isinstance(trial.granularity, Unit)


def test_a_dense_network(tmp_path: Path) -> None:
    splits = load(Digits())
    module = randomised(Mlp((5,)).build(splits.example, 10))
    export(Ticket(TrialConfig(model=Mlp((5,))), 0, 0, State.of(module)), tmp_path, ["safetensors"])
    assert torch.equal(logits(load_ticket(tmp_path)), logits(module))


def test_a_model_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for own in OwnModule.put(tmp_path, monkeypatch, "own_exported", OWN):
        model = Model.adopt("own_exported:Net", find(Model, "own_exported:Net"), {"hidden": 8})
        exported = ticket(model)
        export(exported, tmp_path / "out", ["safetensors"])
        assert tuple(load_ticket(tmp_path / "out").first.weight.shape) == (4, 64)
        assert torch.equal(logits(load_ticket(tmp_path / "out")), logits(exported.compact))
        own.write(OWN.replace("self.first", "self.other"))
        with pytest.raises(ConfigError, match=r"own_exported:Net has changed .*first.bias, first.weight, other.bias"):
            load_ticket(tmp_path / "out")


def test_a_file_that_computes_something_else_is_not_written(tmp_path: Path) -> None:
    """A compact network that is wrong, as a fault in the compaction would make it."""
    exported = ticket(Mlp((20, 10)))
    with torch.no_grad():
        exported.compact.output.bias += 0.01
    with pytest.raises(ConfigError, match=r"the pt2 file does not compute the same .* by .*e-0\d of the largest"):
        export(exported, tmp_path / "out", ["pt2"])
    assert list((tmp_path / "out").iterdir()) == []


def test_mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exported = ticket(Mlp((20, 10)))
    with pytest.raises(ConfigError, match=r"unknown format 'onx'; allowed: onnx, pt2, safetensors; did you mean"):
        export(exported, tmp_path, ["onx"])
    with pytest.raises(ConfigError, match=r"no ticket at .*config.json is missing; export it as safetensors"):
        load_ticket(tmp_path)
    (tmp_path / "file").write_text("mine")
    for folder, why in (("file", "File exists"), ("file/out", "Not a directory")):
        with pytest.raises(ConfigError, match=f"out: .*{folder} cannot be written to: {why}; choose another folder"):
            export(exported, tmp_path / folder, ["safetensors"])
    export(exported, tmp_path, ["safetensors"])
    (tmp_path / "ticket.safetensors").write_bytes((tmp_path / "ticket.safetensors").read_bytes()[:-9])
    with pytest.raises(ConfigError, match=r"is damaged \(ValueError: .*\); export it again"):
        load_ticket(tmp_path)
    (tmp_path / "config.json").write_text('{"version": 2, "model": {}, "shape": [], "classes": 1}')
    with pytest.raises(ConfigError, match="is damaged"):
        load_ticket(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"the format onnx needs onnx, onnxscript, onnxruntime: pip install"):
        export(exported, tmp_path, ["onnx"])
