"""Tickets as files: smaller networks, each checked equal to the masked network before it is there."""

import importlib.util
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lth_sweep.lottery.common.errors import ConfigError, unknown
from lth_sweep.lottery.common.identity import canonical
from lth_sweep.lottery.common.registry import find
from lth_sweep.lottery.data.batch import arguments, call, first, from_json, leaves, mapped, to_json
from lth_sweep.lottery.network.models import Model
from lth_sweep.lottery.network.resizing import fit
from lth_sweep.lottery.network.state import State
from lth_sweep.lottery.runs.stages import decode, encode
from lth_sweep.lottery.ticket.ticket import Ticket

EXAMPLES = 256
"""Validation inputs that each file is checked on."""
TOLERANCE = 1e-5
"""Largest difference of the logits, relative to the largest logit."""
VERSION = 2
"""Of config.json."""

Forward = Callable[..., Tensor]


def export(ticket: Ticket, folder: Path, formats: Iterable[str] = ("safetensors", "pt2", "onnx")) -> list[Path]:
    """Write the compact network into `folder`, as one file for each format, and return their paths.

    safetensors: ticket.safetensors, and config.json with what `load_ticket` needs beside it; pt2: ticket.pt2, for
    `torch.export.load`; onnx: ticket.onnx, with an input "input" and an output "logits". The size of the batch is free.
    Each file is read again and has to give the masked network's logits on validation inputs, in batches of one and of
    many; else ConfigError, and nothing is written. So it is for a folder that cannot be made or written to.
    """
    formats = list(dict.fromkeys(formats))
    for name in formats:
        if name not in WRITERS:
            raise ConfigError(unknown("format", name, WRITERS), "formats")
    if "onnx" in formats:
        _require_onnx()
    x = ticket.splits.validation.first(EXAMPLES).x
    with torch.no_grad():
        expected = call(ticket.module, x)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        place = tempfile.TemporaryDirectory(dir=folder, prefix=".unfinished-")
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written to: {error.strerror}; choose another folder", "out") from error
    with place as unfinished:
        for name in formats:
            forward = WRITERS[name](ticket, x, Path(unfinished))
            check(name, forward, x, expected)
        written = [folder / file.name for file in sorted(Path(unfinished).iterdir())]
        for path in written:
            os.replace(Path(unfinished) / path.name, path)
    return written


def load_ticket(path: Path | str) -> nn.Module:
    """The network of an exported ticket, in evaluation mode, on the CPU; from its folder, or from ticket.safetensors
    with config.json beside it. A model of your own is imported by the path that its recipe names; nothing is unpickled.

    Raises ConfigError where a file is missing or damaged, or the model is no longer the one that was exported.
    """
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    try:
        config = json.loads((folder / "config.json").read_text())
        tensors = decode((folder / "ticket.safetensors" if path.is_dir() else path).read_bytes())
        version, identity, inputs, outputs = (config[key] for key in ("version", "model", "inputs", "outputs"))
    except FileNotFoundError as error:
        raise ConfigError(f"no ticket at {path}: {error.filename} is missing; export it as safetensors") from None
    except (ValueError, KeyError, TypeError, OSError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ConfigError(f"the ticket at {path} is damaged ({reason}); export it again") from error
    if version != VERSION:
        raise ConfigError(f"the ticket at {path} is of version {version}, but this program reads {VERSION}")
    module = fit(_model(identity).build(from_json(inputs, 2), outputs), tensors)
    if missing := State.of(module).model.keys() ^ tensors.keys():
        raise ConfigError(f"model {identity['kind']} has changed since the ticket at {path} was exported: "
                          f"{', '.join(sorted(missing))} are not in both")  # fmt: skip
    return module.eval()


def _model(identity: dict[str, Any]) -> Model:
    """The model that `Model.identity` describes."""
    found = find(Model, identity["kind"])
    if isinstance(found, type) and issubclass(found, Model):
        options = {key: option for key, option in identity.items() if key != "kind"}
        return found(**{key: tuple(option) if isinstance(option, list) else option for key, option in options.items()})
    return Model.adopt(identity["kind"], found, identity["options"])


def _safetensors(ticket: Ticket, x: Any, folder: Path) -> Forward:
    config = {
        "version": VERSION,
        "model": canonical(ticket.trial.model),
        "inputs": to_json(ticket.splits.example),
        "outputs": ticket.trial.task.outputs(ticket.splits),
        "recipe": canonical(ticket.trial),
        "level": ticket.level,
        "seed": ticket.seed,
        "masks": ticket.masks.digest,
        "density": ticket.masks.density if ticket.masks.weights else 1.0,
        "params": sum(parameter.numel() for parameter in ticket.compact.parameters()),
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "ticket.safetensors").write_bytes(encode(State.of(ticket.compact).model))
    return ticket.trial.task.reading(load_ticket(folder))


def _pt2(ticket: Ticket, x: Any, folder: Path) -> Forward:
    positional, named, shapes = _exported(x)
    program = torch.export.export(ticket.compact, positional, named, dynamic_shapes=shapes)
    torch.export.save(program, folder / "ticket.pt2")
    loaded: Forward = torch.export.load(folder / "ticket.pt2").module()
    return loaded


def _onnx(ticket: Ticket, x: Any, folder: Path) -> Forward:
    import onnxruntime

    path = folder / "ticket.onnx"
    with _quiet():
        positional, named, shapes = _exported(x)
        torch.onnx.export(ticket.compact, positional, path, kwargs=named, dynamo=True, verbose=False,
                          external_data=False, input_names=None if named or len(positional) > 1 else ["input"],
                          output_names=["logits"], dynamic_shapes=shapes)  # fmt: skip
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]

    def forward(*inputs: Any, **by_name: Any) -> Tensor:
        given = dict(zip(names, [tensor.numpy() for tensor in leaves([inputs, by_name])], strict=True))
        return torch.from_numpy(session.run(["logits"], given)[0])

    return forward


def _exported(x: Any) -> tuple[tuple[Any, ...], dict[str, Any], Any]:
    """Two examples as the arguments of the network, by place and by name, and that their number is free."""
    positional, named = arguments(first(x, 2, "cpu"))
    shapes = mapped(lambda tensor: {0: torch.export.Dim("batch")}, named or positional)
    return positional, named, shapes


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep PyTorch's exporter from the terminal. It warns of operators that it has no translation for whether a network
    has them or not (torchvision's, where that is not installed), and the file is checked afterwards. Errors are shown.
    """
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


WRITERS: dict[str, Callable[[Ticket, Any, Path], Forward]] = {
    "safetensors": _safetensors,
    "pt2": _pt2,
    "onnx": _onnx,
}


def _require_onnx() -> None:
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"the format onnx needs {', '.join(missing)}: pip install 'lth-sweep[export]'", "formats")


@torch.no_grad()
def check(name: str, forward: Forward, x: Any, expected: Tensor) -> None:
    """Raise ConfigError unless `forward` gives these logits for x, in batches of one and of many."""
    parts = (mapped(lambda tensor: tensor[:1], x), mapped(lambda tensor: tensor[1:], x))
    found = torch.cat([call(forward, part) for part in parts])
    difference = float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-30))
    if not difference < TOLERANCE:
        raise ConfigError(f"the {name} file does not compute the same as the masked network: its logits differ by "
                          f"{difference:.1e} of the largest, but {TOLERANCE:g} is allowed; leave this format out",
                          "formats")  # fmt: skip
