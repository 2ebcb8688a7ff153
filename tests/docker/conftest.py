"""Processes that stand for the machines of a cluster."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def compose(**variables: str) -> dict:
    """compose.yaml as an engine reads it where these variables are set: merge keys and anchors resolved, too."""
    text = (ROOT / "docker/compose.yaml").read_text()
    text = re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: variables.get(found[1], found[2]), text)
    assert "$" not in text, "every variable has a default"
    return yaml.safe_load(text)


class Processes:
    """Started by a command line; ended with the test, each with its children."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.all = folder, dict[str, subprocess.Popen[bytes]]()
        self.environment = {
            **os.environ,
            "PATH": f"{ROOT / 'docker'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "RAY_AUTH_TOKEN_PATH": str(folder / "secrets/ray_token"),
        }
        subprocess.run([ROOT / "docker/make-secrets", folder / "secrets"], check=True, capture_output=True)

    def start(
        self, name: str, command: list[str], stdin: int | None = None, **environment: str
    ) -> "subprocess.Popen[bytes]":
        with (self.folder / f"{name}.txt").open("wb") as output:
            self.all[name] = subprocess.Popen(
                command, env={**self.environment, **environment}, cwd=self.folder,
                stdin=stdin, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        return self.all[name]

    def said(self, name: str) -> str:
        return (self.folder / f"{name}.txt").read_text()

    def wait(self, name: str, seconds: float = 400) -> int:
        return self.all[name].wait(seconds)

    def wait_until_said(self, name: str, words: str) -> None:
        for _ in range(600):
            if words in self.said(name):
                return
            assert self.all[name].poll() is None, self.said(name)
            time.sleep(0.2)
        raise AssertionError(self.said(name))

    def wait_for(self, url: str) -> None:
        """Until it answers, be it with a refusal."""
        for _ in range(600):
            try:
                with urllib.request.urlopen(url, timeout=2):
                    return
            except urllib.error.HTTPError:
                return
            except OSError:
                time.sleep(0.2)
        raise AssertionError(f"{url} does not answer")

    def end(self) -> None:
        for process in reversed(self.all.values()):
            if process.poll() is None:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(60)
            with contextlib.suppress(ProcessLookupError):  # what it leaves, as `ray start` does its log monitor
                os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    made = Processes(tmp_path)
    yield made
    made.end()
