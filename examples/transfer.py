"""A small network that reads digits, and then learns to tell clothes: `python transfer.py` makes digits.safetensors."""

from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import save_model
from torch import nn
from torch.nn import functional as F

from lth_sweep.lottery.data import Mnist


class Net(nn.Sequential):
    """Images [n, 1, 28, 28] in, logits [n, 10] out."""

    def __init__(self, width: int = 16) -> None:
        super().__init__(OrderedDict(
            conv1=nn.Conv2d(1, width, 3, stride=2, padding=1), relu1=nn.ReLU(),
            conv2=nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), relu2=nn.ReLU(), flatten=nn.Flatten(),
            hidden=nn.Linear(2 * width * 7 * 7, 64), relu3=nn.ReLU(), output=nn.Linear(64, 10),
        ))  # fmt: skip


def pretrain(steps: int = 2000) -> Net:
    """On MNIST, from where LTH_SWEEP_DATA says."""
    torch.manual_seed(0)
    digits, net = Mnist().load().train, Net()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.001)
    for _ in range(steps):
        some = torch.randint(len(digits), (60,))
        F.cross_entropy(net(digits.x[some]), digits.y[some]).backward()
        optimizer.step()
        optimizer.zero_grad()
    return net


if __name__ == "__main__":
    save_model(pretrain(), str(Path(__file__).with_name("digits.safetensors")))
