"""Two processes and one sweep."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.orchestration.running import run_sweep
from lth_sweep.remote.run_folder import RunFolder
from tests.orchestration.specs import sweep
from tests.orchestration.test_sweep import RUN

HOLDER = """
import sys, time
from pathlib import Path
from lth_sweep.remote.run_folder import RunFolder
with RunFolder(Path(sys.argv[1])).exclusive():
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_second_is_told_who_is_first_and_comes_in_when_that_one_dies(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    first = subprocess.Popen([sys.executable, "-c", HOLDER, str(runs / "simulated")], stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    assert first.stdout.readline() == "held\n"
    with pytest.raises(ConfigError, match=f"by process {first.pid} on {socket.gethostname()};"):
        run_sweep(sweep(2), runs, work=RUN, serial=True)
    (runs / "simulated" / "lock").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="by \ufffd;"):
        run_sweep(sweep(2), runs, work=RUN, serial=True)
    assert [path.name for path in (runs / "simulated").iterdir()] == ["lock"]
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert run_sweep(sweep(2), runs, work=RUN, serial=True).ending == "finished"


def test_it_ends_with_the_block_however_that_ends(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), RunFolder(tmp_path).exclusive():
            raise ZeroDivisionError
    assert (tmp_path / "lock").read_text() == f"process {os.getpid()} on {socket.gethostname()}\n"
