"""What is wrong with a user's data set, or does not go with the network, is one message before anything starts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lth_sweep.cli import main
from tests.lottery.own import OwnModule

SOURCE = """
from dataclasses import dataclass

import numpy as np
import torch
from lth_sweep.lottery.data import Data, Examples, Splits
from torch import nn

class Points:
    '''Item 44, which the seed 0 puts into the test split, alone has the last label.'''
    def __init__(self, n=200, first=0, form="float", labels=4):
        generator = torch.Generator().manual_seed(0)
        self.y = torch.randint(0, labels - 1, (n,), generator=generator) + first
        self.x = torch.randn(n, 8, generator=generator)
        if n > 44:
            self.y[44] = labels - 1 + first
        if form == "bytes":
            self.x = (self.x * 50).clamp(0, 255).byte()

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], int(self.y[i])

class Declared(Points):
    classes = 5

class Random(Points):
    def __getitem__(self, i):
        x, y = super().__getitem__(i)
        return x + torch.rand(8), y

class Drawn(Points):
    def __init__(self):
        super().__init__()
        self.x = torch.from_numpy(np.random.default_rng().random((200, 8)))

class Seeded(Points):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.x = torch.randn(200, 8)

def as_they_are(items):
    xs, ys = zip(*items)
    return torch.stack(xs), torch.tensor(ys)

@dataclass(frozen=True)
class Infinite(Data):
    def load(self):
        x, y = torch.ones(30, 8), torch.zeros(30, dtype=torch.long)
        return Splits(Examples(x, y), Examples(x / 0, y), lambda: Examples(x, y), 4)

@dataclass(frozen=True)
class Empty(Data):
    def load(self):
        some = Examples(torch.ones(30, 8), torch.zeros(30, dtype=torch.long))
        return Splits(some, Examples(some.x[:0], some.y[:0]), lambda: some, 4)

class Net(nn.Sequential):
    def __init__(self, out=4, norm=False):
        super().__init__(nn.Linear(8, 16), nn.BatchNorm1d(16) if norm else nn.ReLU(), nn.Linear(16, out))
"""
SWEEP = """
name: own
trial:
  data: {DATA}
  model: {MODEL}
  train: {length: 20 steps, batch: BATCH}
  levels: 1
space: {rate: {choice: [0.4]}}
"""
POINTS, NET = 'kind: "own_points:Points"', 'kind: "own_points:Net"'


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnModule]:
    monkeypatch.chdir(tmp_path)
    yield from OwnModule.put(tmp_path, monkeypatch, "own_points", SOURCE)


def plan(data: str, model: str = NET, batch: int = 20) -> int:
    text = SWEEP.replace("DATA", data).replace("MODEL", model).replace("BATCH", str(batch))
    Path("sweep.yaml").write_text(text)
    return main(["plan", "sweep.yaml"])


@pytest.mark.parametrize(("data", "model", "batch"), [
    (POINTS, NET, 20), (f"{POINTS}, form: bytes, scale: true", NET, 20), (POINTS, NET, 1),
    (POINTS, f"{NET}, norm: true", 2),
    (f"{POINTS}, validation: {{{POINTS}, n: 50}}, test: {{{POINTS}, n: 45}}", NET, 20),
    ('kind: "own_points:Seeded"', NET, 20), (f'{POINTS}, collate: "own_points:as_they_are"', NET, 20),
    (f"{POINTS}, labels: 3", f"{NET}, out: 3", 20), ('kind: "own_points:Declared", first: 1', f"{NET}, out: 5", 20),
])  # fmt: skip
def test_right_ones(own: OwnModule, data: str, model: str, batch: int) -> None:
    assert plan(data, model, batch) == 0


@pytest.mark.parametrize(("data", "model", "batch", "message"), [
    (POINTS, f"{NET}, out: 3", 20, "line 5: trial.model: the network must give logits [batch, classes], so [2, 4] for "
                                   "2 examples, but gives [2, 3]"),
    (f"{POINTS}, first: 1", NET, 20, "line 4: trial.data: labels go from 1 to 4, but must start at 0: subtract 1"),
    (f"{POINTS}, form: bytes", NET, 20, "become numbers from 0 to 1 by its option `scale: true`"),
    (POINTS, f"{NET}, norm: true", 1, "line 6: trial.train.batch: the network cannot be trained on batches of 1 "
                                      "example, as BatchNorm needs several"),
    (f"{POINTS}, test: {{{POINTS}, n: 0}}", NET, 20, "line 4: trial.data.test: own_points:Points: the test split is "
                                                     "empty"),
    (f"{POINTS}, stratify: true", NET, 20, "line 4: trial.data.stratify: own_points:Points: class 3 has 1 examples, "),
    (f"{POINTS}, collate: 3", NET, 20, 'trial.data.collate: must be a function, "module:name", but got 3'),
    (f'{POINTS}, collate: "own_points:pat"', NET, 20, "trial.data.collate: module 'own_points': unknown name 'pat'"),
    ('kind: "own_points:Drawn"', NET, 20, "line 4: trial.data: own_points:Drawn is another data set each time it is "),
    ('kind: "own_points:Drawn", collate: "own_points:as_they_are"', NET, 20, "another data set each time it is made"),
    ('kind: "own_points:Infinite"', NET, 20, "trial.data: the validation split has values that are infinite or not a"),
    ('kind: "own_points:Empty"', NET, 20, "line 4: trial.data: the validation split is empty"),
    ('kind: "own_points:Random"', NET, 20, "is another one each time it is read, but items must stay the same"),
])  # fmt: skip
def test_wrong_ones(
    own: OwnModule, data: str, model: str, batch: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan(data, model, batch) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said
    assert said.count("\n") == 1, said
