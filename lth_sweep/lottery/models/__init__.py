"""Networks by name, or a user's own by import path."""

from lth_sweep.lottery.models.base import Model
from lth_sweep.lottery.models.mlp import Mlp

MODELS: dict[str, type[Model]] = {"mlp": Mlp}
Model.kinds = MODELS

__all__ = ["MODELS", "Mlp", "Model"]
