"""Networks with several inputs or outputs, and data sets for them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from tests.cases.data import Tok


class Named(Dataset[Any]):
    """Sentences of 10 tokens, of which the mask says how many count, by the names that Hugging Face's networks have."""

    def __init__(self) -> None:
        self.sentences = Tok(200)

    def __len__(self) -> int:
        return len(self.sentences)

    def __getitem__(self, i: int) -> tuple[dict[str, Tensor], int]:
        tokens, label = self.sentences[i]
        return {"input_ids": tokens, "attention_mask": (torch.arange(10) < 6 + i % 5).long()}, label


class Two(Dataset[Any]):
    """An image and numbers beside it."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.y = torch.randint(0, 4, (200,), generator=generator)
        self.images = torch.randn(200, 1, 6, 6, generator=generator) + self.y.view(-1, 1, 1, 1)
        self.numbers = torch.randint(0, 9, (200, 3), generator=generator)

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int) -> tuple[tuple[Tensor, Tensor], int]:
        return (self.images[i], self.numbers[i]), int(self.y[i])


def bert(hidden: int = 16) -> nn.Module:
    """Two layers, as Hugging Face has it; it gives an object."""
    from transformers import BertConfig, BertForSequenceClassification

    return BertForSequenceClassification(
        BertConfig(vocab_size=30, hidden_size=hidden, num_hidden_layers=2, num_attention_heads=2,
                   intermediate_size=2 * hidden, max_position_embeddings=16, num_labels=4)
    )  # fmt: skip


class Both(nn.Module):
    """Takes two inputs, and gives what `form` says."""

    def __init__(self, form: str = "dict") -> None:
        super().__init__()
        self.conv, self.table = nn.Conv2d(1, 6, 3), nn.Embedding(9, 4)
        self.hidden, self.head, self.other = nn.Linear(36, 12), nn.Linear(12, 4), nn.Linear(12, 2)
        self.form = form

    def forward(self, image: Tensor, numbers: Tensor) -> Any:
        seen = F.adaptive_avg_pool2d(F.relu(self.conv(image)), 2).flatten(1)
        hidden = F.relu(self.hidden(torch.cat([seen, self.table(numbers).flatten(1)], 1)))
        logits, other = self.head(hidden), self.other(hidden)
        if self.form == "object":
            return Given(logits, other, "a word")
        return {"dict": {"logits": logits, "other": other}, "tuple": (logits, other), "tensor": logits}[self.form]


class Given:
    def __init__(self, logits: Tensor, other: Tensor, word: str) -> None:
        self.logits, self.other, self.word = logits, other, word


class Buffered(nn.Module):
    """Has buffers in its state and out of it, and an option that is a list."""

    def __init__(self, hidden: Sequence[int] = (12, 8)) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip([10, *hidden], hidden, strict=False))
        self.head = nn.Linear(hidden[-1], 4)
        self.register_buffer("mean", torch.linspace(0, 29, 10))
        self.register_buffer("scale", torch.linspace(0.1, 0.2, hidden[0]), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = (x - self.mean) / 10
        for at, layer in enumerate(self.layers):
            x = F.relu(layer(x))
            x = x * self.scale if at == 0 else x
        return self.head(x)
