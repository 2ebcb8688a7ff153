"""Small convolutional networks of kinds that people have had trouble with, for images [3, 8, 8] and signals [12, 6]."""

import torch
from torch import nn
from torch.nn import functional as F


class Grouped(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 16, 3, padding=1)
        self.g = nn.Conv2d(16, 16, 3, padding=1, groups=4)
        self.bn = nn.BatchNorm2d(16)
        self.c = nn.Conv2d(16, 8, 1)
        self.d = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8 * 4, 4)

    def forward(self, x):
        x = F.relu(self.a(x))
        x = F.relu(self.bn(self.g(x)))
        x = F.relu(self.c(x))
        x = F.relu(self.d(x))
        return self.head(F.adaptive_avg_pool2d(x, 2).flatten(1))


class UNet(nn.Module):
    """U-Net with a transposed convolution; logits from the mean over the image."""

    def __init__(self):
        super().__init__()
        self.d1 = nn.Conv2d(3, 8, 3, padding=1)
        self.d2 = nn.Conv2d(8, 16, 3, padding=1)
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.u1 = nn.Conv2d(16, 8, 3, padding=1)
        self.head = nn.Linear(8 * 4, 4)

    def forward(self, x):
        a = F.relu(self.d1(x))
        b = F.relu(self.d2(F.max_pool2d(a, 2)))
        x = F.relu(self.u1(torch.cat([F.relu(self.up(b)), a], 1)))
        return self.head(F.adaptive_avg_pool2d(x, 2).flatten(1))


class GroupNorms(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, padding=1)
        self.ga = nn.GroupNorm(4, 8)
        self.b = nn.Conv2d(8, 12, 3, padding=1)
        self.gb = nn.GroupNorm(1, 12)
        self.c = nn.Conv2d(12, 12, 3, padding=1)
        self.ib = nn.InstanceNorm2d(12, affine=True)
        self.fc = nn.Linear(12 * 4, 16)
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        x = F.relu(self.ga(self.a(x)))
        x = F.relu(self.gb(self.b(x)))
        x = F.relu(self.ib(self.c(x)))
        return self.head(F.relu(self.fc(F.adaptive_avg_pool2d(x, 2).flatten(1))))


class OnlyGroupNorms(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, padding=1)
        self.ga = nn.GroupNorm(4, 8)
        self.b = nn.Conv2d(8, 12, 3, padding=1)
        self.gb = nn.GroupNorm(1, 12)
        self.head = nn.Linear(12 * 4, 4)

    def forward(self, x):
        x = F.relu(self.ga(self.a(x)))
        x = F.relu(self.gb(self.b(x)))
        return self.head(F.adaptive_avg_pool2d(x, 2).flatten(1))


class DirectParameters(nn.Module):
    """Parameters used directly: a learned scale for each channel, an added channel offset."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, padding=1)
        self.scale = nn.Parameter(torch.full((8, 1, 1), 0.5))
        self.b = nn.Conv2d(8, 12, 3, padding=1, bias=False)
        self.offset = nn.Parameter(torch.zeros(1, 12, 1, 1))
        self.c = nn.Conv2d(12, 12, 3, padding=1)
        self.gain = nn.Parameter(torch.ones(()))
        self.head = nn.Linear(12 * 4, 4)

    def forward(self, x):
        x = F.relu(self.a(x) * self.scale)
        x = F.relu(self.b(x) + self.offset)
        x = F.relu(self.c(x) * self.gain)
        return self.head(F.adaptive_avg_pool2d(x, 2).flatten(1))


class ChannelsLastFlatten(nn.Module):
    """Flattened with the channels last."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, padding=1)
        self.b = nn.Conv2d(8, 8, 3, padding=1)
        self.fc = nn.Linear(8 * 4, 16)
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        x = F.relu(self.b(F.relu(self.a(x))))
        x = F.adaptive_avg_pool2d(x, 2).permute(0, 2, 3, 1).reshape(len(x), -1)
        return self.head(F.relu(self.fc(x)))


