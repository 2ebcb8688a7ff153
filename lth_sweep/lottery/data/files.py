"""Image sets that are files in a folder, in torchvision's layout: found there, checked, or downloaded into it."""

import gzip
import hashlib
import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from lth_sweep.lottery.common.errors import ConfigError, import_optional, require
from lth_sweep.lottery.data.base import Data, Examples, Splits, permutation, require_seed

DEFAULT = "data"
Part = Literal["train", "test"]
DAMAGE = (OSError, EOFError, zlib.error)
"""What reading a truncated or overwritten gzip file can raise."""


@dataclass(frozen=True)
class ImageFolder(Data):
    """A set of 10 classes with training files and test files. The validation split is taken from the training files,
    by `split_seed`; the test files are not opened before the test split is asked for."""

    root: str | None = None
    """The data folder, which must exist; by default that of the environment variable LTH_SWEEP_DATA, or else "data",
    which is created if need be."""
    split_seed: int = 0
    limit: int | None = None
    """Train on the first so many examples of the shuffled training split only."""
    download: bool = True
    """Download files that are missing. They are checked before they take their place."""

    examples: ClassVar[int]
    """In the training files."""
    validation: ClassVar[int] = 5_000
    """How many of them are the validation split."""
    mean: ClassVar[tuple[float, ...]]
    """Per channel, of all training files' pixels scaled to 0..1, as is `std`."""
    std: ClassVar[tuple[float, ...]]

    def __post_init__(self) -> None:
        require_seed(self.split_seed)
        most = self.examples - self.validation
        require(self.limit is None or 1 <= self.limit <= most, "limit",
                f"must be between 1 and {most} inclusive, but got {self.limit}")  # fmt: skip

    @property
    def folder(self) -> Path:
        return Path(self.root or os.environ.get("LTH_SWEEP_DATA") or DEFAULT).expanduser()

    def identity(self) -> dict[str, Any]:
        return {"kind": self.kind, "split_seed": self.split_seed, "limit": self.limit}

    def prepare(self) -> None:
        """See to it that all files are there, without opening one that is. Raises ConfigError if one cannot be had."""
        raise NotImplementedError

    def read(self, part: Part) -> tuple[np.ndarray, np.ndarray]:
        """Images, uint8 [n, channels, height, width], and labels, uint8 [n]; ConfigError where a file is damaged."""
        raise NotImplementedError

    def load(self) -> Splits:
        self.prepare()
        images, labels = self.read("train")
        order = permutation(len(labels), self.split_seed).numpy()
        train, validation = order[: -self.validation][: self.limit], order[-self.validation :]
        return Splits(self._examples(images[train], labels[train]),
                      self._examples(images[validation], labels[validation]),
                      lambda: self._examples(*self.read("test")), 10)  # fmt: skip

    def _examples(self, images: np.ndarray, labels: np.ndarray) -> Examples:
        per_channel = (1, -1, 1, 1)
        mean, std = torch.tensor(self.mean).view(per_channel), torch.tensor(self.std).view(per_channel)
        x: Tensor = torch.tensor(images).float()
        return Examples(x.div_(255).sub_(mean).div_(std), torch.tensor(labels).long())

    @contextmanager
    def downloaded(self, url: str, checksum: str, folder: Path) -> Iterator[Path]:
        """A temporary file with what is at `url`, once its MD5 is right, to be put into `folder` by the body of the
        `with`, which raises ValueError where it is not the right file."""
        if not self.folder.is_dir() and self.folder != Path(DEFAULT):  # rather a slip than a place for new files
            raise ConfigError(f"the data folder {self.folder.resolve()} does not exist; create it, and what is missing "
                              "will be downloaded into it, or name another", "root")  # fmt: skip
        name = url.rsplit("/", 1)[1]
        what = f"{name} is missing in {folder.resolve()}"
        remedy = "put it there, or set root (or the environment variable LTH_SWEEP_DATA) to a data folder that has it"
        if not self.download:
            raise ConfigError(f"{what}, and download is false; {remedy}; it can be had from {url}", "root")
        pooch = import_optional("pooch", "pooch", "a download")
        pooch.get_logger().setLevel("WARNING")
        print(f"downloading {url} to {folder}", file=sys.stderr)
        try:
            self.folder.mkdir(exist_ok=True)
            with TemporaryDirectory(dir=self.folder, prefix=".unfinished-") as place:
                yield Path(pooch.retrieve(url, f"md5:{checksum}", name, place, progressbar=sys.stderr.isatty()))
        except (*DAMAGE, ValueError) as error:
            raise ConfigError(f"{what}, and could not be downloaded from {url} ({error}); {remedy}", "root") from error


def contents(path: Path) -> bytes:
    """What is in a file, unzipped if its name ends in .gz. Raises one of DAMAGE."""
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def md5(content: bytes) -> str:
    """To recognise published files by, as their publishers do; no protection against forgery is meant."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def damaged(path: Path, reason: object) -> ConfigError:
    return ConfigError(f"{path.resolve()} is damaged: {reason}; delete it, and it will be downloaded again", "root")
