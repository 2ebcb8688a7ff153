"""What a command is told by whoever starts it for the user: of each signal, once. A second one means at once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.docker.conftest import ROOT, Processes

COUNTER = """\
import signal, sys, time
got = []
def note(number, frame):
    got.append(number)
    print("signal", len(got), flush=True)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, note)
signal.alarm(60)  # whatever becomes of the test
print("ready", flush=True)
while len(got) < 2:
    time.sleep(0.05)
time.sleep(0.5)  # for one more
sys.exit(7)
"""
STANDS_FOR = {
    "ray": "echo Ray runtime started\nexec sleep 60",
    "python": "exit 0",  # the versions agree
    "lth-sweep": f'exec "{sys.executable}" counter.py',
    "srun": "exec sleep 60",
    "scontrol": 'if [ "$1" = show ]; then echo localhost; else echo "$@" >>requeued; fi',
}
TERMINAL = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"


@pytest.fixture
def commands(processes: Processes, tmp_path: Path) -> dict[str, str]:
    """The environment in which these stand for the real ones."""
    (tmp_path / "counter.py").write_text(COUNTER)
    (tmp_path / "bin").mkdir()
    for name, text in STANDS_FOR.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    return {"PATH": f"{tmp_path / 'bin'}:{processes.environment['PATH']}"}


def test_ctrl_c_at_a_terminal_is_one_signal(processes: Processes, commands: dict[str, str]) -> None:
    words = [sys.executable, "-c", TERMINAL, str(ROOT / "docker/node"), "submit", "localhost:1", "lth-sweep"]
    terminal = processes.start("submit", words, stdin=subprocess.PIPE, **commands)
    processes.wait_until_said("submit", "ready")
    for times in (1, 2):
        terminal.stdin.write(b"\x03")
        terminal.stdin.flush()
        processes.wait_until_said("submit", f"signal {times}")
        time.sleep(0.3)
        assert processes.said("submit").count("signal") == times
    assert terminal.wait(20) == 7, "the command's own exit code"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_what_is_sent_to_the_script_reaches_the_command(
    number: signal.Signals, processes: Processes, commands: dict[str, str]
) -> None:
    script = processes.start("submit", [str(ROOT / "docker/node"), "submit", "localhost:1", "lth-sweep"], **commands)
    processes.wait_until_said("submit", "ready")
    for times in (1, 2):
        script.send_signal(number)
        processes.wait_until_said("submit", f"signal {times}")
    assert script.wait(20) == 7
    assert processes.said("submit").count("signal") == 2


@pytest.mark.parametrize(
    ("sent", "requeued"),
    [
        (["USR1", "USR1"], True),  # the time is nearly over
        (["INT", "INT"], False),  # scancel --batch --signal=INT
        (["TERM", "TERM"], False),  # scancel
        (["USR1", "TERM"], False),  # scancel in the last five minutes
    ],
)
def test_slurm_queues_a_job_again_that_has_come_to_its_limit_and_none_that_is_cancelled(
    sent: list[str], requeued: bool, processes: Processes, commands: dict[str, str], tmp_path: Path
) -> None:
    slurm = {"SLURM_JOB_ID": "12", "SLURM_JOB_NODELIST": "one", "SLURM_SUBMIT_DIR": str(ROOT)}
    script = processes.start("job", [str(ROOT / "docker/slurm/sweep.sh"), "sweep.yaml"], **commands, **slurm)
    processes.wait_until_said("job", "ready")
    for times, name in enumerate(sent, start=1):
        number = signal.Signals[f"SIG{name}"]
        if number == signal.SIGTERM:  # Slurm sends it to every process
            os.killpg(script.pid, number)
        else:
            script.send_signal(number)
        processes.wait_until_said("job", f"signal {times}")
        time.sleep(0.3)
        assert processes.said("job").count("signal") == times
    assert script.wait(20) == 7
    assert (tmp_path / "requeued").exists() == requeued
    assert not list((tmp_path / "runs").glob(".ray-token-*"))
