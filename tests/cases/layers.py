"""Small networks of Linear layers for images [3, 8, 8] of kinds that people have had trouble with."""

import torch
from torch import nn
from torch.nn import functional as F


class AuxiliaryLogits(nn.Module):
    """Auxiliary logits while training, as GoogLeNet has."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(192, 16)
        self.aux = nn.Linear(16, 4)
        self.b = nn.Linear(16, 16)
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        h = F.relu(self.a(x.flatten(1)))
        out = self.head(F.relu(self.b(h)))
        return (out, self.aux(h)) if self.training else out


class HeadFirst(nn.Module):
    """The head is written first."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(16, 4)
        self.a = nn.Linear(192, 24)
        self.b = nn.Linear(24, 16)

    def forward(self, x):
        return self.head(F.relu(self.b(F.relu(self.a(x.flatten(1))))))


def features():
    g = torch.Generator().manual_seed(7)
    return torch.randn(24, 192, generator=g) * 0.05, torch.zeros(24)


class FrozenPretrained(nn.Module):
    """A pretrained, frozen layer (its weights set in the constructor), a new head."""

    def __init__(self):
        super().__init__()
        self.back = nn.Linear(192, 24)
        self.mid = nn.Linear(24, 16)
        self.head = nn.Linear(16, 4)
        w, b = features()
        self.back.load_state_dict({"weight": w, "bias": b})
        self.back.requires_grad_(False)

    def forward(self, x):
        return self.head(F.relu(self.mid(F.relu(self.back(x.flatten(1))))))


class UnusedMiddle(nn.Module):
    """A layer that is never used, in the middle."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(192, 16)
        self.unused = nn.Linear(16, 8)
        self.b = nn.Linear(16, 16)
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        return self.head(F.relu(self.b(F.relu(self.a(x.flatten(1))))))


class UnusedLast(nn.Module):
    """A projection head, registered last, that only another task uses."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(192, 24)
        self.b = nn.Linear(24, 16)
        self.head = nn.Linear(16, 4)
        self.project = nn.Linear(16, 8)

    def forward(self, x):
        return self.head(F.relu(self.b(F.relu(self.a(x.flatten(1))))))


class InPlaceInput(nn.Module):
    """Normalises its input in place."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(192, 16)
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        x -= 0.25
        x /= 0.9
        return self.head(F.relu(self.a(x.flatten(1))))


class InPlaceInputNoGrad(nn.Module):
    """Normalises its input in place, without gradients."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(192, 16)
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        with torch.no_grad():
            x.sub_(0.25).mul_(1.5)
        return self.head(F.relu(self.a(x.flatten(1))))


class GatedLinearUnit(nn.Module):
    """A gated linear unit."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(192, 32)
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        return self.head(F.glu(self.a(x.flatten(1)), dim=1))


class Points(nn.Sequential):
    def __init__(self, out=3):
        super().__init__(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, out))
