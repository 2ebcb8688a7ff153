"""What a cluster that is started on this machine listens at."""

import os

import psutil
import ray

from lth_sweep.orchestration.on_ray import cluster


def test_what_is_started_here_listens_on_loopback_alone():
    with cluster(None):
        assert ray.get(ray.remote(lambda: os.getpid()).remote())  # a worker is up
        here = psutil.Process()
        sockets = [one for process in (here, *here.children(recursive=True)) for one in process.net_connections("tcp")]
        listening = {one.laddr.ip for one in sockets if one.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1", "::ffff:127.0.0.1"}
