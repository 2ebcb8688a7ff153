"""MNIST and Fashion-MNIST: four IDX files each, plain or gzipped, in ROOT/MNIST/raw and ROOT/FashionMNIST/raw."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from lth_sweep.lottery.data.files import DAMAGE, ImageFolder, Part, contents, damaged, md5


@dataclass(frozen=True)
class Idx(ImageFolder):
    """A set in the IDX format (LeCun, Cortes & Burges, 1998)."""

    place: ClassVar[str]
    """The folder, seen from the root."""
    mirror: ClassVar[str]
    """Where NAME.gz can be downloaded."""
    checksums: ClassVar[dict[str, tuple[str, str]]]
    """File name -> MD5 of the plain file, and of the zipped one at the mirror: train images and labels, test images and
    labels."""
    examples: ClassVar[int] = 60_000

    def prepare(self) -> None:
        for name in self.checksums:
            if self._path(name) is None:
                self._fetch(name)

    def read(self, part: Part) -> tuple[np.ndarray, np.ndarray]:
        names = list(self.checksums)
        images, labels = (self._array(name) for name in (names[:2] if part == "train" else names[2:]))
        return images[:, None], labels

    def _path(self, name: str) -> Path | None:
        plain = self.folder / self.place / name
        zipped = plain.with_name(f"{name}.gz")
        return plain if plain.exists() else zipped if zipped.exists() else None

    def _fetch(self, name: str) -> None:
        folder = self.folder / self.place
        with self.downloaded(f"{self.mirror}{name}.gz", self.checksums[name][1], folder) as file:
            folder.mkdir(parents=True, exist_ok=True)
            file.replace(folder / file.name)

    def _array(self, name: str) -> np.ndarray:
        path = self._path(name)
        if path is None:  # it was there when the sweep began
            self._fetch(name)
            return self._array(name)
        try:
            content = contents(path)
        except DAMAGE as error:
            raise damaged(path, error) from error
        found = md5(content)
        if found != self.checksums[name][0]:
            raise damaged(path, f"its plain content has the MD5 {found}, not {self.checksums[name][0]}")
        dimensions = content[3]
        shape = np.frombuffer(content, ">u4", dimensions, offset=4)
        return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


@dataclass(frozen=True)
class Mnist(Idx):
    """Handwritten digits, [n, 1, 28, 28]: 55,000 to train, 5,000 to validate, 10,000 to test; normalised with mean
    0.1307 and standard deviation 0.3081."""

    place: ClassVar[str] = "MNIST/raw"
    mirror: ClassVar[str] = "https://ossci-datasets.s3.amazonaws.com/mnist/"
    checksums: ClassVar[dict[str, tuple[str, str]]] = {
        "train-images-idx3-ubyte": ("6bbc9ace898e44ae57da46a324031adb", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        "train-labels-idx1-ubyte": ("a25bea736e30d166cdddb491f175f624", "d53e105ee54ea40749a09fcbcd1e9432"),
        "t10k-images-idx3-ubyte": ("2646ac647ad5339dbf082846283269ea", "9fb629c4189551a2d022fa330f9573f3"),
        "t10k-labels-idx1-ubyte": ("27ae3e4e09519cfbb04c329615203637", "ec29112dd5afa0611ce80d1b7f02629c"),
    }
    mean: ClassVar[tuple[float, ...]] = (0.1307,)
    std: ClassVar[tuple[float, ...]] = (0.3081,)


@dataclass(frozen=True)
class FashionMnist(Idx):
    """Pieces of clothing (Xiao, Rasul & Vollgraf 2017), [n, 1, 28, 28]: 55,000 to train, 5,000 to validate, 10,000 to
    test; normalised with mean 0.2860 and standard deviation 0.3530."""

    place: ClassVar[str] = "FashionMNIST/raw"
    mirror: ClassVar[str] = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
    checksums: ClassVar[dict[str, tuple[str, str]]] = {
        "train-images-idx3-ubyte": ("f4a8712d7a061bf5bd6d2ca38dc4d50a", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        "train-labels-idx1-ubyte": ("9018921c3c673c538a1fc5bad174d6f9", "25c81989df183df01b3e8a0aad5dffbe"),
        "t10k-images-idx3-ubyte": ("8181f5470baa50b63fa0f6fddb340f0a", "bef4ecab320f06d8554ea6380940ec79"),
        "t10k-labels-idx1-ubyte": ("15d484375f8d13e6eb1aabb0c3f46965", "bb300cfdad3c16e7a12a480ee83cd310"),
    }
    mean: ClassVar[tuple[float, ...]] = (0.2860,)
    std: ClassVar[tuple[float, ...]] = (0.3530,)
