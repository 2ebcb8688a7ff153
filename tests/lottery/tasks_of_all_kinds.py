"""Small data sets and networks for each kind of task; a module of a user's own."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lth_sweep.lottery.data import Data, Examples, Splits
from lth_sweep.lottery.task import Task

TOKENS, PADDING = 12, -100


def parts(x: Tensor, y: Tensor, classes: int | None = None) -> Splits:
    train, validation, test = (Examples(x[some], y[some]) for some in torch.arange(len(x)).split([300, 100, 100]))
    return Splits(train, validation, lambda: test, classes)


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@dataclass(frozen=True)
class Table(Data):
    """A number for each row, or, with `wide`, two."""

    wide: bool = False
    scale: float = 1.0

    def load(self) -> Splits:
        x = noise(500, 8)
        y = self.scale * torch.stack([x[:, 0] * x[:, 1] + x[:, 2], x[:, 3].abs()], 1)
        return parts(x, y if self.wide else y[:, 0])


@dataclass(frozen=True)
class Labels(Data):
    """Each of three labels by itself; `worth`: that of one that is there."""

    worth: int = 1

    def load(self) -> Splits:
        x = noise(500, 8)
        return parts(x, (x[:, :3] + x[:, 3:6] > 0.3).long() * self.worth)


@dataclass(frozen=True)
class Text(Data):
    """Tokens that rise, 6 to 11 of them, and padding; `most`: what the data set says that it has."""

    most: int | None = TOKENS

    def load(self) -> Splits:
        x = torch.randint(1, TOKENS, (500, 12), generator=torch.Generator().manual_seed(0)).sort(1).values
        y = x.roll(-1, 1)
        y[torch.arange(12) >= 11 - torch.arange(500)[:, None] % 6] = PADDING
        return parts(x, y, self.most)


@dataclass(frozen=True)
class Shapes(Data):
    """Squares of two kinds on a background; the first pixel of each image is ignored."""

    def load(self) -> Splits:
        generator = torch.Generator().manual_seed(1)
        corner, kind = torch.randint(4, (500, 2), generator=generator), torch.randint(1, 3, (500,), generator=generator)
        y = torch.zeros(500, 8, 8, dtype=torch.long)
        for image, (row, column), label in zip(y, corner, kind, strict=True):
            image[row : row + 4, column : column + 4] = label
        x = y[:, None].float() + 0.5 * noise(500, 1, 8, 8)
        y[:, 0, 0] = 255
        return parts(x, y)


class Several(NamedTuple):
    """As Hugging Face's networks give it."""

    loss: Tensor | None
    logits: Tensor


class Language(nn.Module):
    """Predicts the next token from three; `gives` says what it returns, and `loss` whether it computes its own."""

    def __init__(self, gives: str = "tensor") -> None:
        super().__init__()
        self.gives = gives
        self.embedding, self.body = nn.Embedding(TOKENS, 16), nn.Conv1d(16, 32, 3)
        self.head = nn.Linear(32, TOKENS)

    def forward(self, x: Tensor, targets: Tensor | None = None) -> Any:
        hidden = self.body(F.pad(self.embedding(x).transpose(1, 2), (2, 0))).relu()
        logits = self.head(hidden.transpose(1, 2))
        loss = None
        if targets is not None:
            loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=PADDING)
        if self.gives == "always a loss":
            loss = logits.square().mean()
        if self.gives == "more while it trains":
            return (logits, hidden) if self.training else logits
        return {"tensor": logits, "dict": {"hidden": hidden, "logits": logits}, "tuple": (logits, loss),
                "named": Several(loss, logits), "always a loss": Several(loss, logits),
                "unknown": {"a": logits, "b": hidden}}[self.gives]  # fmt: skip


class Segments(nn.Module):
    """As torchvision's: a dict with "out"."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(1, 12, 3, padding=1), nn.Conv2d(12, 12, 3, padding=1), nn.Conv2d(12, 3, 1)

    def forward(self, x: Tensor) -> Any:
        return {"out": self.head(self.b(self.a(x).relu()).relu())}


class Quantile(Task):
    """The shortest task of one's own."""

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        error = target - output[:, 0]
        return torch.maximum(0.9 * error, -0.1 * error)


class Mean(Task):
    """With a loss that is one number."""

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(output[:, 0], target)


class Detached(Task):
    """With a loss that nothing learns from."""

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return (output.detach() - target.reshape(output.shape)).square().mean(1)


class Broken(Task):
    """With a loss that fails."""

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        raise KeyError("mask")
