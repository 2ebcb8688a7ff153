"""Four nodes of one CPU each: the records of one machine, a dense run for all of them, nodes that come and go."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from lth_sweep.cli import main
from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.orchestration.records import read
from lth_sweep.orchestration.running import run_sweep
from lth_sweep.sweepfile.load import load_spec
from lth_sweep.sweepfile.spec import SweepSpec

REPOSITORY = Path(__file__).parents[2]
STEPS = 60
SWEEP = f"""\
name: nodes
trial:
  model: {{kind: mlp, hidden: [24]}}
  train: {{length: {STEPS} steps, optimizer: {{kind: adam, lr: 0.005}}}}
  levels: 2
  seeds: 2
space:
  rate: {{between: [0.3, 0.6]}}
  rewind: {{choice: {{init: init, early: {{kind: step, at: 15 steps}}}}}}
  granularity: {{choice: [weight, unit]}}
search: {{sampler: random, trials: 40}}
# These rules look at the best trial so far, and so at the order in which trials end.
stop: {{race: null, hopeless: false, patience: null, duplicates: false}}
verify: {{top: 0}}
"""


@pytest.fixture
def nodes() -> Iterator[Cluster]:
    os.environ["PYTHONPATH"] = str(REPOSITORY)  # for the workers
    cluster = Cluster()
    cluster.add_node(num_cpus=0, include_dashboard=False)  # the head, where the sweep is started
    for _ in range(4):
        cluster.add_node(num_cpus=1)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def spec(tmp_path: Path) -> SweepSpec:
    (tmp_path / "nodes.yaml").write_text(SWEEP)
    return load_spec(tmp_path / "nodes.yaml")


def results(runs: Path) -> list[object]:
    return [
        (trial.number, dict(trial.picks), trial.ending, [record.result() for level in trial.levels for record in level])
        for trial in read(runs / "nodes")
    ]


class LosesANode:
    """A listener that kills a node in the middle of its trial, and adds one."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.done = cluster, 0
        self.alive: list[float] = []
        """CPUs of the nodes that are alive: after the loss, and after the gain."""

    def level_done(self, proposal, level) -> None:
        self.done += 1
        if self.done == 20:
            self.cluster.remove_node(next(iter(self.cluster.worker_nodes)), allow_graceful=False)
            self._note(3)
            self.cluster.add_node(num_cpus=1)
            self._note(4)

    def _note(self, expected: float) -> None:
        for _ in range(300):
            cpus = sum(node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"])
            if cpus == expected:
                break
            time.sleep(0.1)
        self.alive.append(cpus)

    def __getattr__(self, name):
        return lambda *arguments: None


@pytest.mark.slow
def test_a_cluster_that_loses_a_node_and_gets_one_gives_the_records_of_one_machine(
    nodes: Cluster, spec: SweepSpec, tmp_path: Path
) -> None:
    listener = LosesANode(nodes)
    result = run_sweep(spec, tmp_path / "cluster", ray_address=nodes.address, listeners=[listener])
    assert result.counts == {"finished": 40}
    assert listener.alive == [3, 4]
    run_sweep(spec, tmp_path / "machine", serial=True)
    assert results(tmp_path / "cluster") == results(tmp_path / "machine")
    dense = [record for trial in read(tmp_path / "cluster/nodes") for record in trial.levels[0]]
    assert sum(record.steps_trained for record in dense) == 2 * STEPS  # once for each seed
    assert len(dense) == 80


def test_a_cluster_that_grows_runs_more_trials_at_a_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one more than there is room for is proposed, for an autoscaler to see: also where there is no room at all,
    for as long as one may take."""
    from lth_sweep.orchestration import capacity
    from lth_sweep.sweepfile.spec import Resources

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
        room = capacity.Capacity(Resources(), joined=True)
        own = capacity.Capacity(Resources(), joined=False)
        assert (room(), own()) == (2, 1)
        assert capacity.Capacity(Resources(max_concurrent=7), joined=True)() == 7
        cluster.add_node(num_cpus=3)
        for _ in range(100):
            if room() == 5:
                break
            time.sleep(0.2)
        assert (room(), own()) == (5, 4)

        assert capsys.readouterr().err == ""
        with pytest.raises(ConfigError, match="a trial asks for 64, but no node of the cluster has more than 3; ask"):
            capacity.Capacity(Resources(cpu=64), joined=False)
        empty, patient = (capacity.Capacity(Resources(cpu=64, max_concurrent=most), joined=True) for most in (None, 7))
        assert (empty(), patient()) == (1, 7)
        assert capsys.readouterr().err.count("no node of the cluster has more than 3; ask for less, or, where") == 2
        monkeypatch.setattr(capacity, "REFRESH_SECONDS", 0)
        monkeypatch.setattr(capacity, "PATIENCE_SECONDS", 0)
        with pytest.raises(ConfigError, match="a trial asks for 64, but no node"):
            empty()
        assert patient() == 7
        assert room() == 5, "it has had room"
    finally:
        ray.shutdown()
        cluster.shutdown()


def test_doctor_asks_every_node(spec: SweepSpec, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.environ["PYTHONPATH"] = str(REPOSITORY)  # for the workers
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        lost = cluster.add_node(num_cpus=1)
        arguments = ["doctor", str(spec.source), "--runs", str(tmp_path / "runs"), "--ray-address", cluster.address]
        for nodes in (2, 1):
            assert main([*arguments, "--json"]) == 0
            checks = {check["about"]: check["text"] for check in json.loads(capsys.readouterr().out)["checks"]}
            assert checks["storage"] == f"written and read on {nodes} nodes"
            for about in ("versions", "data"):
                assert checks[about].endswith(f" on {nodes} nodes")
            assert list((tmp_path / "runs").iterdir()) == []
            if nodes == 2:
                cluster.remove_node(lost)
    finally:
        ray.shutdown()
        cluster.shutdown()
