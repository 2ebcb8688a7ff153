import gzip
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.data import Mnist
from tests.lottery.data.folder import Server, md5, serving, small_idx

FILES = small_idx()
NAMES = list(FILES)


class Small(Mnist):
    """20 training images, 5 of them for validation, and 6 test images."""

    checksums: ClassVar[dict[str, tuple[str, str]]] = {
        name: (md5(content), md5(gzip.compress(content, mtime=0))) for name, content in FILES.items()}  # fmt: skip
    examples: ClassVar[int] = 20
    validation: ClassVar[int] = 5


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as server:
        monkeypatch.setattr(Small, "mirror", server.url)
        yield server


def write(root: Path, zipped: bool = False) -> Path:
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name, content in FILES.items():
        (folder / (f"{name}.gz" if zipped else name)).write_bytes(gzip.compress(content) if zipped else content)
    return folder


def greys(x: torch.Tensor) -> list[int]:
    """The grey value of each image, which is its number in the files."""
    values = x * 0.3081 + 0.1307
    assert torch.equal(values.amin((1, 2, 3)), values.amax((1, 2, 3)))
    return (values[:, 0, 0, 0] * 255).round().int().tolist()


@pytest.mark.parametrize("zipped", [False, True])
def test_plain_and_gzipped_files(tmp_path: Path, zipped: bool) -> None:
    write(tmp_path, zipped)
    splits = Small(str(tmp_path), download=False).load()
    train, validation, test = splits.train, splits.validation, splits.test()
    assert (len(train.y), len(validation.y)) == (15, 5)
    assert sorted(greys(train.x) + greys(validation.x)) == list(range(20))
    assert greys(test.x) == [20, 21, 22, 23, 24, 25]
    for part in (train, validation, test):
        assert part.y.tolist() == [grey % 10 for grey in greys(part.x)]


def test_pixels_are_normalised_with_the_constants(tmp_path: Path) -> None:
    write(tmp_path)
    x = Small(str(tmp_path)).load().test().x
    assert x[3, 0, 9, 9].item() == pytest.approx((23 / 255 - 0.1307) / 0.3081, abs=1e-6)


def test_limit_takes_the_first_of_the_same_order_and_leaves_validation_alone(tmp_path: Path) -> None:
    write(tmp_path)
    whole, part = Small(str(tmp_path)).load(), Small(str(tmp_path), limit=4).load()
    assert torch.equal(part.train.x, whole.train.x[:4])
    assert torch.equal(part.validation.x, whole.validation.x)


def test_test_files_are_not_opened_before_they_are_asked_for(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "t10k-images-idx3-ubyte").write_bytes(b"not read")
    splits = Small(str(tmp_path), download=False).load()
    assert len(splits.train.y) == 15
    with pytest.raises(ConfigError, match="t10k-images-idx3-ubyte is damaged: its plain content has the MD5"):
        splits.test()


def test_the_environment_names_the_default_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "elsewhere")
    monkeypatch.setenv("LTH_SWEEP_DATA", str(tmp_path / "elsewhere"))
    assert len(Small().load().train.y) == 15
    monkeypatch.delenv("LTH_SWEEP_DATA")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").rename("data")
    assert len(Small().load().train.y) == 15


def test_where_the_files_are_is_no_part_of_the_identity() -> None:
    assert Mnist("a", download=False).identity() == Mnist("b").identity() == {
        "kind": "mnist", "split_seed": 0, "limit": None}  # fmt: skip
    assert Mnist(limit=100).identity() != Mnist().identity()


@pytest.mark.parametrize("limit", [0, 16])
def test_limit_out_of_range(limit: int) -> None:
    with pytest.raises(ConfigError, match=f"limit: must be between 1 and 15 inclusive, but got {limit}"):
        Small(limit=limit)


@pytest.mark.parametrize(("content", "reason"), [
    (b"other", "its plain content has the MD5 [0-9a-f]{32}, not"),
    (gzip.compress(FILES[NAMES[0]])[:-20], "Compressed file ended"),
], ids=["other", "cut"])  # fmt: skip
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    name = NAMES[0] if content == b"other" else f"{NAMES[0]}.gz"
    folder = write(tmp_path, zipped=name.endswith(".gz"))
    (folder / name).write_bytes(content)
    with pytest.raises(ConfigError, match=f"{folder / name} is damaged: {reason}.*; delete it") as caught:
        Small(str(tmp_path)).load()
    assert caught.value.path == "root"


