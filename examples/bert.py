"""A small BERT of Hugging Face's, from its configuration, that tells which topic of Python's help a line is from."""

import re
from collections import Counter
from pydoc_data.topics import topics

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import BertConfig, BertForSequenceClassification

TOPICS = [
    "types", "string-methods", "formatstrings", "specialnames", "debugger", "compound", "typesseq", "typesmapping"
]  # fmt: skip
LENGTH, VOCABULARY = 24, 1000
PADDING, UNKNOWN = 0, 1


def words(line: str) -> list[str]:
    """Words, and marks one by one."""
    return re.findall(r"\w+|[^\w\s]", line.lower())[:LENGTH]


class Lines(Dataset):
    """Lines of at least four words that one topic alone has: (what BERT takes, by name; the number of the topic)."""

    classes = len(TOPICS)

    def __init__(self) -> None:
        places = [(line, label) for label, topic in enumerate(TOPICS) for line in set(topics[topic].splitlines())]
        times = Counter(line for line, _ in places)
        self.lines = sorted((line, label) for line, label in places if times[line] == 1 and len(words(line)) >= 4)
        count = Counter(word for line, _ in self.lines for word in words(line))
        self.numbers = {word: 2 + i for i, (word, _) in enumerate(count.most_common(VOCABULARY - 2))}

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, i: int) -> tuple[dict[str, Tensor], int]:
        line, label = self.lines[i]
        numbers = [self.numbers.get(word, UNKNOWN) for word in words(line)]
        ids = torch.tensor(numbers + [PADDING] * (LENGTH - len(numbers)))
        return {"input_ids": ids, "attention_mask": (ids != PADDING).long()}, label


def bert(width: int = 64, heads: int = 4, layers: int = 2) -> nn.Module:
    """As `transformers` makes it. What it returns has `logits`."""
    return BertForSequenceClassification(BertConfig(
        vocab_size=VOCABULARY, hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=2 * width, max_position_embeddings=LENGTH, num_labels=len(TOPICS),
    ))  # fmt: skip
