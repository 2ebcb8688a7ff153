"""Weights that were trained elsewhere: set in a constructor, or in a file; frozen or not."""

import os
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from lth_sweep import Sweep
from lth_sweep.cli import main
from lth_sweep.lottery.common.duration import Duration
from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.loop import run
from lth_sweep.lottery.network.initial.drawing import draw, loaded
from lth_sweep.lottery.network.initial.initialization import Default, KaimingNormal, Pretrained
from lth_sweep.lottery.network.models import Mlp, Model
from lth_sweep.lottery.network.weights_file import read
from lth_sweep.lottery.pruning.granularity import Unit
from lth_sweep.lottery.recipe.methods import EdgePopup
from lth_sweep.lottery.recipe.rewinding import Reinit
from lth_sweep.lottery.recipe.trial import Runtime, TrialConfig
from lth_sweep.lottery.runs import states
from lth_sweep.lottery.runs.stages import Store
from lth_sweep.lottery.runs.states import States
from lth_sweep.lottery.ticket.export import export
from lth_sweep.lottery.ticket.loading import load_ticket
from lth_sweep.lottery.ticket.ticket import Ticket
from lth_sweep.lottery.training.optimizers import SGD
from lth_sweep.lottery.training.train import Train

TRIAL = TrialConfig(
    train=Train(length=Duration(30, "steps"), evaluate=Duration(30, "steps"), optimizer=SGD(weight_decay=0.01)),
    rate=0.4, levels=2, seeds=2, layer_rates={},
)  # fmt: skip
FEATURES = torch.randn(24, 64, generator=torch.Generator().manual_seed(7)) * 0.2


class Backbone(nn.Module):
    """`back`, `norm` and `own` have values of their own; `mid` and `head` are drawn."""

    def __init__(self, frozen: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.back, self.norm = nn.Linear(64, 24), nn.BatchNorm1d(24)
        self.own = nn.Parameter(FEATURES[:, :24].clone())
        self.scale = nn.Parameter(torch.full((24,), 0.5))
        self.mid, self.head = nn.Linear(24, 16), nn.Linear(16, 10)
        with torch.no_grad():
            self.back.weight.copy_(FEATURES)
            self.norm.weight.copy_(1 + FEATURES[:, 0])
            nn.init.normal_(self.mid.weight, std=0.02)
            self.head.weight.copy_(torch.from_numpy(np.random.randn(10, 16)))
        for name in frozen:
            self.get_submodule(name).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.back(x.flatten(1))).relu()
        return self.head(self.mid((x @ self.own).relu() * self.scale).relu())


@dataclass(frozen=True)
class Own(Model):
    frozen: tuple[str, ...] = ()

    def build(self, example: Any, outputs: int) -> nn.Module:
        return Backbone(self.frozen)


def lab(folder: Path, **options: Any) -> States:
    return States(replace(TRIAL, **options), Store(folder), Runtime())


# What a constructor sets


def test_what_a_constructor_sets_is_where_training_starts(tmp_path: Path) -> None:
    one, other = (lab(tmp_path, model=Own()).initial(seed).model for seed in (0, 1))
    for model in (one, other):
        assert torch.equal(model["back.weight"], FEATURES)
        assert torch.equal(model["norm.weight"], 1 + FEATURES[:, 0])
        assert torch.equal(model["own"], FEATURES[:, :24])
    assert torch.equal(one["mid.weight"], lab(tmp_path, model=Own()).initial(0).model["mid.weight"])


def test_what_a_constructor_draws_is_drawn_for_each_seed(tmp_path: Path) -> None:
    """With its own spread, by whatever generator."""
    one, other, again = (lab(tmp_path, model=Own()).initial(seed).model for seed in (0, 1, 0))
    for name, std in (("mid.weight", 0.02), ("head.weight", 1.0), ("mid.bias", 24**-0.5 / 3**0.5)):
        assert one[name].std().item() == pytest.approx(std, rel=0.4)
        assert not torch.equal(one[name], other[name])
        assert torch.equal(one[name], again[name])


