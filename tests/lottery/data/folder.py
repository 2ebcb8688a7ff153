"""Small data folders in the real formats, the real ones where they are there, and a server to download from."""

import gzip
import hashlib
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

SHARED = Path(__file__).parents[4] / "shared" / "data"


def real_root(*files: str) -> str:
    """A data folder that has these files; skips the test where there is none."""
    root = Path(os.environ.get("LTH_SWEEP_DATA") or SHARED)
    missing = [file for file in files if not (root / file).exists() and not (root / f"{file}.gz").exists()]
    if missing:
        pytest.skip(f"{missing[0]} is not in {root}; set LTH_SWEEP_DATA to a data folder that has it")
    return str(root)


def idx(array: np.ndarray) -> bytes:
    """An array of bytes in the IDX format."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def small_idx(train: int = 20, test: int = 6) -> dict[str, bytes]:
    """The four files of a small MNIST, by name. Image i is grey value i throughout; its label is i % 10."""
    files = {}
    for prefix, start, n in (("train", 0, train), ("t10k", train, test)):
        values = np.arange(start, start + n)
        files[f"{prefix}-images-idx3-ubyte"] = idx(np.broadcast_to(values[:, None, None], (n, 28, 28)))
        files[f"{prefix}-labels-idx1-ubyte"] = idx(values % 10)
    return files


class Server:
    """Serves `files` (path -> content) on 127.0.0.1, and notes what was asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut: set[str] = set()
        """Paths whose connection ends in the middle."""
        self.asked: list[str] = []
        self.url = ""

    def add_zipped(self, files: dict[str, bytes]) -> None:
        self.files |= {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in files.items()}


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.lstrip("/")
            server.asked.append(name)
            if name not in server.files:
                self.send_error(404)
                return
            content = server.files[name]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if name in server.cut else content)

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        server.url = f"http://127.0.0.1:{listener.server_port}/"
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        listener.shutdown()
        thread.join()
