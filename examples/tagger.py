"""An LSTM that finds the words in a text without spaces, by a tag for each character."""

from pathlib import Path
from pydoc_data.topics import topics

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

ALPHABET = 27


class Letters(TensorDataset):
    """The letters of a text in pieces of `context`: numbers 1 to 26, and for each letter 1 where a word begins, else 0.
    By default it is what `help()` says of Python's topics, where paragraphs that several topics share are taken once.
    """

    def __init__(self, path: str | None = None, context: int = 40) -> None:
        paragraphs = dict.fromkeys("\n\n".join(topics.values()).split("\n\n"))
        text = Path(path).read_text() if path else "\n\n".join(paragraphs)
        text = "".join(c if "a" <= c <= "z" else " " for c in text.lower())
        characters = torch.tensor(list(f" {text}".encode()))
        letter = characters != ord(" ")
        begins = letter[1:] & ~letter[:-1]
        x, y = characters[letter] - ord("a") + 1, begins[letter[1:]].long()
        super().__init__(x.unfold(0, context, context), y.unfold(0, context, context))


class Tagger(nn.Module):
    """Letters [n, t] in, logits [n, t, 2] out."""

    def __init__(self, width: int = 64, letters: int = 16) -> None:
        super().__init__()
        self.letters = nn.Embedding(ALPHABET, letters)
        self.lstm = nn.LSTM(letters, width, batch_first=True, bidirectional=True)
        self.output = nn.Linear(2 * width, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.lstm(self.letters(x))[0])