def test_a_scheme_draws_all_but_what_is_frozen(tmp_path: Path) -> None:
    model = lab(tmp_path, model=Own(("norm",)), init=KaimingNormal()).initial(0).model
    assert model["back.weight"].std().item() == pytest.approx((2 / 64) ** 0.5, rel=0.1)
    assert model["back.bias"].abs().max() == 0
    assert torch.equal(model["norm.weight"], 1 + FEATURES[:, 0])
    assert model["own"].std().item() == pytest.approx(0.2, rel=0.2)
    assert not torch.equal(model["own"], FEATURES[:, :24])


def test_reinit_draws_what_was_loaded_too_unless_it_is_frozen(tmp_path: Path) -> None:
    work = lab(tmp_path, model=Own(("norm",)))
    first, other, third = (work.initial(0, *purpose).model for purpose in ((), ("reinit", "a"), ("reinit", "b")))
    for name in ("back.weight", "own", "mid.weight", "head.weight"):
        assert not torch.equal(first[name], other[name]), name
        assert not torch.equal(third[name], other[name]), name
    assert other["back.weight"].abs().max().item() == pytest.approx(1 / 8, rel=0.01)  # as a Linear draws it
    assert other["own"].std().item() == pytest.approx(0.2, rel=0.2)  # which cannot draw
    assert other["mid.weight"].std().item() == pytest.approx(0.02, rel=0.2)  # as the constructor does
    assert torch.equal(other["norm.weight"], first["norm.weight"])
    assert torch.equal(other["scale"], first["scale"])


def test_stages_are_of_what_a_constructor_has_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = lab(tmp_path, model=Own()).tree.dense(0).digest
    monkeypatch.setattr(f"{__name__}.FEATURES", FEATURES + 1)
    states._loaded.cache_clear()
    assert lab(tmp_path, model=Own()).tree.dense(0).digest != before
    states._loaded.cache_clear()


def test_what_a_library_loads_by_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hugging Face's `from_pretrained`, with a head that the file has not."""
    transformers = pytest.importorskip("transformers")
    monkeypatch.chdir(tmp_path)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.BertConfig(vocab_size=30, max_position_embeddings=16, num_labels=4, **sizes)
    body = transformers.BertModel(config)
    body.save_pretrained("weights")

    def build() -> nn.Module:
        module: nn.Module = transformers.BertForSequenceClassification.from_pretrained("weights", num_labels=4)
        return module

    found = loaded(build)
    assert {name for name in found if name.startswith("classifier")} == set()
    embedding = "bert.embeddings.word_embeddings.weight"
    assert torch.equal(found[embedding], body.get_parameter("embeddings.word_embeddings.weight"))
    module = build()
    draw(module, Default(), 0, (), found.keys(), own=True, resized=False)
    assert torch.equal(module.get_parameter(embedding), found[embedding])


# What is frozen


FROZEN: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    (("back",), {}),
    (("back", "norm"), {}),
    (("mid",), {"scope": "global"}),
    (("mid",), {"rewind": Reinit()}),
    (("back", "norm"), {"granularity": Unit(coupled=True)}),
    (("back", "norm"), {"method": EdgePopup(0.5)}),
]


@pytest.mark.parametrize(("frozen", "options"), FROZEN)
@pytest.mark.parametrize("batched", [False, True])
def test_what_is_frozen_is_neither_trained_nor_pruned(
    frozen: tuple[str, ...], options: dict[str, Any], batched: bool, tmp_path: Path
) -> None:
    trial = replace(TRIAL, model=Own(frozen), **options)
    store = Store(tmp_path)
    levels = list(run(trial, store, Runtime(batched=batched)))
    assert States(trial, store, Runtime()).trainer.can_stack
    for record in (record for level in levels for record in level):
        ticket, first = Ticket.load(trial, record, store), States(trial, store, Runtime()).initial(record.seed).model
        for name, parameter in ticket.module.named_parameters():
            assert parameter.requires_grad == (name.split(".")[0] not in frozen)
            if not parameter.requires_grad:
                assert name not in ticket.masks
                assert torch.equal(ticket.state.model[name], first[name]), name
            elif record.level == 0:
                assert not torch.equal(ticket.state.model[name], first[name]), name
    assert levels[-1][0].density < 0.7


