"""Code of the user's own, by import path: found, or refused by name, and part of the digests of what it computes."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.common.identity import canonical, digest
from lth_sweep.lottery.common.registry import find
from lth_sweep.lottery.common.user_code import import_object, source_digest
from lth_sweep.lottery.data import Data
from lth_sweep.lottery.training.optimizers import Adam, Optimizer
from tests.lottery.own import OwnModule

SOURCE = '''
"""An optimizer."""
import math
import torch
from dataclasses import dataclass
from lth_sweep.lottery.training.optimizers import SGD
import own_parts.rates
from own_helper import LR

@dataclass(frozen=True)
class Own(SGD):
    lr: float = LR  # of Adam

    def make(self, parameters):
        from own_lazy import momentum
        return torch.optim.SGD(parameters, lr=self.lr, momentum=momentum())
'''
BESIDE = {
    "own_helper.py": "LR = 0.1\n",
    "own_lazy.py": "def momentum():\n    return 0.9\n",
    "own_unused.py": "LR = 0.2\n",
    "own_parts/__init__.py": "NAME = 'parts'\n",
    "own_parts/rates.py": "from . import deep\n",
    "own_parts/deep.py": "import torch, own_space.part\nDEPTH = 3\n",
    "own_space/part.py": "from . import more\n",
    "own_space/more.py": "",
    "own_parts/unused.py": "DEPTH = 4\n",
}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnModule]:
    for name, content in BESIDE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    (tmp_path / "torch").mkdir()  # a folder of something else
    yield from OwnModule.put(tmp_path, monkeypatch, "own_strategy", SOURCE)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("own_parts", "own_space", "own_helper")]:
        del sys.modules[name]


def digest_now() -> str:
    return digest(find(Optimizer, "own_strategy:Own")())


@pytest.mark.parametrize(("old", "new"), [
    ("momentum=momentum()", "momentum=0.5"), ("LR  # of Adam", "2 * LR"), ('"An optimizer."', '"Another."'),
])  # fmt: skip
def test_edited_source_is_another_strategy(own: OwnModule, old: str, new: str) -> None:
    before = digest_now()
    assert digest_now() == before
    own.write(SOURCE.replace(old, new))
    assert digest_now() != before


@pytest.mark.parametrize(("old", "new"), [("# of Adam", "# as ever"), ("\n    def", "\n\n\n    def"), ("0.9", "0.90")])
def test_comments_and_layout_do_not_count(own: OwnModule, old: str, new: str) -> None:
    own.write(SOURCE.replace("momentum()", "momentum() * 0.9"))
    before = digest_now()
    own.write(SOURCE.replace("momentum()", "momentum() * 0.9").replace(old, new))
    assert digest_now() == before


@pytest.mark.parametrize("name", list(BESIDE))
def test_a_module_beside_it_counts_if_it_is_imported(own: OwnModule, name: str) -> None:
    before = digest_now()
    (own.path.parent / name).write_text(BESIDE[name] + "MORE = 1\n")
    own.forget()
    assert (digest_now() == before) == ("unused" in name)


def test_a_script_counts_with_what_lies_beside_it(own: OwnModule) -> None:
    def digest_of_script() -> str:
        done = subprocess.run([sys.executable, own.path], capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return done.stdout

    own.write(f"{SOURCE}\nfrom lth_sweep.lottery.common.identity import digest\nprint(digest(Own()), '\\d')\n")
    before = digest_of_script()
    assert digest_of_script() == before
    (own.path.parent / "own_lazy.py").write_text("def momentum():\n    return 0.8\n")
    assert digest_of_script() != before


def test_code_is_taken_as_it_was_when_it_was_imported(own: OwnModule) -> None:
    found = find(Optimizer, "own_strategy:Own")()
    own.path.write_text(SOURCE.replace("lr=self.lr", "lr=0.3"))
    edited = digest(found)
    own.forget()
    assert edited != digest_now()


def test_libraries_and_this_package_do_not_count() -> None:
    assert "source code" not in canonical(Adam(), source=True)
    assert source_digest("lth_sweep.lottery.training.optimizers:Adam") is None
    assert source_digest("time:time") is None
    assert source_digest("torch.nn:Linear") is not None  # the one file, which says nothing of the rest


def test_the_plain_form_can_be_written_into_a_sweep_file(own: OwnModule) -> None:
    assert canonical(find(Optimizer, "own_strategy:Own")()) == {
        "kind": "own_strategy:Own", "lr": 0.1, "momentum": 0.9, "weight_decay": 0, "nesterov": False}  # fmt: skip


@pytest.mark.parametrize("name", ["random", "time", "torch", "this"])
def test_a_file_that_is_named_like_a_librarys_module(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loaded before, built in, installed, and not loaded yet, as it may be in a worker."""
    (tmp_path / f"{name}.py").write_text("class Random: pass\n")
    import_object("random:Random")
    monkeypatch.syspath_prepend(str(tmp_path))
    message = f"{tmp_path}/{name}.py has the name of a library's module, which is found in its place; rename the file"
    with pytest.raises(ConfigError, match=f"cannot import '{name}:Random': {message}"):
        find(Data, f"{name}:Random")
