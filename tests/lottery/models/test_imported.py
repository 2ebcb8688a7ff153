import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.common.identity import canonical
from lth_sweep.lottery.common.registry import find
from lth_sweep.lottery.data.batch import arguments, call
from lth_sweep.lottery.network.models import ImportedModel, Model
from tests.lottery.own import OwnModule

SOURCE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, hidden, dropout=0.0):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.LazyLinear(hidden), nn.BatchNorm1d(hidden), nn.ReLU())
        self.head = nn.Linear(hidden, 3)

    def forward(self, x):
        return self.head(self.body(x))

class Pair(Net):
    def forward(self, x):
        return x, x

class InPlace(Net):
    def forward(self, x, more=None):
        with torch.no_grad():
            x.view(-1).sub_(0.25)
        if more is not None:
            more.add_(x.sum())
        return super().forward(x)

class Refuses(Net):
    def __init__(self, hidden):
        raise RuntimeError("no such thing")

class NotAModule:
    pass

def factory(*, width=8):
    return Net(width)

def not_a_factory():
    return [1, 2]

number = 3
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnModule]:
    yield from OwnModule.put(tmp_path, monkeypatch, "own_model", SOURCE)


def adopt(path: str, **options: object) -> Model:
    return Model.adopt(path, find(Model, path), options)


def test_a_users_class_is_built_with_its_options(own: OwnModule) -> None:
    model = adopt("own_model:Net", hidden=5)
    assert isinstance(model, ImportedModel)
    assert model.kind == "own_model:Net"
    module = model.build(torch.zeros(2, 1, 4, 4), 3)
    assert type(module).__name__ == "Net"
    assert module.body[1].weight.shape == (5, 16)
    assert module.training


def test_the_trial_forward_leaves_no_trace(own: OwnModule) -> None:
    norm = adopt("own_model:Net", hidden=5).build(torch.zeros(2, 16), 3).body[2]
    assert torch.equal(norm.running_mean, torch.zeros(5))
    assert int(norm.num_batches_tracked) == 0


def test_it_cannot_change_its_inputs(own: OwnModule) -> None:
    x, more = torch.ones(4, 16), torch.ones(4)
    for example in (x, {"x": x, "more": more}):
        module = adopt("own_model:InPlace", hidden=5).build(example, 3).eval()
        once = call(module, example)
        assert torch.equal(call(module, example), once)
        assert torch.equal(call(copy.deepcopy(module), example), once)
        assert torch.equal(
            torch.export.export(module, *arguments(example)).module()(*arguments(example)[0], **arguments(example)[1]),
            once,
        )
    assert torch.equal(x, torch.ones(4, 16))
    assert torch.equal(more, torch.ones(4))
    assert not adopt("own_model:Net", hidden=5).build(x, 3)._forward_pre_hooks


def test_a_factory_will_do(own: OwnModule) -> None:
    assert adopt("own_model:factory", width=6).build(torch.zeros(2, 16), 3).head.in_features == 6


def test_equal_options_make_equal_models(own: OwnModule) -> None:
    one, same = adopt("own_model:Net", hidden=5, dropout=0.5), adopt("own_model:Net", dropout=0.5, hidden=5)
    assert one == same
    assert hash(one) == hash(same)
    assert one != adopt("own_model:Net", hidden=6, dropout=0.5)


def test_edited_code_is_another_model(own: OwnModule) -> None:
    before = canonical(adopt("own_model:Net", hidden=5), source=True)
    assert canonical(adopt("own_model:Net", hidden=5), source=True) == before
    own.write(SOURCE.replace("nn.ReLU()", "nn.Tanh()"))
    after = canonical(adopt("own_model:Net", hidden=5), source=True)
    assert {key for key in before if before[key] != after[key]} == {"source code"}


@pytest.mark.parametrize(("path", "options", "message"), [
    ("Net", {"hiden": 5}, "hiden: own_model:Net: unknown option 'hiden'; allowed: dropout, hidden; "
                          "did you mean 'hidden'?"),
    ("Net", {}, "hidden: own_model:Net needs the option 'hidden', which is not given"),
    ("Net", {"hidden": 5, "dropout": float("nan")}, "dropout: own_model:Net: must be a number, .* but got nan"),
    ("not_a_factory", {"x": 1}, "x: own_model:not_a_factory: unknown option 'x'; it takes no options"),
    ("NotAModule", {}, "own_model:NotAModule cannot be used as a model: it must be a subclass of torch.nn.Module"),
    ("number", {}, "own_model:number cannot be used as a model"),
])  # fmt: skip
def test_wrong_options_and_objects(own: OwnModule, path: str, options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        adopt(f"own_model:{path}", **options)


@pytest.mark.parametrize(("path", "options", "classes", "message"), [
    ("Net", {"hidden": "many"}, 3, r"own_model:Net: making the model raised TypeError: .*line \d+"),
    ("Refuses", {"hidden": 5}, 3, r"making the model raised RuntimeError: no such thing \(.*own_model.py, line 28\)"),
    ("not_a_factory", {}, 3, "must make a torch.nn.Module, but makes a list"),
])  # fmt: skip
def test_networks_that_do_not_fit(own: OwnModule, path: str, options: dict, classes: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        adopt(f"own_model:{path}", **options).build(torch.zeros(2, 16), classes)


def test_a_forward_that_fails_names_the_shape(own: OwnModule) -> None:
    own.write(SOURCE.replace("nn.LazyLinear(hidden)", "nn.Linear(7, hidden)"))
    with pytest.raises(
        ConfigError,
        match=r"forward on inputs of shape \[2, 16\] raised RuntimeError: mat1 and mat2 "
        r".*own_model.py, line 12\)",
    ):
        adopt("own_model:Net", hidden=5).build(torch.zeros(2, 16), 3)