def test_batched_runs_with_frozen_parts_agree(tmp_path: Path) -> None:
    trial = replace(TRIAL, model=Own(("back", "norm")))
    one, other = (list(run(trial, Store(tmp_path / name), Runtime(batched=name == "b"))) for name in "ab")
    for before, after in zip(one[-1], other[-1], strict=True):
        assert before.metrics["accuracy"] == pytest.approx(after.metrics["accuracy"], abs=0.02)
        assert before.metrics["train_loss"] == pytest.approx(after.metrics["train_loss"], rel=0.05)


class Passes(nn.Module):
    """A frozen convolution makes some of the units that are added; another, with its norm, reads and makes others."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(64, 12), nn.Linear(12, 12)
        self.c, self.between, self.d = nn.Linear(12, 16), nn.Linear(16, 12), nn.Linear(12, 8)
        self.norm, self.head = nn.BatchNorm1d(16), nn.Linear(8, 10)
        for part in (self.a, self.between, self.norm):
            part.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x.flatten(1)).relu()
        x = x + self.b(x).relu()
        return self.head(self.d(self.between(self.norm(self.c(x)).relu()).relu()).relu())


@dataclass(frozen=True)
class PassesModel(Model):
    def build(self, example: Any, outputs: int) -> nn.Module:
        return Passes()


def test_units_pass_through_frozen_layers(tmp_path: Path) -> None:
    """Those of `c` and `d` go; those of `b` stay, as the frozen `a` makes them, too, and so do those of `between`."""
    trial = replace(TRIAL, model=PassesModel(), granularity=Unit(coupled=True), seeds=1)
    *_, [record] = run(trial, Store(tmp_path), Runtime())
    ticket = Ticket.load(trial, record, Store(tmp_path))
    shapes = {name: tuple(parameter.shape) for name, parameter in ticket.compact.named_parameters()}
    assert shapes["a.weight"] == (12, 64)
    assert shapes["b.weight"] == (12, 12)
    assert shapes["c.weight"][0] < 16
    assert shapes["between.weight"] == (12, shapes["c.weight"][0])
    assert shapes["norm.weight"] == (shapes["c.weight"][0],)
    assert shapes["d.weight"][0] < 8
    assert not ticket.compact.get_parameter("between.weight").requires_grad
    assert not export(ticket, tmp_path / "out", ["safetensors", "pt2"]).failed
    assert not load_ticket(tmp_path / "out").get_parameter("between.weight").requires_grad


# Files


WEIGHTS = {
    "fc1.weight": FEATURES[:8], "fc1.bias": torch.arange(8.0),
    "output.weight": FEATURES[:10, :8].clone(), "output.bias": torch.ones(10),
}  # fmt: skip
MODEL = Mlp((8,))


def pt2(path: Path) -> None:
    module = MODEL.build(torch.zeros(2, 1, 8, 8), 10)
    module.load_state_dict(WEIGHTS)
    torch.export.save(torch.export.export(module, (torch.zeros(2, 1, 8, 8),)), path)


FORMATS: dict[str, Callable[[Path], Any]] = {
    "a.safetensors": lambda path: safetensors.torch.save_file(WEIGHTS, path),
    "a.pt": lambda path: torch.save(WEIGHTS, path),
    "a.pth": lambda path: torch.save({"epoch": torch.tensor(3), "model": WEIGHTS}, path),
    "a.ckpt": lambda path: torch.save({"state_dict": WEIGHTS, "lr": 0.1}, path),
    "a.bin": lambda path: torch.save({f"module.{name}": tensor for name, tensor in WEIGHTS.items()}, path),
    "a.pt2": pt2,
}


@pytest.mark.parametrize("name", FORMATS)
def test_all_formats_are_the_same_weights(name: str, tmp_path: Path) -> None:
    FORMATS[name](tmp_path / name)
    torch.save(WEIGHTS, tmp_path / "other.pt")
    one, other = (lab(tmp_path, model=MODEL, init=Pretrained(str(tmp_path / file))) for file in (name, "other.pt"))
    assert one.tree.dense(0).digest == other.tree.dense(0).digest
    for seed in (0, 1):
        model = one.initial(seed).model
        assert model.keys() == WEIGHTS.keys()
        assert all(torch.equal(model[key], WEIGHTS[key]) for key in WEIGHTS)


def test_the_content_is_what_counts(tmp_path: Path) -> None:
    def dense(**changed: Tensor) -> str:
        torch.save(WEIGHTS | changed, tmp_path / "a.pt")
        return lab(tmp_path, model=MODEL, init=Pretrained(str(tmp_path / "a.pt"))).tree.dense(0).digest

    first = dense()
    assert dense(**{"fc1.bias": torch.arange(8.0) + 1e-6}) != first
    assert dense() == first
    strict = Pretrained(str(tmp_path / "a.pt"), strict=False)
    assert lab(tmp_path, model=MODEL, init=strict).tree.dense(0).digest == first
    fresh = Pretrained(str(tmp_path / "a.pt"), fresh=("output",))
    assert lab(tmp_path, model=MODEL, init=fresh).tree.dense(0).digest != first


class _Told:
    """Makes a folder where it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    pt2(tmp_path / "a.pt2")
    told = pickle.dumps(_Told(str(tmp_path / "told")))
    with zipfile.ZipFile(tmp_path / "a.pt2") as good, zipfile.ZipFile(tmp_path / "bad.pt2", "w") as bad:
        for name in good.namelist():
            bad.writestr(name, told if "sample_inputs" in name else good.read(name))
    (tmp_path / "bad.pt").write_bytes(told)
    assert read(str(tmp_path / "bad.pt2"))[0].keys() == WEIGHTS.keys()
    with pytest.raises(ConfigError, match="cannot be read as weights"):
        read(str(tmp_path / "bad.pt"))
    assert not (tmp_path / "told").exists()


