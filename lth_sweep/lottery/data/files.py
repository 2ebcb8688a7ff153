"""Image sets that are files in a folder, in torchvision's layout: found there, checked, or downloaded into it."""

import gzip
import hashlib
import http.client
import os
import sys
import urllib.request
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal
from uuid import uuid4

import numpy as np
import torch
from torch import Tensor

from lth_sweep.lottery.common.errors import ConfigError, require
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
                      lambda: self._examples(*self.read("test")))  # fmt: skip

    def _examples(self, images: np.ndarray, labels: np.ndarray) -> Examples:
        per_channel = (1, -1, 1, 1)
        mean, std = torch.tensor(self.mean).view(per_channel), torch.tensor(self.std).view(per_channel)
        x: Tensor = torch.tensor(images).float()
        return Examples(x.div_(255).sub_(mean).div_(std), torch.tensor(labels).long())

    def fetch(self, url: str, folder: Path, install: Callable[[Path], None]) -> None:
        """Download `url` to a temporary file in `folder` and let `install` check it and put it in its place.

        `install` raises ValueError where it is not the right file.
        """
        if not self.folder.is_dir() and self.folder != Path(DEFAULT):  # rather a slip than a place for new files
            raise ConfigError(f"the data folder {self.folder.resolve()} does not exist; create it, and what is missing "
                              "will be downloaded into it, or name another", "root")  # fmt: skip
        what = f"{url.rsplit('/', 1)[1]} is missing in {folder.resolve()}"
        remedy = "put it there, or set root (or the environment variable LTH_SWEEP_DATA) to a data folder that has it"
        if not self.download:
            raise ConfigError(f"{what}, and download is false; {remedy}; it can be had from {url}", "root")
        partial = folder / f".{uuid4().hex}.partial{Path(url).suffix}"
        try:
            _download(url, partial)
            install(partial)
        except (*DAMAGE, http.client.HTTPException, ValueError) as error:
            raise ConfigError(f"{what}, and could not be downloaded from {url} ({error}); {remedy}", "root") from error
        finally:
            with suppress(OSError):
                partial.unlink()


def contents(path: Path) -> bytes:
    """What is in a file, unzipped if its name ends in .gz. Raises one of DAMAGE."""
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def md5(content: bytes) -> str:
    """To recognise published files by, as their publishers do; no protection against forgery is meant."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def damaged(path: Path, reason: object) -> ConfigError:
    return ConfigError(f"{path.resolve()} is damaged: {reason}; delete it, and it will be downloaded again", "root")


def _download(url: str, target: Path) -> None:
    request = urllib.request.Request(url, headers={"User-Agent": "lth-sweep"})
    terminal, done = sys.stderr.isatty(), 0
    with urllib.request.urlopen(request, timeout=30) as response:
        size = int(response.headers.get("Content-Length") or 0)
        if not terminal:
            print(f"downloading {url} ({size / 1e6:.1f} MB) to {target.parent}", file=sys.stderr)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            while chunk := response.read(1 << 16):
                file.write(chunk)
                done += len(chunk)
                if terminal:
                    bar = "#" * (30 * done // max(size, done))
                    print(f"\r{url.rsplit('/', 1)[1]} [{bar:30}] {done / 1e6:.1f} of {size / 1e6:.1f} MB",
                          end="", file=sys.stderr, flush=True)  # fmt: skip
    if terminal:
        print(file=sys.stderr)
    if done < size:
        raise ValueError(f"the connection ended after {done} of {size} bytes")
