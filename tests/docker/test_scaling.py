"""A cluster that begins without a CPU for trials, as those of docker/kubernetes do, and Ray's autoscaler, which adds
some. Its nodes are processes of this machine: Ray's own provider for tests makes them.
"""

from pathlib import Path

import pytest
import yaml

from lth_sweep.orchestration.records import read
from lth_sweep.tracking.ui import free_port
from tests.docker.conftest import Processes
from tests.docker.test_commands import SWEEP

AUTOSCALER = {
    "cluster_name": "growing",
    "max_workers": 2,
    "upscaling_speed": 1.0,
    "idle_timeout_minutes": 5,
    "available_node_types": {
        "ray.head.default": {"resources": {}, "node_config": {}, "max_workers": 0},
        "cpu": {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 2},
    },
    "head_node_type": "ray.head.default",
    "file_mounts_sync_continuously": False,
    **{name: {} for name in ("auth", "docker", "file_mounts")},
    **{name: [] for name in ("cluster_synced_files", "rsync_exclude", "rsync_filter", "initialization_commands",
                             "setup_commands", "head_setup_commands", "worker_setup_commands",
                             "head_start_ray_commands", "worker_start_ray_commands")},
}  # fmt: skip


@pytest.mark.slow
def test_a_sweep_starts_on_a_cluster_that_has_scaled_to_zero(processes: Processes, tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port('127.0.0.1', 0)}"
    provider = {"type": "fake_multinode", "gcs_address": address}
    (tmp_path / "autoscaler.yaml").write_text(yaml.safe_dump({**AUTOSCALER, "provider": provider}))
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    head = ["ray", "start", "--head", f"--port={address.split(':')[1]}", "--node-ip-address=127.0.0.1", "--num-cpus=0",
            "--include-dashboard=false", "--autoscaling-config=autoscaler.yaml", "--block"]  # fmt: skip
    processes.start("head", head, RAY_AUTH_MODE="token", RAY_FAKE_CLUSTER="1", AUTOSCALER_UPDATE_INTERVAL_S="1",
                    RAY_gcs_rpc_server_reconnect_timeout_s="1")  # fmt: skip
    processes.wait_until_said("head", "Ray runtime started")
    processes.start("sweep", ["lth-sweep", "run", "sweep.yaml", "--ray-address", address], RAY_AUTH_MODE="token")
    assert processes.wait("sweep", 120) == 0, processes.said("sweep")
    assert "a trial asks for 1, but no node of the cluster has more than 0" in processes.said("sweep")
    assert [trial.ending for trial in read(tmp_path / "runs/everywhere")] == ["finished"] * 6
