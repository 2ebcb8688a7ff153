"""The network of a ticket that was exported as safetensors."""

import json
from pathlib import Path
from typing import Any

from torch import nn

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.common.registry import find
from lth_sweep.lottery.data.batch import from_json
from lth_sweep.lottery.network.models import Model
from lth_sweep.lottery.network.state import State
from lth_sweep.lottery.network.units.resizing import fit
from lth_sweep.lottery.runs.stages import decode
from lth_sweep.lottery.ticket.plain import buffers_in_no_state, with_plain_weights

VERSION = 2
"""Of config.json."""


def load_ticket(path: Path | str) -> nn.Module:
    """The network of an exported ticket, in evaluation mode, on the CPU; from its folder, or from ticket.safetensors
    with config.json beside it. It gives what the model gives. A model of your own is imported by the path that its
    recipe names; nothing is unpickled, and a file that its initial weights came from is not needed.

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
    module = with_plain_weights(_model(identity).build(from_json(inputs, 2), outputs).eval())
    known, others = State.of(module).model.keys(), buffers_in_no_state(module).keys()
    if missing := known - tensors.keys() | tensors.keys() - known - others:
        raise ConfigError(f"model {identity['kind']} has changed since the ticket at {path} was exported: "
                          f"{', '.join(sorted(missing))} are not in both")  # fmt: skip
    return fit(module, tensors)


def _model(identity: dict[str, Any]) -> Model:
    """The model that `Model.identity` describes."""
    found = find(Model, identity["kind"])
    if isinstance(found, type) and issubclass(found, Model):
        options = {key: option for key, option in identity.items() if key != "kind"}
        return found(**{key: tuple(option) if isinstance(option, list) else option for key, option in options.items()})
    return Model.adopt(identity["kind"], found, identity["options"])
