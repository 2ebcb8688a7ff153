"""What the machine does while a sweep runs, as MLflow's system metrics."""

import contextlib
import threading
from collections.abc import Callable
from time import time

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.tracking.store import prepare
from lth_sweep.tracking.update import Sample

SECONDS = 10.0


class Machine:
    """A thread that samples CPU, memory, disk, network and, where there is one, GPU, with MLflow's own monitors.

    Not MLflow's thread, which ends for good when the server is away once.
    """

    def __init__(self, put: Callable[[list[Sample]], None], since: float) -> None:
        """`put` gets the samples; their step is seconds since `since`. Raises ConfigError where psutil is missing."""
        try:
            import psutil  # noqa: F401
        except ModuleNotFoundError as error:
            remedy = "needs the package psutil: pip install 'lth-sweep[system]'"
            raise ConfigError(remedy, "tracking.system_metrics") from error
        self._put, self._since = put, since
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="system-metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join(5)  # what it puts after the end of the run would open that again

    def _run(self) -> None:
        prepare()
        from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
        from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
        from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
        from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

        monitors = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
        with contextlib.suppress(Exception):  # no GPU, or not NVIDIA's
            monitors.append(GPUMonitor())
        while not self._ended.wait(SECONDS):
            now, samples = time(), []
            for monitor in monitors:
                monitor.collect_metrics()
                samples += [Sample(f"system/{name}", float(value), int(now - self._since), int(now * 1000))
                            for name, value in monitor.aggregate_metrics().items()]  # fmt: skip
                monitor.clear_metrics()
            self._put(samples)
