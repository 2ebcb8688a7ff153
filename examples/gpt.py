"""A small GPT that learns to write Python's own documentation, character by character."""

from pathlib import Path
from pydoc_data.topics import topics

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

VOCABULARY = 128


class Text(TensorDataset):
    """A text in pieces of `context` characters, each with the character that follows. By default it is what `help()`
    says of Python's topics, where paragraphs that several topics share are taken once."""

    def __init__(self, path: str | None = None, context: int = 64) -> None:
        paragraphs = dict.fromkeys("\n\n".join(topics.values()).split("\n\n"))
        text = Path(path).read_text() if path else "\n\n".join(paragraphs)
        characters = torch.tensor(list(text.encode("ascii", "replace")))
        pieces = characters.unfold(0, context + 1, context)
        super().__init__(pieces[:, :-1], pieces[:, 1:])


class Block(nn.Module):
    """Attention to what came before, then a layer for each position by itself."""

    def __init__(self, width: int, head: int) -> None:
        super().__init__()
        self.head = head
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm1(x)).unflatten(2, (3, -1, self.head)).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.project(seen.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Gpt(nn.Module):
    """Tokens [n, t] in, logits [n, t, VOCABULARY] of the next ones out."""

    def __init__(self, width: int = 64, head: int = 16, layers: int = 2, context: int = 64) -> None:
        super().__init__()
        self.token, self.position = nn.Embedding(VOCABULARY, width), nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Block(width, head) for _ in range(layers)))
        self.norm, self.output = nn.LayerNorm(width), nn.Linear(width, VOCABULARY)

    def forward(self, tokens: Tensor) -> Tensor:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        return self.output(self.norm(self.blocks(self.token(tokens) + self.position(places))))
