"""The best ticket as an MLflow model: logged on the sweep's own run, and registered, so that it can be served.

It is stored as MLflow's "pt2" (torch.export), which `mlflow.pytorch.load_model` reads without unpickling anything.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import Parameter, Signature
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.data.batch import call, leaves
from lth_sweep.lottery.records import LevelRecord
from lth_sweep.lottery.task import Task
from lth_sweep.lottery.ticket.export import check, reason
from lth_sweep.lottery.ticket.formats import quiet
from lth_sweep.lottery.ticket.ticket import Ticket
from lth_sweep.search.answer import Answer

ALIAS = "smallest"
EXAMPLES = 4
"""Validation inputs that are kept with the model; more than one, so that the batch's size stays free."""
CHECKED = 256
"""Validation inputs that it is checked on."""


@dataclass(frozen=True)
class Best:
    """The ticket of a sweep's answer."""

    answer: Answer
    record: LevelRecord
    load: Callable[[], Ticket]

    @property
    def key(self) -> str:
        """Of what makes it this ticket and no other."""
        return f"{self.record.trial}-{self.record.level}-{self.record.seed}"

    @property
    def tags(self) -> dict[str, str]:
        record, metric, checked = self.record, self.answer.metric, self.answer.verification
        return {"trial": str(self.answer.trial), "level": str(record.level), "seed": str(record.seed),
                "density": f"{record.density:.6g}", "params": f"{record.sizes['params']:.0f}",
                metric: f"{record.metrics[metric]:.6g}",
                "verdict": checked.verdict.word if checked else "not verified"}  # fmt: skip

    @property
    def note(self) -> str:
        checked = self.answer.verification
        words = checked.verdict.sentence if checked else "Not verified on fresh seeds and test data."
        kept = f"{self.record.density:.2%} of the weights"
        return f"Trial {self.answer.trial}, level {self.record.level}: {kept}. {words}"


def register(client: Any, name: str, sweep_id: str, experiment: str, run: str, best: Best) -> None:
    """Make the ticket the version of model `name` that the alias names. One that is there already is not made again.

    May be called again after an error. Raises ConfigError where the ticket is not in the store, and where what MLflow
    would load does not compute the same as the masked network.
    """
    mine = {"lth.sweep_id": sweep_id, "lth.ticket": best.key}
    versions = client.search_model_versions(f"name = '{name}'")
    version = next((one for one in versions if mine.items() <= one.tags.items()), None)
    if version is None:
        logged, smaller = _log(client, sweep_id, experiment, run, best)
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name, description="The smallest network that the sweep has found.")
        tags = best.tags | mine | {"compact": "yes" if smaller else "no"}
        # Not "models:/ID" as the source: MLflow would look that up in its global store, which need not be this one.
        version = client.create_model_version(name, logged.artifact_location, run, tags=tags, description=best.note,
                                              await_creation_for=0, model_id=logged.model_id)  # fmt: skip
    for tag, value in best.tags.items():  # the verdict may have come later
        if version.tags.get(tag) != value:
            client.set_model_version_tag(name, version.version, tag, value)
    if version.description != best.note:
        client.update_model_version(name, version.version, best.note)
    if str(client.get_registered_model(name).aliases.get(ALIAS)) != str(version.version):
        client.set_registered_model_alias(name, ALIAS, version.version)


def _log(client: Any, sweep_id: str, experiment: str, run: str, best: Best) -> tuple[Any, bool]:
    """The logged model, and whether it could be compacted. A first try that failed half-way is gone on with."""
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model
    from mlflow.models.model import MLMODEL_FILE_NAME

    ticket = best.load()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        saved = Model(run_id=run)
        save(ticket, path, saved)
        tags = {"lth.sweep_id": sweep_id, "lth.ticket": best.key}
        begun = client.search_logged_models([experiment], f"source_run_id = '{run}'")
        logged = next((one for one in begun if tags.items() <= one.tags.items()), None)
        if logged is None:
            params = {name: str(pick) for name, pick in best.answer.picks.items()} | best.tags
            logged = client.create_logged_model(experiment, name="ticket", source_run_id=run, tags=tags, params=params)
            client.log_outputs(run, [LoggedModelOutput(logged.model_id, step=0)])
        saved.model_id = saved.model_uuid = logged.model_id
        saved.artifact_path = logged.artifact_location
        saved.save(path / MLMODEL_FILE_NAME)
        client.log_model_artifacts(logged.model_id, str(path))
        client.finalize_logged_model(logged.model_id, "READY")
    return logged, not ticket.why_masked


def save(ticket: Ticket, path: Path, model: Any) -> None:
    """Write the exported network as an MLflow model into the folder `path`, with signature and input example, and check
    it. It gives what the task reads of its output; several inputs, and named ones, are its arguments by place.

    Raises ConfigError where PyTorch cannot export it, or its output is not one tensor.
    """
    import mlflow
    from mlflow.models import ModelSignature

    x = ticket.splits.validation.first(CHECKED).x
    module, masked = (Served(network, x, ticket.trial.task) for network in (ticket.exported, ticket.masked))
    some = [tensor[:EXAMPLES] for tensor in leaves(x)]
    with torch.no_grad():
        output = masked(*some)
    if not isinstance(output, torch.Tensor):
        raise ConfigError("its network gives more than one tensor, and MLflow's form of a PyTorch model one; export it "
                          "as safetensors", "model")  # fmt: skip
    names = list(x) if isinstance(x, dict) and len(x) == len(some) else [f"input_{at}" for at in range(len(some))]
    signature = ModelSignature(_schema(some, names if len(some) > 1 else [None]), _schema([output], [None]))
    examples = [tensor.numpy() for tensor in some]
    versions = [f"torch=={torch.__version__.partition('+')[0]}", f"mlflow=={mlflow.__version__}", "numpy"]
    with quiet():
        try:
            mlflow.pytorch.save_model(module, path, mlflow_model=model, signature=signature,
                                      input_example=examples[0] if len(examples) == 1 else tuple(examples),
                                      pip_requirements=versions, serialization_format="pt2")  # fmt: skip
        except Exception as error:  # PyTorch's exporter raises what it likes
            raise ConfigError(f"it cannot be written as an MLflow model: {reason(error)}", "model") from error
        loaded = mlflow.pytorch.load_model(str(path))
    check("MLflow model", loaded, tuple(leaves(x)), masked)


class Served(nn.Module):
    """A network as MLflow calls it: with tensors by place."""

    def __init__(self, network: nn.Module, x: Any, task: Task) -> None:
        """x: inputs as the network takes them."""
        super().__init__()
        self.network, self.structure, self.task = network, pytree.tree_structure(x), task
        places = [Parameter(f"input_{at}", Parameter.POSITIONAL_OR_KEYWORD) for at in range(len(leaves(x)))]

        def forward(*tensors: Tensor) -> Any:
            return self.task.read(call(self.network, pytree.tree_unflatten(tensors, self.structure)))

        forward.__signature__ = Signature(places)  # type: ignore[attr-defined]  # PyTorch wants to know their number
        self.forward = forward


def _schema(tensors: Sequence[Tensor], names: Sequence[str | None]) -> Any:
    """Of any number of examples."""
    from mlflow.types import Schema, TensorSpec

    return Schema([TensorSpec(tensor.numpy().dtype, (-1, *tensor.shape[1:]), name)
                   for tensor, name in zip(tensors, names, strict=True)])  # fmt: skip
