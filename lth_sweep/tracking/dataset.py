"""The data set of a trial as an MLflow input."""

import json
from typing import TYPE_CHECKING, Any

from lth_sweep.lottery.common.identity import canonical

if TYPE_CHECKING:
    from lth_sweep.lottery.data import Data

DIGITS = 12
"""Of the digest; the run list shows it beside the name."""


def dataset(data: "Data") -> Any:
    """An `mlflow.entities.DatasetInput`: name, sizes, and the digest of the training and validation tensors. The test
    split is not looked at.

    Reads the data where this process has not done so yet.
    """
    import numpy as np
    from mlflow.data.schema import TensorDatasetSchema
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.types import Schema, TensorSpec

    from lth_sweep.lottery.data import load

    splits = load(data)
    examples = {"train": len(splits.train.y), "validation": len(splits.validation.y)}
    inputs = Schema([TensorSpec(np.dtype(np.float32), (-1, *splits.shape))])
    labels = Schema([TensorSpec(np.dtype(np.int64), (-1,))])
    found = Dataset(
        name=data.kind,
        digest=splits.digest[:DIGITS],
        source_type="local",
        source=json.dumps(canonical(data)),
        schema=json.dumps(TensorDatasetSchema(inputs, labels).to_dict()),
        profile=json.dumps({**examples, "classes": splits.classes}),
    )
    return DatasetInput(found, [InputTag("mlflow.data.context", "training")])
