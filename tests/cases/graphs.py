"""Random small networks of the building blocks that networks have: a plan of steps, plain data, becomes a module."""

import math
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from tests.cases import blocks

CLASSES = 4
INPUTS = {"image": (3, 8, 8), "sequence": (8, 6), "tokens": (8,), "vector": (12,)}
VOCABULARY = 20
Step = tuple[str, int, int]


class Points(torch.utils.data.Dataset[Any]):
    """n inputs of a kind, with labels that can be learnt."""

    def __init__(self, inputs: str = "image", n: int = 120) -> None:
        g = torch.Generator().manual_seed(1)
        self.y = torch.randint(0, CLASSES, (n,), generator=g)
        if inputs == "tokens":
            self.x = (torch.randint(0, 5, (n, *INPUTS[inputs]), generator=g) + 5 * self.y[:, None]) % VOCABULARY
        else:
            self.x = torch.randn(n, *INPUTS[inputs], generator=g)
            self.x.flatten(1)[torch.arange(n), self.y] += 2

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return self.x[i], int(self.y[i])


class Made(nn.Module):
    """The network of a plan. A step reads the last value; those of JOINS read an earlier one, too."""

    def __init__(self, inputs: str, steps: Sequence[Step], head: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList()
        self.earlier: list[int | None] = []
        values = [torch.zeros(2, *INPUTS[inputs])]
        if inputs == "tokens":
            values = [values[0].long()]
            steps = [("embed", 3, 0), *steps]
        for op, a, b in steps:
            read = _partner(values, op, b) if op in JOINS else None
            if op in JOINS:
                layer = JOINS[op](values[-1]) if read is not None else nn.Identity()
            else:
                layer = {**COMMON, **LAYOUTS[values[-1].ndim]}[op](values[-1], a, b)
            self.steps.append(layer)
            self.earlier.append(read)
            with torch.no_grad():
                values.append(self._step(len(self.steps) - 1, values))
        while values[-1].ndim > 2:
            self.steps.append(LAYOUTS[values[-1].ndim]["to-vector"](values[-1], head, head))
            self.earlier.append(None)
            values.append(self._step(len(self.steps) - 1, values))
        self.head = HEADS[head % len(HEADS)](values[-1].shape[1])

    def forward(self, x: Tensor) -> Tensor:
        values = [x]
        for at in range(len(self.steps)):
            values.append(self._step(at, values))
        found: Tensor = self.head(values[-1])
        return found

    def _step(self, at: int, values: list[Tensor]) -> Tensor:
        read = self.earlier[at]
        found: Tensor = self.steps[at](values[-1], *([] if read is None else [values[read]]))
        return found


def _partner(values: list[Tensor], op: str, number: int) -> int | None:
    """An earlier value that goes with the last one."""
    last, dim = values[-1], _dim(values[-1])

    def fits(value: Tensor) -> bool:
        if value.ndim != last.ndim or not value.is_floating_point():
            return False
        shapes = [list(value.shape), list(last.shape)]
        for shape in shapes if op == "cat" else []:
            del shape[dim]
        return shapes[0] == shapes[1]

    found = [at for at, value in enumerate(values[:-1]) if fits(value)]
    return found[-1 - number % len(found)] if found else None


def _dim(x: Tensor) -> int:
    """Where the channels are."""
    return 1 if x.ndim in (2, 4) else 2


def _size(number: int) -> int:
    return (4, 6, 8, 12, 16)[number % 5]


def _divisor(count: int, number: int) -> int:
    """Of a count: one of those from 2 on, or 1."""
    found = [n for n in range(2, count + 1) if count % n == 0] or [1]
    return found[number % len(found)]


def _activation(x: Tensor, a: int, b: int) -> nn.Module:
    made: Sequence[Callable[[], nn.Module]] = (
        nn.ReLU, nn.GELU, nn.Tanh, nn.LeakyReLU, lambda: nn.PReLU(x.shape[1] if b % 2 else 1),
        lambda: blocks.Does(F.relu), lambda: blocks.Does(torch.sigmoid), lambda: blocks.Does(F.silu),
        lambda: blocks.Does(lambda y: y.softmax(_dim(y))), lambda: blocks.Does(lambda y: F.hardtanh(y) + 0.1),
    )  # fmt: skip
    return made[a % len(made)]()


def _conv(x: Tensor, a: int, b: int) -> nn.Module:
    kernel = 3 if b % 2 else 1
    mode = "circular" if b % 7 == 6 and min(x.shape[2:]) > 1 else "zeros"
    return nn.Conv2d(x.shape[1], _size(a), kernel, stride=2 if b % 5 == 4 else 1, padding=kernel // 2, bias=b % 3 > 0,
                     padding_mode=mode)  # fmt: skip


def _grouped(x: Tensor, a: int, b: int) -> nn.Module:
    groups = _divisor(x.shape[1], a)
    return nn.Conv2d(x.shape[1], groups * (1 + b % 3), 3, padding=1, groups=groups)


def _transposed(x: Tensor, a: int, b: int) -> nn.Module:
    groups = math.gcd(x.shape[1], _size(a)) if b % 3 == 2 else 1
    if x.shape[2] > 8:
        return nn.ConvTranspose2d(x.shape[1], _size(a), 3, padding=1, groups=groups)
    return nn.ConvTranspose2d(x.shape[1], _size(a), 2, stride=2, bias=b % 2 > 0, groups=groups)


def _norm2d(x: Tensor, a: int, b: int) -> nn.Module:
    c = x.shape[1]
    kinds: Sequence[Callable[[], nn.Module]] = (
        lambda: nn.BatchNorm2d(c), lambda: nn.GroupNorm(_divisor(c, b), c), lambda: nn.GroupNorm(1, c),
        lambda: nn.InstanceNorm2d(c, affine=b % 2 > 0), lambda: blocks.ChannelsLast(nn.LayerNorm(c)),
        lambda: nn.LayerNorm(x.shape[1:]), lambda: nn.BatchNorm2d(c, affine=False),
    )  # fmt: skip
    return kinds[a % len(kinds)]()


def _pool(x: Tensor, a: int, b: int) -> nn.Module:
    if min(x.shape[2:]) < 2:
        return nn.Identity()
    return (nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(2), nn.AdaptiveMaxPool2d((1, 2)))[a % 4]


def _bottleneck(x: Tensor, a: int, b: int) -> nn.Module:
    c, hidden = x.shape[1], _size(a)
    middle = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden if b % 2 else 1)
    return blocks.Residual(nn.Sequential(nn.Conv2d(c, hidden, 1), nn.BatchNorm2d(hidden), nn.ReLU(), middle, nn.ReLU(),
                                         nn.Conv2d(hidden, c, 1, bias=False)))  # fmt: skip


