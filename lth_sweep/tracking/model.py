"""The best ticket as an MLflow model: logged on the sweep's own run, and registered, so that it can be served.

It is stored as MLflow's "pt2" (torch.export), which `mlflow.pytorch.load_model` reads without unpickling anything.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import nn

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.records import LevelRecord
from lth_sweep.lottery.ticket.export import check
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
    try:
        module, smaller = ticket.compact, True
    except ConfigError:
        module, smaller = ticket.module, False
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        saved = Model(run_id=run)
        save(ticket, module, path, saved)
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
    return logged, smaller


def save(ticket: Ticket, module: nn.Module, path: Path, model: Any) -> None:
    """Write `module` as an MLflow model into the folder `path`, with signature and input example, and check it."""
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    x = ticket.splits.validation.first(CHECKED).x
    if not isinstance(x, torch.Tensor):
        raise ConfigError("its network takes several inputs, and MLflow's form of a PyTorch model takes one; export it "
                          "as safetensors", "model")  # fmt: skip
    number = np.dtype(np.float32)
    signature = ModelSignature(Schema([TensorSpec(number, (-1, *ticket.splits.shape))]),
                               Schema([TensorSpec(number, (-1, *ticket.module(x[:1]).shape[1:]))]))  # fmt: skip
    versions = [f"torch=={torch.__version__.partition('+')[0]}", f"mlflow=={mlflow.__version__}", "numpy"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.pytorch.save_model(module, path, mlflow_model=model, signature=signature,
                                  input_example=x[:EXAMPLES].numpy(), pip_requirements=versions,
                                  serialization_format="pt2")  # fmt: skip
        loaded = mlflow.pytorch.load_model(str(path))
    with torch.no_grad():
        check("MLflow model", loaded, x, ticket.module(x))
