"""A real S3 API on loopback: moto's server in a process of its own, and a way to cut the line to it."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator

SERVER = """
import sys, threading
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

app, one_at_a_time = DomainDispatcherApplication(create_backend_app), threading.Lock()

def atomic(environ, start_response):
    # moto looks at an object and then writes it, which no other request may come between, as on S3 itself.
    with one_at_a_time:
        return list(app(environ, start_response))

server = make_server("127.0.0.1", 0, atomic, threaded=True)
print(server.port, flush=True)
server.serve_forever()
"""
NAMES = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION")
BUCKET = "tickets"


@contextlib.contextmanager
def server() -> Iterator[int]:
    """Its port. There is one bucket, tickets."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout
        port = int(process.stdout.readline())
        made = urllib.request.Request(f"http://127.0.0.1:{port}/{BUCKET}", method="PUT")
        assert urllib.request.urlopen(made).status == 200
        yield port
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def named(port: int) -> Iterator[None]:
    """The server in this process's environment, and in that of the processes that it starts."""
    before = {name: os.environ.get(name) for name in NAMES}
    os.environ |= dict(zip(NAMES, (f"http://127.0.0.1:{port}", "key", "secret", "us-east-1"), strict=True))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class Line:
    """Between a client and the server at a port: what it is told at `self.port` it passes on, until it is cut."""

    def __init__(self, server_port: int) -> None:
        self._server = server_port
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self.port = self.swallow = 0
        """`swallow`: so many answers are lost, each with its connection."""
        self.join()

    def cut(self) -> None:
        """Refuse connections, and end those that there are."""
        if self._listener:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    close = cut

    def join(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server))
                self._open |= {client, server}
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while content := source.recv(65536):
                if self.swallow and source.getpeername()[1] == self._server:
                    self.swallow -= 1
                    break
                sink.sendall(content)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._open -= {source, sink}
