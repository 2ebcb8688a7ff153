"""Tickets of networks with several inputs or outputs, by place and by name, of integers, and of objects."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from lth_sweep.lottery.data.batch import call, leaves
from lth_sweep.lottery.loop import run
from lth_sweep.lottery.recipe.trial import Runtime, TrialConfig
from lth_sweep.lottery.runs.stages import Store
from lth_sweep.lottery.ticket.export import export
from lth_sweep.lottery.ticket.loading import load_ticket
from lth_sweep.lottery.ticket.plain import TOLERANCE, difference, plain
from lth_sweep.lottery.ticket.ticket import Ticket
from lth_sweep.sweepfile.check import check_trial
from lth_sweep.sweepfile.decode import decode

HERE = "tests.cases.several"
without_transformers = pytest.mark.skipif(not importlib.util.find_spec("transformers"), reason="needs transformers")
FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "tensor": ("several:Two", {"kind": f"{HERE}:Both", "form": "tensor"}),
    "dict": ("several:Two", {"kind": f"{HERE}:Both", "form": "dict"}),
    "tuple": ("several:Two", {"kind": f"{HERE}:Both", "form": "tuple"}),
    "object": ("several:Two", {"kind": f"{HERE}:Both", "form": "object"}),
    "buffers": ("data:Tok", {"kind": f"{HERE}:Buffered", "hidden": [14, 8]}),
    "bert": ("several:Named", {"kind": f"{HERE}:bert", "hidden": 12}),
}


def ticket(data: str, model: Any, folder: Path, granularity: str = "unit", **changes: Any) -> Ticket:
    """Of the second level of a short trial."""
    raw = {
        "data": {"kind": f"tests.cases.{data}"},
        "model": model,
        "train": {"length": "6 steps", "batch": 32, "evaluate": "6 steps"},
        "granularity": granularity,
        "rate": 0.5,
        "levels": 1,
        "seeds": 1,
    } | changes  # fmt: skip
    trial: TrialConfig = decode(TrialConfig, raw)
    check_trial(trial)
    store = Store(folder / "stages")
    *_, (record,) = run(trial, store, Runtime())
    return Ticket.load(trial, record, store)


@pytest.mark.parametrize(
    "form", [pytest.param("bert", marks=without_transformers), *(form for form in FORMS if form != "bert")]
)
def test_every_format_gives_what_the_network_gives(form: str, tmp_path: Path) -> None:
    found = ticket(*FORMS[form], tmp_path)
    assert found.why_masked == ""
    assert sum(tensor.numel() for tensor in found.exported.parameters()) < sum(
        tensor.numel() for tensor in found.module.parameters()
    )
    files = export(found, tmp_path / "out")
    assert files.failed == {}
    x = found.splits.test().first(9).x
    with torch.no_grad():
        expected = plain(call(found.masked, x))
        loaded = load_ticket(tmp_path / "out")
        assert difference(plain(call(loaded, x)), expected) < TOLERANCE
        program = torch.export.load(tmp_path / "out" / "ticket.pt2").module()
        assert difference(call(program, x), expected) < TOLERANCE
    names = {"dict": ["logits", "other"], "object": ["logits", "other"], "bert": ["logits"]}
    assert list(expected) == names[form] if form in names else not isinstance(expected, dict)
    assert type(call(loaded, x)).__name__ == {"bert": "SequenceClassifierOutput", "object": "Given", "tuple": "tuple",
                                              "dict": "dict"}.get(form, "Tensor")  # fmt: skip
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["params"] == sum(tensor.numel() for tensor in loaded.parameters())
    assert config["flops"] > 0
    given = onnx_inputs(tmp_path / "out" / "ticket.onnx")
    assert given == {"bert": ["input_ids", "attention_mask"], "buffers": ["input"]}.get(form, ["image", "numbers"])


def onnx_inputs(path: Path) -> list[str]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert all(isinstance(one.shape[0], str) for one in session.get_inputs())
    return [one.name for one in session.get_inputs()]


@without_transformers
def test_any_length(tmp_path: Path) -> None:
    """As BERT allows it."""
    found = ticket(*FORMS["bert"], tmp_path)
    files = export(found, tmp_path / "out", ["pt2"])
    assert files.any_length
    x = {name: tensor[:, :7] for name, tensor in found.splits.validation.first(5).x.items()}
    program = torch.export.load(tmp_path / "out" / "ticket.pt2").module()
    with torch.no_grad():
        assert difference(call(program, x), call(found.masked, x)) < TOLERANCE


@pytest.mark.parametrize("form", [pytest.param("bert", marks=without_transformers), "object", "buffers"])
def test_an_mlflow_model_of_it(form: str, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    from lth_sweep.tracking.model import save

    found = ticket(*FORMS[form], tmp_path)
    save(found, tmp_path / "model", mlflow.models.Model())
    loaded = mlflow.pytorch.load_model(str(tmp_path / "model"))
    x = found.splits.test().first(9).x
    with torch.no_grad():
        assert difference(loaded(*leaves(x)), call(found.module, x)) < TOLERANCE
    inputs = mlflow.models.get_model_info(str(tmp_path / "model")).signature.inputs
    assert {str(one.type) for one in inputs} == {"bert": {"int64"}, "object": {"float32", "int64"},
                                                 "buffers": {"int64"}}[form]  # fmt: skip


def test_what_fails_is_one_line_and_the_others_are_written(tmp_path: Path) -> None:
    found = ticket("data:Img", "tests.cases.images:Conv3dNet", tmp_path)
    files = export(found, tmp_path / "out")
    assert [path.name for path in files.paths] == ["config.json", "ticket.pt2", "ticket.safetensors"]
    assert list(files.failed) == ["onnx"]
    assert "adaptive_avg_pool3d" in files.failed["onnx"]
    assert "\n" not in files.failed["onnx"]
    assert len(files.failed["onnx"]) < 400


def test_a_ticket_does_without_the_file_that_its_weights_came_from(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    model = {"kind": f"{HERE}:Both", "form": "tensor"}
    first = ticket("several:Two", model, tmp_path, granularity="weight")
    save_file(first.module.state_dict(), tmp_path / "weights.safetensors")
    init = {"kind": "pretrained", "path": str(tmp_path / "weights.safetensors")}
    found = ticket("several:Two", model, tmp_path, init=init)
    export(found, tmp_path / "out", ["safetensors"])
    (tmp_path / "weights.safetensors").unlink()
    x = found.splits.test().first(9).x
    with torch.no_grad():
        assert difference(call(load_ticket(tmp_path / "out"), x), call(found.masked, x)) < TOLERANCE


@pytest.mark.parametrize("norm", ["spectral", "weight", "old"])
def test_parametrizations_become_plain_weights(norm: str, tmp_path: Path) -> None:
    found = ticket("data:Img", {"kind": "tests.cases.images:Spectral", "norm": norm}, tmp_path)
    export(found, tmp_path / "out", ["safetensors", "pt2"])
    names = [name for name, _ in load_ticket(tmp_path / "out").named_parameters()]
    assert sorted(names) == ["a.bias", "a.weight", "b.bias", "b.weight", "head.bias", "head.weight"]
