"""Small networks that do not do the same for all inputs, or at all times."""

import torch
from torch import nn
from torch.nn import functional as F


class Experts(nn.Module):
    """A router chooses one of four experts for each example, so that a few examples use some of them."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(72, 16)
        self.gate = nn.Linear(16, 4, bias=False)
        self.experts = nn.ModuleList(nn.Linear(16, 16) for _ in range(4))
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        x = F.relu(self.a(x.flatten(1)))
        share, chosen = self.gate(x).softmax(-1).max(-1)
        y = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            rows = torch.where(chosen == number)[0]
            if len(rows):
                y.index_add_(0, rows, share[rows, None] * expert(x[rows]))
        return self.head(x + y)


class Sampled(nn.Module):
    """As in a variational autoencoder: a layer's output is the spread of noise, in training alone."""

    def __init__(self, always=False):
        super().__init__()
        self.always = always
        self.a = nn.Linear(72, 24)
        self.mean, self.spread = nn.Linear(24, 8), nn.Linear(24, 8)
        self.b, self.head = nn.Linear(8, 16), nn.Linear(16, 4)

    def forward(self, x):
        x = F.relu(self.a(x.flatten(1)))
        mean, spread = self.mean(x), self.spread(x)
        x = mean + torch.randn_like(mean) * (spread / 2).exp() if self.training or self.always else mean
        return self.head(F.relu(self.b(x)))


class Scripted(nn.Module):
    """A part is a program of TorchScript, which takes no hooks and whose tensors cannot be exchanged."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(72, 16)
        self.part = torch.jit.script(nn.Sequential(nn.Linear(16, 12), nn.ReLU()))
        self.head = nn.Linear(12, 4)

    def forward(self, x):
        return self.head(self.part(F.relu(self.a(x.flatten(1)))))


class Fourier(nn.Module):
    """Complex parameters."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(6, 8)
        self.waves = nn.Parameter(torch.randn(8, 7, dtype=torch.cfloat))
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = torch.fft.irfft(torch.fft.rfft(self.a(x).transpose(1, 2)) * self.waves, n=12)
        return self.head(F.relu(x).mean(2))


class Logarithms(nn.Module):
    """Of inputs above 0. `shared`: divides by the number of units of a layer, so that none of it can be removed."""

    def __init__(self, shared):
        super().__init__()
        self.shared = shared
        self.a, self.b, self.head = nn.Linear(72, 16), nn.Linear(16, 12), nn.Linear(12, 4)

    def forward(self, x):
        x = F.relu(self.a(torch.log(x.flatten(1))))
        return self.head(F.relu(self.b(x / x.shape[1] if self.shared else x)))


class Looped(nn.Module):
    """One block, three times in a row."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(72, 16)
        self.norm, self.up, self.down = nn.LayerNorm(16), nn.Linear(16, 24), nn.Linear(24, 16)
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        x = self.a(x.flatten(1))
        for _ in range(3):
            x = x + self.down(F.gelu(self.up(self.norm(x))))
        return self.head(x)
