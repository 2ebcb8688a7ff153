"""What a run was made with, as tags, and of what data, as an MLflow input."""

import contextlib
import getpass
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from lth_sweep.lottery.common.identity import canonical
from lth_sweep.lottery.data import Data, load
from lth_sweep.lottery.data.batch import leaves
from lth_sweep.sweepfile.document import mask
from lth_sweep.versions import versions

DIGITS = 12
"""Of the data set's digest; the run list shows it beside the name."""


def environment() -> dict[str, str]:
    """Tags: versions, user, the command, and the git commit of the working folder where it has one."""
    found = {f"version.{name}": version for name, version in versions().items()}
    found |= {"mlflow.source.name": "lth-sweep", "mlflow.source.type": "LOCAL", "lth.command": _command()}
    with contextlib.suppress(KeyError, OSError):  # a container's user need not have a name
        found["mlflow.user"] = getpass.getuser()
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        git = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True)
        found["mlflow.source.git.commit"] = git.stdout.strip()
    return found


def _command() -> str:
    """What this process was started with; a cluster's address may hold a password."""
    program = Path(sys.argv[0])
    return mask(shlex.join([program.parent.name if program.stem == "__main__" else program.name, *sys.argv[1:]]))


def dataset(data: Data) -> Any:
    """An `mlflow.entities.DatasetInput`: name, sizes, and the digest of the training and validation tensors. Reads the
    data where this process has not done so yet, but for the test split."""
    import numpy as np
    from mlflow.data.schema import TensorDatasetSchema
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.types import Schema, TensorSpec

    splits = load(data)
    examples = {"train": len(splits.train), "validation": len(splits.validation)}

    def specs(batch: Any) -> Schema:
        flat = isinstance(batch, dict) and len(leaves(batch)) == len(batch)
        parts = batch if flat else dict(enumerate(leaves(batch)))
        return Schema([TensorSpec(np.dtype(str(part.dtype).removeprefix("torch.")), (-1, *part.shape[1:]),
                                  str(name) if len(parts) > 1 else None) for name, part in parts.items()])  # fmt: skip

    inputs, labels = map(specs, splits.train.first(1))
    found = Dataset(
        name=data.kind,
        digest=splits.digest[:DIGITS],
        source_type="local",
        source=json.dumps(canonical(data)),
        schema=json.dumps(TensorDatasetSchema(inputs, labels).to_dict()),
        profile=json.dumps({**examples, "classes": splits.classes}),
    )
    return DatasetInput(found, [InputTag("mlflow.data.context", "training")])
