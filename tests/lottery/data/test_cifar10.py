import io
import pickle
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.data import Cifar10
from lth_sweep.lottery.data.cifar10 import ArrayUnpickler
from tests.lottery.data.folder import Server, md5, serving

NAMES = list(Cifar10.pickles)
ROWS = 4
PIXELS = np.random.default_rng(0).integers(0, 256, (6, ROWS, 3072), dtype=np.uint8)
LABELS = np.arange(24).reshape(6, ROWS) % 10


class Python2Pickler(pickle._Pickler):
    """Writes text and bytes as Python 2 wrote its strings: the form of the published files."""

    dispatch: ClassVar[dict] = dict(pickle._Pickler.dispatch)

    def save_text(self, value: str | bytes) -> None:
        content = value.encode("latin1") if isinstance(value, str) else value
        self.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_text


def python2(value: object) -> bytes:
    file = io.BytesIO()
    Python2Pickler(file, protocol=2).dump(value)
    return file.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


BINARY = {f"{name}.bin": np.hstack([labels[:, None].astype(np.uint8), pixels]).tobytes()
          for name, pixels, labels in zip(NAMES, PIXELS, LABELS, strict=True)}  # fmt: skip
PICKLED = {name: python2({"batch_label": name, "labels": labels.tolist(), "data": pixels, "filenames": ["a.png"] * 4})
           for name, pixels, labels in zip(NAMES, PIXELS, LABELS, strict=True)}  # fmt: skip


def archive(files: dict[str, bytes], folder: str = "cifar-10-batches-bin") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


ARCHIVE = archive({**BINARY, "readme.html": b"", "../../escape": b"not unpacked"})


class Small(Cifar10):
    """20 training images, 5 of them for validation, and 4 test images."""

    pickles: ClassVar[dict[str, str]] = {name: md5(content) for name, content in PICKLED.items()}
    archive: ClassVar[str] = md5(ARCHIVE)
    examples: ClassVar[int] = 20
    validation: ClassVar[int] = 5


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as server:
        monkeypatch.setattr(Small, "url", f"{server.url}cifar-10-binary.tar.gz")
        yield server


def write(root: Path, form: str) -> Path:
    folder = root / f"cifar-10-batches-{form}"
    folder.mkdir()
    for name, content in (BINARY if form == "bin" else PICKLED).items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("form", ["bin", "py"])
def test_both_forms(tmp_path: Path, form: str) -> None:
    write(tmp_path, form)
    splits = Small(str(tmp_path), download=False).load()
    test = splits.test()
    assert [len(part.y) for part in (splits.train, splits.validation, test)] == [15, 5, 4]
    assert splits.shape == (3, 32, 32)
    assert test.y.tolist() == LABELS[5].tolist()
    red, green, blue = PIXELS[5, 2, 7], PIXELS[5, 2, 1024 + 32], PIXELS[5, 2, 2048 + 33]
    expected = [(red / 255 - 0.4914) / 0.2470, (green / 255 - 0.4822) / 0.2435, (blue / 255 - 0.4465) / 0.2616]
    found = [test.x[2, 0, 0, 7], test.x[2, 1, 1, 0], test.x[2, 2, 1, 1]]
    torch.testing.assert_close(torch.stack(found), torch.tensor(expected, dtype=torch.float32), atol=1e-5, rtol=0)


def test_both_forms_give_the_same_splits(tmp_path: Path) -> None:
    digests = set()
    for form in ("bin", "py"):
        (tmp_path / form).mkdir()
        write(tmp_path / form, form)
        digests.add(Small(str(tmp_path / form)).load().digest)
    assert len(digests) == 1


@pytest.mark.parametrize(("form", "name"), [("bin", "test_batch.bin"), ("py", "test_batch")])
def test_the_test_batch_is_not_opened_before_it_is_asked_for(tmp_path: Path, form: str, name: str) -> None:
    (write(tmp_path, form) / name).write_bytes(b"not read")
    splits = Small(str(tmp_path)).load()
    with pytest.raises(ConfigError, match=f"{name} is damaged"):
        splits.test()


