"""Networks by name, or a user's own by import path."""

from lth_sweep.lottery.network.models.base import Model
from lth_sweep.lottery.network.models.conv import Conv2, Conv4, Conv6
from lth_sweep.lottery.network.models.imported import ImportedModel
from lth_sweep.lottery.network.models.lenet import Lenet
from lth_sweep.lottery.network.models.mlp import Mlp
from lth_sweep.lottery.network.models.resnet import ResNet
from lth_sweep.lottery.network.models.vgg import Vgg

MODELS: dict[str, type[Model]] = {
    "mlp": Mlp,
    "lenet-300-100": Lenet,
    "conv-2": Conv2,
    "conv-4": Conv4,
    "conv-6": Conv6,
    "resnet-20": ResNet,
    "vgg-16": Vgg,
}
Model.kinds, Model.imported = MODELS, ImportedModel

__all__ = ["MODELS", "Conv2", "Conv4", "Conv6", "ImportedModel", "Lenet", "Mlp", "Model", "ResNet", "Vgg"]