class PixelShuffled(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 16, 3, padding=1)
        self.ps = nn.PixelShuffle(2)
        self.b = nn.Conv2d(4, 8, 3, padding=1)
        self.head = nn.Linear(8 * 4, 4)

    def forward(self, x):
        x = F.relu(self.b(self.ps(F.relu(self.a(x)))))
        return self.head(F.adaptive_avg_pool2d(x, 2).flatten(1))


class Spectral(nn.Module):
    def __init__(self, norm="spectral"):
        super().__init__()
        if norm == "spectral":
            f = nn.utils.parametrizations.spectral_norm
        elif norm == "weight":
            f = nn.utils.parametrizations.weight_norm
        else:
            f = nn.utils.weight_norm
        self.a = f(nn.Conv2d(3, 8, 3, padding=1))
        self.b = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8 * 4, 4)

    def forward(self, x):
        x = F.relu(self.b(F.relu(self.a(x))))
        return self.head(F.adaptive_avg_pool2d(x, 2).flatten(1))


class Conv3dNet(nn.Module):
    """Conv3d over [3, 8, 8] as one channel of depth 3."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv3d(1, 8, 3, padding=1)
        self.bn = nn.BatchNorm3d(8)
        self.b = nn.Conv3d(8, 8, (3, 3, 3), padding="same")
        self.fc = nn.Linear(8 * 4, 12)
        self.head = nn.Linear(12, 4)

    def forward(self, x):
        x = F.relu(self.bn(self.a(x[:, None])))
        x = F.relu(self.b(x))
        return self.head(F.relu(self.fc(F.adaptive_avg_pool3d(x, (1, 2, 2)).flatten(1))))


class CircularConv1dImages(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv1d(3, 16, 3, padding=1)
        self.b = nn.Conv1d(16, 8, 3, padding=1, padding_mode="circular")
        self.fc = nn.Linear(8 * 16, 12)
        self.head = nn.Linear(12, 4)

    def forward(self, x):
        x = x.flatten(2)
        x = F.relu(self.b(F.relu(self.a(x))))
        return self.head(F.relu(self.fc(F.avg_pool1d(x, 4).flatten(1))))


class CircularConv1d(nn.Module):
    """Two Conv1d, the second with circular padding, as in time-series transformers."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv1d(12, 16, 3, padding=1)
        self.b = nn.Conv1d(16, 8, 3, padding=1, padding_mode="circular")
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        return self.head(F.relu(self.b(F.relu(self.a(x)))).mean(2))


class ChannelShuffle(nn.Module):
    """ShuffleNet-like: split in halves, work on one, concatenate, shuffle the channels."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 16, 3, padding=1)
        self.b = nn.Conv2d(8, 8, 3, padding=1)
        self.c = nn.Conv2d(8, 8, 1)
        self.d = nn.Conv2d(16, 12, 1)
        self.head = nn.Linear(12 * 4, 4)

    def forward(self, x):
        x = F.relu(self.a(x))
        one, two = x.chunk(2, 1)
        two = F.relu(self.c(F.relu(self.b(two))))
        x = torch.cat([one, two], 1)
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        x = F.relu(self.d(x))
        return self.head(F.adaptive_avg_pool2d(x, 2).flatten(1))


class Gate(nn.Module):
    """A convolution with one output channel that gates the image."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, padding=1)
        self.att = nn.Conv2d(8, 1, 1)
        self.b = nn.Conv2d(8, 8, 3, padding=1)
        self.one = nn.Conv2d(8, 1, 3, padding=1)
        self.c = nn.Conv2d(1, 8, 3, padding=1)
        self.head = nn.Linear(8 * 4, 4)

    def forward(self, x):
        x = F.relu(self.a(x))
        x = x * torch.sigmoid(self.att(x))
        x = F.relu(self.b(x))
        x = F.relu(self.one(x))
        x = F.relu(self.c(x))
        return self.head(F.adaptive_avg_pool2d(x, 2).flatten(1))