def _gate(x: Tensor, a: int, b: int) -> nn.Module:
    functions = (None, torch.sigmoid, F.gelu, torch.tanh)
    return blocks.Gated(_dim(x), functions[a % 4]) if x.shape[_dim(x)] % 2 == 0 else nn.Identity()


def _shuffle_pixels(x: Tensor, a: int, b: int) -> nn.Module:
    if a % 2 and x.shape[2] % 2 == x.shape[3] % 2 == 0:
        return nn.PixelUnshuffle(2)
    return nn.PixelShuffle(2) if x.shape[1] % 4 == 0 and x.shape[2] <= 8 else nn.Identity()


def _scale(x: Tensor, a: int, b: int) -> nn.Module:
    around = [1] * (x.ndim - 1)
    around[_dim(x) - 1] = x.shape[_dim(x)]
    return blocks.Scale(*(around, [1, *around], [1], x.shape[1:])[a % 4], added=b % 2 > 0)


def _image_to_vector(x: Tensor, a: int, b: int) -> nn.Module:
    ways: Sequence[Callable[[Tensor], Tensor]] = (
        lambda y: F.adaptive_avg_pool2d(y, 2).flatten(1), lambda y: y.mean((2, 3)), lambda y: y.amax((2, 3)),
        lambda y: F.adaptive_avg_pool2d(y, 2).permute(0, 2, 3, 1).reshape(len(y), -1),
        lambda y: F.adaptive_max_pool2d(y, 2).contiguous().view(len(y), -1),
        lambda y: F.adaptive_avg_pool2d(y, (1, 2)).permute(0, 3, 1, 2).flatten(1),
    )  # fmt: skip
    return blocks.Does(ways[a % len(ways)])