def test_missing_and_download_false(tmp_path: Path, server: Server) -> None:
    with pytest.raises(ConfigError) as caught:
        Small(str(tmp_path), download=False).load()
    assert str(caught.value) == (
        f"root: train-images-idx3-ubyte.gz is missing in {tmp_path}/MNIST/raw, and download is false; put it there, "
        "or set root (or the environment variable LTH_SWEEP_DATA) to a data folder that has it; it can be had from "
        f"{server.url}train-images-idx3-ubyte.gz")  # fmt: skip
    assert list(tmp_path.iterdir()) == []
    assert server.asked == []


def test_download_of_what_is_missing(tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.add_zipped(FILES)
    folder = write(tmp_path)
    (folder / NAMES[0]).unlink()
    (folder / NAMES[3]).unlink()
    splits = Small(str(tmp_path)).load()
    assert server.asked == [f"{NAMES[0]}.gz", f"{NAMES[3]}.gz"]
    assert splits.test().y.tolist() == [0, 1, 2, 3, 4, 5]
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [f"{NAMES[0]}.gz", NAMES[1], NAMES[2], f"{NAMES[3]}.gz"])  # fmt: skip
    Small(str(tmp_path)).load()
    assert len(server.asked) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        f"downloading {server.url}{NAMES[i]}.gz to {folder}" for i in (0, 3)]  # fmt: skip


def test_a_terminal_sees_a_bar(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    server.add_zipped(FILES)
    monkeypatch.setattr(sys, "stderr", Terminal())
    Small(str(tmp_path)).load()
    printed = sys.stderr.getvalue()
    assert f"downloading {server.url}{NAMES[1]}.gz to " in printed
    assert printed.count("100%|") == 4


def wrong(server: Server) -> str:
    server.add_zipped({NAMES[0]: b"something else"})
    return f"MD5 hash of downloaded file .* expected md5:{Small.checksums[NAMES[0]][1]} but got"


def absent(server: Server) -> str:
    return "404 Client Error"


def truncated(server: Server) -> str:
    server.add_zipped(FILES)
    server.cut.add(f"{NAMES[0]}.gz")
    return r"\('Connection broken: IncompleteRead"


def not_zipped(server: Server) -> str:
    server.files[f"{NAMES[0]}.gz"] = b"<html>Log in to this network</html>"
    return "MD5 hash of downloaded file"


@pytest.mark.parametrize("trouble", [wrong, absent, truncated, not_zipped])
def test_a_failing_download_is_explained_and_leaves_nothing(tmp_path: Path, server: Server, trouble) -> None:
    reason = trouble(server)
    with pytest.raises(ConfigError, match=f"train-images-idx3-ubyte.gz is missing in {tmp_path}/MNIST/raw, and could "
                                          f"not be downloaded from {server.url}train-images-idx3-ubyte.gz "
                                          rf"\({reason}.*\); put it there, or set root"):  # fmt: skip
        Small(str(tmp_path)).load()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as gone:
        monkeypatch.setattr(Small, "mirror", gone.url)
    with pytest.raises(ConfigError, match=r"could not be downloaded from .* \(.*Connection refused.*\); put it there"):
        Small(str(tmp_path)).load()
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_to(tmp_path: Path, server: Server) -> None:
    server.add_zipped(FILES)
    (tmp_path / "MNIST").write_text("in the way")
    with pytest.raises(ConfigError, match=r"could not be downloaded from .*\(.*MNIST"):
        Small(str(tmp_path)).load()


def test_a_named_folder_must_exist(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    message = f"root: the data folder {tmp_path}/tpyo does not exist; create it"
    with pytest.raises(ConfigError, match=message):
        Small(str(tmp_path / "tpyo")).load()
    monkeypatch.setenv("LTH_SWEEP_DATA", str(tmp_path / "tpyo"))
    with pytest.raises(ConfigError, match=message):
        Small().load()
    assert server.asked == []
    assert list(tmp_path.iterdir()) == []


def test_the_default_folder_is_created(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.add_zipped(FILES)
    monkeypatch.delenv("LTH_SWEEP_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    assert len(Small().load().train.y) == 15
    assert sorted(path.name for path in (tmp_path / "data/MNIST/raw").iterdir()) == sorted(f"{n}.gz" for n in NAMES)
