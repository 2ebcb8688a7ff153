"""A cluster of four nodes, each in a network namespace of its own: what they say to each other crosses a network."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lth_sweep.orchestration.records import read
from lth_sweep.orchestration.running import run_sweep
from lth_sweep.sweepfile.load import load_spec
from lth_sweep.tracking.ui import free_port
from tests.docker.conftest import Processes

SWEEP = """\
name: crossing
trial:
  model: {kind: mlp, hidden: [16]}
  train: {length: 300 steps}  # long enough that all workers are up well before the last trial
  levels: 3
  seeds: 2
space:
  rate: {choice: [0.2, 0.3, 0.4, 0.5, 0.6]}
  rewind: {choice: {init: init, early: {kind: step, at: 10 steps}}}
  granularity: {choice: [weight, unit]}
  scope: {choice: [layer, global]}
search: {sampler: grid, trials: 40}
stop: {race: null, hopeless: false}
verify: {top: 0}
"""
NODES, CPUS = 4, 2
BRIDGE = f"lth{os.getpid()}"
NAMES = [f"{BRIDGE}-{node}" for node in range(NODES)]
"""Of the namespaces, and of the ends of their links at the bridge."""
ADDRESSES = [f"10.213.77.{2 + node}" for node in range(NODES)]


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def network() -> Iterator[None]:
    """A bridge with a namespace at the end of each of its links."""
    try:
        ip("link", "add", BRIDGE, "type", "bridge")
        for name, address in zip(NAMES, ADDRESSES, strict=True):
            ip("netns", "add", name)
            ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", name, "up", "master", BRIDGE)
            ip("-n", name, "address", "add", f"{address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                ip("-n", name, "link", "set", device, "up")
            ip("-n", name, "route", "add", "default", "dev", "eth0")  # by which Ray finds a node's own address
        ip("link", "set", BRIDGE, "up")
        yield
    except FileNotFoundError:
        pytest.skip("iproute2 is not installed")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this machine does not allow network namespaces: {error.stderr.strip()}")
    finally:
        for name in NAMES:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
        subprocess.run(["ip", "link", "delete", BRIDGE], check=False, capture_output=True)


@pytest.mark.slow
def test_forty_trials_on_four_nodes_have_the_records_of_one_machine(
    network: None, processes: Processes, tmp_path: Path
) -> None:
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    spec = load_spec(tmp_path / "sweep.yaml")
    run_sweep(spec, tmp_path / "one", serial=True)

    port = str(free_port("127.0.0.1", 0))
    head = f"{ADDRESSES[0]}:{port}"
    for node, name in enumerate(NAMES):  # one after the other: all at once, they take long enough for Ray to give up
        role = ["worker", head] if node else ["head"]
        processes.start(name, ["ip", "netns", "exec", name, "node", *role], RAY_PORT=port, NODE_CPUS=str(CPUS))
        processes.wait_until_said(name, "Ray runtime started")
    before = {name: carried(name) for name in NAMES}
    started = time.monotonic()
    submit = ["node", "submit", head, "lth-sweep", "run", "--runs", str(tmp_path / "four"), "sweep.yaml"]
    processes.start("submit", ["ip", "netns", "exec", NAMES[0], *submit])
    assert processes.wait("submit") == 0, processes.said("submit")
    mega = [(carried(name) - before[name]) / 1e6 for name in NAMES]
    print(f"{time.monotonic() - started:.0f} s; MB over each link: {', '.join(f'{one:.1f}' for one in mega)}")
    processes.end()

    trained = [record.steps_trained for trial in read(tmp_path / "four/crossing") for record in trial.levels[0]]
    four, one = results(tmp_path / "four"), results(tmp_path / "one")
    assert four.keys() == one.keys()
    assert {key: (four[key], one[key]) for key in one if four[key] != one[key]} == {}
    assert sum(trained) == 300 * 2, "each seed's dense network was trained once in the whole cluster"
    assert min(mega) > 0.4, "a node has at least been sent the data set"


def carried(name: str) -> int:
    """Bytes over the link of a node, both ways."""
    return sum(int(Path(f"/sys/class/net/{name}/statistics/{way}_bytes").read_text()) for way in ("rx", "tx"))


def results(runs: Path) -> dict[tuple[object, ...], object]:
    return {(trial.number, *trial.picks.items(), record.level, record.seed): record.result()
            for trial in read(runs / "crossing") for level in trial.levels for record in level}  # fmt: skip