def _attention(x: Tensor, a: int, b: int) -> nn.Module:
    c = x.shape[2]
    heads = _divisor(c, b)
    kinds: Sequence[Callable[[], nn.Module]] = (
        lambda: blocks.Packed(c, heads), lambda: blocks.Separate(c, heads, heads, causal=b % 2 > 0),
        lambda: blocks.Separate(c, heads, _divisor(heads, 0) if heads > 1 else 1, causal=False),
        lambda: blocks.Joint(c, heads, by_hand=b % 2 > 0),
        lambda: nn.TransformerEncoderLayer(c, heads, 8, dropout=0.1, batch_first=True, norm_first=b % 2 > 0),
    )  # fmt: skip
    attention = kinds[a % len(kinds)]()
    if isinstance(attention, nn.TransformerEncoderLayer) or b % 3 == 2:
        return attention
    return blocks.Residual(nn.Sequential(nn.LayerNorm(c), attention) if b % 2 else attention)


def _recurrent(x: Tensor, a: int, b: int) -> nn.Module:
    kind = (nn.LSTM, nn.GRU, nn.RNN)[a % 3]
    return blocks.Recurrent(kind(x.shape[2], _size(b) // 2, num_layers=1 + b % 2, bidirectional=b % 3 == 1,
                                 bias=b % 5 < 4, batch_first=True))  # fmt: skip


def _along(x: Tensor, a: int, b: int) -> nn.Module:
    c = x.shape[2]
    if b % 3 == 2:
        return blocks.Along(nn.Sequential(nn.Conv1d(c, c, 3, padding=1, groups=c), nn.Conv1d(c, _size(a), 1)))
    return blocks.Along(nn.Conv1d(c, _size(a), 3, padding=1, padding_mode="circular" if b % 2 else "zeros"))


def _sequence_to_vector(x: Tensor, a: int, b: int) -> nn.Module:
    ways: Sequence[Callable[[Tensor], Tensor]] = (
        lambda y: y.mean(1), lambda y: y[:, -1], lambda y: y[:, 0], lambda y: y.amax(1), lambda y: y.flatten(1),
        lambda y: y.transpose(1, 2).flatten(1),
    )  # fmt: skip
    return blocks.Does(ways[a % len(ways)])