def test_published_sizes() -> None:
    assert (Cifar10.examples, Cifar10.validation) == (50_000, 5_000)
    with pytest.raises(ConfigError, match="limit: must be between 1 and 45000 inclusive, but got 45001"):
        Cifar10(limit=45_001)


class Runs:
    """A pickle that would make a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def test_a_pickle_that_is_not_the_published_one_is_not_unpickled(tmp_path: Path) -> None:
    bomb = pickle.dumps({"data": Runs(tmp_path / "harm"), "labels": []})
    (write(tmp_path, "py") / "data_batch_3").write_bytes(bomb)
    with pytest.raises(ConfigError, match=f"data_batch_3 is damaged: its MD5 is {md5(bomb)}, not"):
        Small(str(tmp_path)).load()
    assert not (tmp_path / "harm").exists()


def test_a_pickle_of_the_right_checksum_still_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = pickle.dumps({"data": Runs(tmp_path / "harm"), "labels": []})
    (write(tmp_path, "py") / "data_batch_3").write_bytes(bomb)
    monkeypatch.setitem(Small.pickles, "data_batch_3", md5(bomb))
    with pytest.raises(ConfigError, match=r"data_batch_3 is damaged: it asks for .*, which no data file needs"):
        Small(str(tmp_path)).load()
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("name", [b"os\nsystem", b"builtins\neval", b"numpy\nload", b"numpy\nndarray.tofile"])
def test_names_that_are_refused(name: bytes) -> None:
    with pytest.raises(pickle.UnpicklingError, match="which no data file needs"):
        ArrayUnpickler(b"\x80\x02c" + name + b"\n.").load()


@pytest.mark.parametrize(("content", "reason"), [
    (BINARY["test_batch.bin"][:-1], "it has 12291 bytes, not 12292"),
    (b"\x0a" + BINARY["test_batch.bin"][1:], "it has a label 10; they go from 0 to 9"),
])  # fmt: skip
def test_damaged_binary_files(tmp_path: Path, content: bytes, reason: str) -> None:
    (write(tmp_path, "bin") / "data_batch_2.bin").write_bytes(content)
    with pytest.raises(ConfigError, match=f"data_batch_2.bin is damaged: {reason}; delete it"):
        Small(str(tmp_path)).load()


def test_download(tmp_path: Path, server: Server) -> None:
    server.files["cifar-10-binary.tar.gz"] = ARCHIVE
    root = tmp_path / "in" / "here"
    root.mkdir(parents=True)
    splits = Small(str(root)).load()
    assert len(splits.test().y) == 4
    found = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {f"in/here/cifar-10-batches-bin/{name}": content for name, content in BINARY.items()}
    Small(str(root)).load()
    assert server.asked == ["cifar-10-binary.tar.gz"]


@pytest.mark.parametrize(("content", "reason"), [
    (b"other", "MD5 hash of downloaded file .* but got 795f3202b17cb6bc3d4b771d8c6c9eaf"),
    (archive({"data_batch_1.bin": b""}), "it has no file cifar-10-batches-bin/data_batch_2.bin"),
    (ARCHIVE[:-200], "Compressed file ended"),
])  # fmt: skip
def test_a_wrong_archive_leaves_nothing(tmp_path: Path, server: Server, content: bytes, reason: str,
                                        monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    server.files["cifar-10-binary.tar.gz"] = content
    if content != b"other":
        monkeypatch.setattr(Small, "archive", md5(content))
    with pytest.raises(ConfigError, match=rf"could not be downloaded from .* \(.*{reason}.*\); put it there"):
        Small(str(tmp_path)).load()
    assert list(tmp_path.iterdir()) == []


def test_an_incomplete_folder_is_not_overwritten(tmp_path: Path, server: Server) -> None:
    (write(tmp_path, "bin") / "test_batch.bin").unlink()
    with pytest.raises(ConfigError, match=r"cifar-10-batches-bin is incomplete: .*, test_batch.bin; delete"):
        Small(str(tmp_path)).load()
    assert server.asked == []
    assert len(list((tmp_path / "cifar-10-batches-bin").iterdir())) == 5