def test_a_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(WEIGHTS, tmp_path / "a.pt")
    read(str(tmp_path / "a.pt"))
    monkeypatch.setattr(torch, "load", None)
    assert read(str(tmp_path / "a.pt"))[0].keys() == WEIGHTS.keys()


@pytest.mark.parametrize("init", [
    Pretrained("a.pt", fresh=("output*",)), Pretrained("a.pt", fresh=("output",)),
    Pretrained("short.pt", strict=False), Pretrained("wide.pt", strict=False),
])  # fmt: skip
def test_fresh_layers_are_drawn_as_by_default(
    init: Pretrained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(WEIGHTS, "a.pt")
    torch.save({name: WEIGHTS[name] for name in ("fc1.weight", "fc1.bias")}, "short.pt")
    torch.save(WEIGHTS | {"output.weight": torch.ones(1000, 8), "output.bias": torch.ones(1000)}, "wide.pt")
    by_default = lab(tmp_path, model=MODEL)
    work = lab(tmp_path, model=MODEL, init=init)
    for seed in (0, 1):
        model = work.initial(seed).model
        assert torch.equal(model["fc1.weight"], WEIGHTS["fc1.weight"])
        assert torch.equal(model["output.weight"], by_default.initial(seed).model["output.weight"])
    drawn = work.initial(0, "reinit").model
    for name in WEIGHTS:
        assert torch.equal(drawn[name], by_default.initial(0, "reinit").model[name]), name


def test_a_file_for_a_network_that_loads_and_freezes_parts_itself(tmp_path: Path) -> None:
    """The file comes after the constructor, for frozen parts, too, and what is fresh is drawn."""
    given = {"back.weight": FEATURES + 1, "norm.weight": torch.full((24,), 3.0) + FEATURES[:, 1]}
    torch.save(given, tmp_path / "a.pt")
    init = Pretrained(str(tmp_path / "a.pt"), strict=False, fresh=("norm",))
    model = lab(tmp_path, model=Own(("back",)), init=init).initial(0).model
    assert torch.equal(model["back.weight"], FEATURES + 1)
    assert torch.equal(model["norm.weight"], torch.ones(24))
    assert torch.equal(model["own"], FEATURES[:, :24])
    model = lab(tmp_path, model=Own(("back",)), init=init).initial(0, "reinit").model
    assert torch.equal(model["back.weight"], FEATURES + 1)


@pytest.mark.parametrize(("content", "init", "says"), [
    (None, {}, ("there is no file 'a.pt' beside the sweep file or in",)),
    (b"nonsense", {}, ("a.pt cannot be read as weights", "safetensors.torch.save_file")),
    (nn.Linear(2, 2), {}, ("a.pt cannot be read as weights",)),
    ({"epoch": 3}, {}, ("holds no tensors by name", "state_dict")),
    (WEIGHTS | {"fc1.bias": torch.full((8,), torch.nan)}, {}, ("fc1.bias has values that are infinite or not a",)),
    ({"x": torch.ones(2)}, {}, ("it lacks fc1.weight, fc1.bias, output.weight and 1 more", "nothing fits")),
    (WEIGHTS | {"more": torch.ones(2)}, {}, ("the network does not have more", "strict: false")),
    ({"fc1.weight": FEATURES[:8], "fc1.bias": torch.ones(8)}, {}, ("it lacks output.weight, output.bias;",
                                                                   "fresh: [output]", "strict: false")),
    (WEIGHTS | {"output.weight": torch.ones(3, 8)}, {}, ("of another shape is output.weight [3, 8], where it has "
                                                         "[10, 8]", "fresh: [output]")),
    (WEIGHTS, {"fresh": ("head*",)}, ("'head*' matches no layer and no parameter; they are fc1.weight,",)),
])  # fmt: skip
def test_a_file_that_does_not_fit(
    content: Any, init: dict[str, Any], says: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if isinstance(content, bytes):
        Path("a.pt").write_bytes(content)
    elif content is not None:
        torch.save(content, "a.pt")
    with pytest.raises(ConfigError) as error:
        Pretrained("a.pt", **init).loaded(MODEL.build(torch.zeros(2, 1, 8, 8), 10))
    assert error.value.path in ("path", "fresh.0")
    for words in says:
        assert words in error.value.message
    assert len(error.value.message) < 400


def test_another_kind_of_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(ConfigError, match=r"a.txt must be a file of weights and end in .safetensors, .pt2, .pt"):
        read(str(tmp_path / "a.txt"))


# A sweep


SWEEP = """
name: pretrained
trial:
  model: {kind: mlp, hidden: [8]}
  train: {length: 60 steps}
  init: {kind: pretrained, path: weights/a.pt}
  rate: 0.5
  levels: 1
  seeds: 1
space:
  init:
    choice:
      trained: {kind: pretrained, path: weights/a.pt}
      head: {kind: pretrained, path: weights/a.pt, fresh: [output]}
      drawn: default
objective: {match: {margin: 0.5}}
search: {sampler: {kind: grid, shuffle: false}, trials: 3}
stop: {patience: null, race: null, hopeless: false}
verify: {top: 1, seeds: 2, controls: [reinit, shuffle]}
"""


def test_a_sweep_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Trained for longer than a trial trains: from there it is better from the first level on."""
    home, there = tmp_path / "home", tmp_path / "there"
    (home / "weights").mkdir(parents=True)
    there.mkdir()
    monkeypatch.chdir(there)
    long = lab(tmp_path / "long", model=MODEL, train=Train(length=Duration(2000, "steps")), seeds=1)
    [trained] = long.at([long.tree.dense(0)], 2000)
    torch.save(trained.state.model, home / "weights/a.pt")
    (home / "sweep.yaml").write_text(SWEEP)
    assert main(["run", str(home / "sweep.yaml"), "--serial", "--runs", "runs"]) == 0
    sweep = Sweep.open(there / "runs/pretrained")
    dense = sweep.levels().query("level == 0").groupby("init").accuracy.mean()
    assert dense["trained"] > dense["drawn"] + 0.05
    assert "reinit" in capsys.readouterr().out


def test_a_wrong_file_is_one_message_at_the_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    assert main(["run", str(tmp_path / "sweep.yaml"), "--serial", "--runs", str(tmp_path / "runs")]) == 2
    message = capsys.readouterr().err
    assert "trial.init.path: there is no file 'weights/a.pt' beside the sweep file" in message
    (tmp_path / "weights").mkdir()
    torch.save({**WEIGHTS, "fc1.weight": torch.ones(8, 32)}, tmp_path / "weights/a.pt")
    assert main(["run", str(tmp_path / "sweep.yaml"), "--serial", "--runs", str(tmp_path / "runs")]) == 2
    message = capsys.readouterr().err
    assert "sweep.yaml, line 6: trial.init.path: " in message
    assert "weights/a.pt does not fit the network: of another shape is fc1.weight [8, 32]" in message
    assert "Traceback" not in message