Maker = Callable[[Tensor, int, int], nn.Module]
JOINS: dict[str, Callable[[Tensor], nn.Module]] = {
    "add": lambda x: blocks.Does(torch.add),
    "cat": lambda x: blocks.Does(lambda one, two: torch.cat([one, two], _dim(one))),
    "multiply": lambda x: blocks.Does(lambda one, two: one * torch.sigmoid(two)),
}
COMMON: dict[str, Maker] = {
    "activation": _activation,
    "dropout": lambda x, a, b: nn.Dropout(0.2),
    "gate": _gate,
    "scale": _scale,
    "buffers": lambda x, a, b: blocks.Buffered(x.shape[_dim(x)], x.ndim, _dim(x)),
    "unused": lambda x, a, b: blocks.Unused(x.shape[_dim(x)]),
    "embed": lambda x, a, b: nn.Embedding(VOCABULARY, _size(a)),
}
LAYOUTS: dict[int, dict[str, Maker]] = {
    4: {
        "conv": _conv,
        "conv-norm-relu": lambda x, a, b: nn.Sequential(
            nn.Conv2d(x.shape[1], _size(a), 3, padding=1, bias=False),
            _norm2d(torch.zeros(2, _size(a), *x.shape[2:]), b, b),
            nn.ReLU(inplace=b % 2 > 0),
        ),
        "grouped": _grouped,
        "depthwise": lambda x, a, b: nn.Conv2d(x.shape[1], x.shape[1] * (1 + (b % 4 == 3)), 3, padding=1,
                                               groups=x.shape[1]),
        "transposed": _transposed,
        "norm": _norm2d,
        "pool": _pool,
        "dropout2d": lambda x, a, b: nn.Dropout2d(0.2),
        "bottleneck": _bottleneck,
        "squeeze-excite": lambda x, a, b: blocks.SqueezeExcite(x.shape[1], 1 + a % 4, linear=b % 2 > 0),
        "halves": lambda x, a, b: blocks.Halves(1, 1 + a % (x.shape[1] - 1),
            nn.Conv2d(x.shape[1] - 1 - a % (x.shape[1] - 1), _size(b), 3, padding=1)) if x.shape[1] > 1
            else nn.Identity(),
        "branches": lambda x, a, b: blocks.Branches(1, nn.Conv2d(x.shape[1], _size(a), 1),
            nn.Sequential(nn.Conv2d(x.shape[1], _size(b), 3, padding=1), nn.ReLU())),
        "channel-shuffle": lambda x, a, b: blocks.Shuffle(_divisor(x.shape[1], a)),
        "pixel-shuffle": _shuffle_pixels,
        "twice": lambda x, a, b: blocks.Twice(nn.Conv2d(x.shape[1], x.shape[1], 3, padding=1)),
        "weight-norm": lambda x, a, b: nn.utils.parametrizations.weight_norm(nn.Conv2d(x.shape[1], _size(a), 1)),
        "to-sequence": lambda x, a, b: blocks.Does(lambda y: F.adaptive_avg_pool2d(y, 2).flatten(2).transpose(1, 2)),
        "to-vector": _image_to_vector,
    },
    3: {
        "linear": lambda x, a, b: nn.Linear(x.shape[2], _size(a), bias=b % 4 > 0),
        "norm": lambda x, a, b: (nn.LayerNorm(x.shape[2]), nn.RMSNorm(x.shape[2]),
                                 blocks.Along(nn.BatchNorm1d(x.shape[2])))[a % 3],
        "attention": _attention,
        "feed-forward": lambda x, a, b: blocks.Residual(blocks.FeedForward(x.shape[2], _size(a), gated=b % 2 > 0)),
        "recurrent": _recurrent,
        "conv": _along,
        "token": lambda x, a, b: blocks.WithToken(x.shape[2]),
        "to-vector": _sequence_to_vector,
    },
    2: {
        "linear": lambda x, a, b: nn.Linear(x.shape[1], _size(a), bias=b % 4 > 0),
        "linear-norm-relu": lambda x, a, b: nn.Sequential(nn.Linear(x.shape[1], _size(a)), nn.BatchNorm1d(_size(a)),
                                                          nn.ReLU()),
        "norm": lambda x, a, b: (nn.LayerNorm(x.shape[1]), nn.BatchNorm1d(x.shape[1]))[a % 2],
        "residual": lambda x, a, b: blocks.Residual(blocks.FeedForward(x.shape[1], _size(a), gated=b % 2 > 0)),
        "branches": lambda x, a, b: blocks.Branches(1, nn.Linear(x.shape[1], _size(a)),
                                                    nn.Linear(x.shape[1], _size(b))),
        "twice": lambda x, a, b: blocks.Twice(nn.Linear(x.shape[1], x.shape[1])),
        "spectral-norm": lambda x, a, b: nn.utils.parametrizations.spectral_norm(nn.Linear(x.shape[1], _size(a))),
        "weight-norm": lambda x, a, b: nn.utils.parametrizations.weight_norm(nn.Linear(x.shape[1], _size(a))),
    },
}  # fmt: skip
HEADS: tuple[Callable[[int], nn.Module], ...] = (
    lambda width: nn.Linear(width, CLASSES),
    lambda width: nn.Sequential(nn.Linear(width, 8), nn.ReLU(), nn.Linear(8, CLASSES)),
    lambda width: nn.Sequential(nn.Linear(width, CLASSES), nn.LogSoftmax(1)),
    lambda width: nn.Sequential(nn.LayerNorm(width), nn.Dropout(0.1), nn.Linear(width, CLASSES, bias=False)),
    lambda width: nn.Sequential(nn.Linear(width, 8), nn.ReLU(), nn.Linear(8, CLASSES), nn.BatchNorm1d(CLASSES)),
)
FIRST = {4: ["conv", "conv-norm-relu"], 3: ["linear", "conv"], 2: ["linear", "linear-norm-relu"]}
AFTER = {"to-sequence": 3, "to-vector": 2}


def plan(seed: int, length: int) -> dict[str, Any]:
    """Options of `Made`. Drawn by a generator of our own, as Hypothesis favours what it has drawn before; what it makes
    smaller of a network that fails is the number of its steps."""
    chance = Random(seed)
    kind = chance.choice([*sorted(INPUTS), "image"])
    ndim = 2 + len(INPUTS[kind][1:]) + (kind == "tokens")
    steps: list[Step] = []
    for at in range(length):
        known = FIRST[ndim] if at == 0 else [*LAYOUTS[ndim], *COMMON, *JOINS]  # units on the way
        op = chance.choice(sorted({*known} - {"embed"}))
        steps.append((op, chance.randrange(60), chance.randrange(60)))
        ndim = AFTER.get(op, ndim)
    return {"inputs": kind, "steps": steps, "head": chance.randrange(60)}


plans = st.builds(plan, st.integers(0, 2**32 - 1), st.integers(3, 8))
