"""What a ticket is written as: each format writes its file and reads it again."""

import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from lth_sweep.lottery.common.identity import canonical
from lth_sweep.lottery.data.batch import arguments, call, first, leaves, mapped, to_json
from lth_sweep.lottery.network.state import State
from lth_sweep.lottery.runs.stages import encode
from lth_sweep.lottery.ticket.loading import VERSION, load_ticket
from lth_sweep.lottery.ticket.plain import TOLERANCE, buffers_in_no_state, difference
from lth_sweep.lottery.ticket.ticket import Ticket

LONGEST = 3
"""Dimensions of an input of which all but the first may be a length; images have more."""

Forward = Callable[..., Any]


@dataclass(frozen=True)
class Source:
    """A ticket, and inputs for it."""

    ticket: Ticket
    x: Any

    @cached_property
    def program(self) -> ExportedProgram:
        """The network as a graph for batches of any size, and, where the network allows it, for any length."""
        try:
            program = self._traced(lengths=True)
            if self._is_same_when_shorter(program):
                return program
        except Exception:  # PyTorch's exporter raises what it likes
            pass
        try:
            return self._traced()
        except Exception:
            return self._traced(strict=True)  # it sees through `len(x)`, and takes less else

    @property
    def any_length(self) -> bool:
        """Whether that is so; False as long as nobody has asked for the program."""
        return "program" in vars(self) and any(dims - {0} for dims in free_dimensions(self.program))

    def _traced(self, lengths: bool = False, strict: bool = False) -> ExportedProgram:
        sizes = {size for tensor in leaves(self.x) for size in tensor.shape[1:]}
        # Not a size that the inputs have: PyTorch takes dimensions of one size for one and the same.
        some = first(self.x, next(n for n in range(2, 100) if n not in sizes), "cpu")
        positional, named = arguments(some)
        batch = Dim("batch")

        def free(tensor: Tensor) -> dict[int, Any]:
            longer = range(1, tensor.ndim) if lengths and tensor.ndim <= LONGEST else ()
            return {0: batch, **dict.fromkeys(longer, Dim.AUTO)}

        with quiet():
            return torch.export.export(self.ticket.exported, positional, named,
                                       dynamic_shapes=mapped(free, named or positional), strict=strict)  # fmt: skip

    @torch.no_grad()
    def _is_same_when_shorter(self, program: ExportedProgram) -> bool:
        """Whether the graph does what the network does where all that has a free length is shorter by one."""
        free = iter(free_dimensions(program))

        def shorter(tensor: Tensor) -> Tensor:
            for dim in next(free) - {0}:
                tensor = tensor.narrow(dim, 0, tensor.shape[dim] - 1)
            return tensor

        x = mapped(shorter, self.x)
        return difference(call(program.module(), x), call(self.ticket.exported, x)) < TOLERANCE


def free_dimensions(program: ExportedProgram) -> list[set[int]]:
    """Of each input, those of any size."""
    inputs = set(program.graph_signature.user_inputs)
    nodes = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in inputs]
    return [{dim for dim, size in enumerate(node.meta["val"].shape) if isinstance(size, torch.SymInt)}
            for node in nodes]  # fmt: skip


def safetensors(source: Source, folder: Path) -> Forward:
    ticket = source.ticket
    sizes = ticket.exported_sizes
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
        "masked": ticket.why_masked,
        **sizes,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    full = buffers_in_no_state(ticket.masked)
    other = {name: buffer for name, buffer in buffers_in_no_state(ticket.exported).items()
             if name not in full or not torch.equal(buffer, full[name])}  # fmt: skip
    (folder / "ticket.safetensors").write_bytes(encode(State.of(ticket.exported).model | other))
    return load_ticket(folder)


def pt2(source: Source, folder: Path) -> Forward:
    torch.export.save(source.program, folder / "ticket.pt2")
    loaded: Forward = torch.export.load(folder / "ticket.pt2").module()
    return loaded


def onnx(source: Source, folder: Path) -> Forward:
    import onnxruntime

    path = folder / "ticket.onnx"
    inputs, outputs = source.x, call(source.ticket.exported, first(source.x, 2, "cpu"))
    with quiet():
        torch.onnx.export(source.program, (), path, dynamo=True, verbose=False, external_data=False,
                          input_names=["input"] if isinstance(inputs, Tensor) else None,
                          output_names=["logits"] if isinstance(outputs, Tensor) else None)  # fmt: skip
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]

    def forward(*inputs: Any, **by_name: Any) -> list[Tensor]:
        given = dict(zip(names, [tensor.numpy() for tensor in leaves([inputs, by_name])], strict=True))
        return [torch.from_numpy(found) for found in session.run(None, given)]

    return forward


@contextmanager
def quiet() -> Iterator[None]:
    """Keep PyTorch's exporters from the terminal. They warn of operators that they have no translation for whether a
    network has them or not (torchvision's, where that is not installed), and the file is checked afterwards. Errors are
    shown.
    """
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


WRITERS: dict[str, Callable[[Source, Path], Forward]] = {"safetensors": safetensors, "pt2": pt2, "onnx": onnx}
