"""CIFAR-10, from its binary form (ROOT/cifar-10-batches-bin) or torchvision's (ROOT/cifar-10-batches-py)."""

import io
import pickle
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.data.files import ImageFolder, Part, damaged, md5

BINARY, PYTHON = "cifar-10-batches-bin", "cifar-10-batches-py"
PIXELS = (3, 32, 32)


@dataclass(frozen=True)
class Cifar10(ImageFolder):
    """Photographs (Krizhevsky 2009), [n, 3, 32, 32]: 45,000 to train, 5,000 to validate, 10,000 to test; normalised
    with means 0.4914, 0.4822, 0.4465 and standard deviations 0.2470, 0.2435, 0.2616 of red, green and blue."""

    url: ClassVar[str] = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
    archive: ClassVar[str] = "c32a1d4ab5d03f1284b67883e8d87530"
    """MD5 of what is at the address. No checksums of the single binary files are published: of those, the size and the
    range of the labels are checked."""
    pickles: ClassVar[dict[str, str]] = {
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
    }
    examples: ClassVar[int] = 50_000
    mean: ClassVar[tuple[float, ...]] = (0.4914, 0.4822, 0.4465)
    std: ClassVar[tuple[float, ...]] = (0.2470, 0.2435, 0.2616)

    def prepare(self) -> None:
        if self._complete(BINARY) or self._complete(PYTHON):
            return
        if (self.folder / BINARY).exists():
            raise ConfigError(f"{(self.folder / BINARY).resolve()} is incomplete: it should have "
                              f"{', '.join(f'{name}.bin' for name in self.pickles)}; "
                              "delete it, and it will be downloaded again", "root")  # fmt: skip
        with self.downloaded(self.url, self.archive, self.folder) as archive:
            self._unpack(archive)

    def read(self, part: Part) -> tuple[np.ndarray, np.ndarray]:
        self.prepare()
        names = [name for name in self.pickles if (name == "test_batch") == (part == "test")]
        if self._complete(BINARY):
            rows = [self._binary(self.folder / BINARY / f"{name}.bin") for name in names]
        else:
            rows = [self._pickled(self.folder / PYTHON / name) for name in names]
        images, labels = (np.concatenate(column) for column in zip(*rows, strict=True))
        return images.reshape(-1, *PIXELS), labels

    def _complete(self, form: str) -> bool:
        suffix = ".bin" if form == BINARY else ""
        return all((self.folder / form / f"{name}{suffix}").is_file() for name in self.pickles)

    def _binary(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        """Rows of one label byte and 3,072 pixel bytes: all red, all green, all blue."""
        content, size = _bytes(path), self.examples // 5 * 3073
        if len(content) != size:
            raise damaged(path, f"it has {len(content)} bytes, not {size}")
        rows = np.frombuffer(content, np.uint8).reshape(-1, 3073)
        if rows[:, 0].max() > 9:
            raise damaged(path, f"it has a label {rows[:, 0].max()}; they go from 0 to 9")
        return rows[:, 1:], rows[:, 0]

    def _pickled(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        """A dict with data, uint8 [n, 3072], and labels. Unpickled only if it is the published file, byte for byte."""
        content, expected = _bytes(path), self.pickles[path.name]
        if md5(content) != expected:
            raise damaged(path, f"its MD5 is {md5(content)}, not {expected}")
        try:
            batch = ArrayUnpickler(content).load()
        except Exception as error:  # a pickle can fail in any way
            raise damaged(path, error) from error
        return batch["data"], np.array(batch["labels"], np.uint8)

    def _unpack(self, archive: Path) -> None:
        unpacked = archive.with_name(BINARY)
        unpacked.mkdir()
        with tarfile.open(archive) as tar:
            for name in self.pickles:  # these files and no others, under names of our own
                try:
                    member = tar.extractfile(f"{BINARY}/{name}.bin")
                except KeyError:
                    member = None
                if member is None:
                    raise ValueError(f"it has no file {BINARY}/{name}.bin")
                (unpacked / f"{name}.bin").write_bytes(member.read())
        try:
            unpacked.rename(self.folder / BINARY)
        except OSError:
            if not self._complete(BINARY):  # which it is where another process was faster
                raise


class ArrayUnpickler(pickle.Unpickler):
    """Reads plain values and NumPy arrays, and refuses everything else that a pickle can name."""

    allowed: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content), encoding="latin1")  # strings of Python 2, which wrote the files

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no data file needs")
        return self.allowed[module, name]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise damaged(path, error) from error
