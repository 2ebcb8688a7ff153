"""Before a sweep: whether every machine that will take part is fit for it. Each check is ok, or says what to do."""

import contextlib
import os
import shutil
import socket
import sqlite3
import sys
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lth_sweep.disk import StorageAway
from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.data import Data, load
from lth_sweep.lottery.network.initial.initialization import Pretrained
from lth_sweep.orchestration.plan import room
from lth_sweep.remote.bucket import bucket_at, endpoint
from lth_sweep.remote.mirror import origin
from lth_sweep.remote.node_cache import limit
from lth_sweep.remote.stages import on_this_machine
from lth_sweep.search import storage
from lth_sweep.sweepfile.document import mask
from lth_sweep.sweepfile.load import imports_from
from lth_sweep.sweepfile.space import data_sets, recipes
from lth_sweep.sweepfile.spec import Resources, SweepSpec
from lth_sweep.versions import versions

ANSWER_SECONDS = 120
"""For a node's answer: its first worker imports torch."""
SHARE = 0.01
"""Of a GPU, to see whether there is one."""


@dataclass(frozen=True)
class Check:
    about: str
    ok: bool
    text: str
    """What was found; where that is not ok, what to do as well."""

    def __str__(self) -> str:
        return f"{'ok' if self.ok else 'NO':4}{self.about}: {self.text}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Node:
    """What a machine says about itself."""

    host: str
    versions: dict[str, str]
    storage: str
    """Empty, or why it cannot share the runs folder with the machine that asks."""
    gpus: int
    """That PyTorch sees."""
    data: dict[str, str]
    """By data set, and by file of pretrained weights: a digest of what is in it, or what is wrong."""
    handed_out: int = 0
    """GPUs, by Ray."""


def here(runs: Path, data: Sequence[Data | Pretrained] = ()) -> list[Node]:
    """This machine alone."""
    where = origin(runs) or runs
    with _marker(where) as marker:
        return [examine(where, marker, data, None, None)]


def on_cluster(runs: Path, data: Sequence[Data | Pretrained] = (), imports: Path | None = None) -> list[Node]:
    """Every node of the Ray cluster that this process has joined."""
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def ask(node: dict[str, Any]) -> Any:
        gpu = SHARE if node["Resources"].get("GPU") else 0  # without one, a worker sees none
        place = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        task = ray.remote(examine).options(num_cpus=0, num_gpus=gpu, max_retries=1, scheduling_strategy=place)
        return task.remote(where, marker, data, Path.cwd(), imports)

    def answer(node: dict[str, Any], job: Any) -> Node:
        host, gpus = node["NodeManagerHostname"], int(node["Resources"].get("GPU", 0))
        try:
            found: Node = ray.get(job, timeout=ANSWER_SECONDS)
        except RayError as error:  # a node without this package, a dead one, one whose GPUs are all taken
            return Node(host, {}, f"does not answer: {str(error).strip().splitlines()[-1]}", 0, {})
        if not found.storage and _read(where, f"{marker}/{found.host}") is None:
            found = replace(found, storage=f"what it writes in {where} cannot be seen here")
        return replace(found, gpus=gpus if found.gpus else 0, handed_out=gpus)

    where = origin(runs) or runs.absolute()
    with _marker(where) as marker:
        nodes = [node for node in ray.nodes() if node["Alive"]]
        jobs = [ask(node) for node in nodes]
        return [examine(where, marker, data, None, None), *map(answer, nodes, jobs)]


def is_joined() -> bool:
    """Whether this process has joined a Ray cluster."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def examine(
    runs: Path | str, marker: str, data: Sequence[Data | Pretrained], folder: Path | None, imports: Path | None
) -> Node:
    """What this machine is. `runs`: the folder or the URI that it should share; `folder`: where relative paths start;
    `imports`: where a user's own modules are."""
    import torch

    if folder and folder.is_dir():
        os.chdir(folder)
    host = socket.gethostname()
    with imports_from(imports):
        examples = {one.path if isinstance(one, Pretrained) else one.kind: _data(one) for one in data}
    return Node(host, versions(), _storage(runs, marker, host), torch.cuda.device_count(), examples)


def compare(nodes: Sequence[Node], resources: Resources | None = None) -> Iterator[Check]:
    """Checks of the nodes, the first of which is this machine."""
    first, *others = nodes
    several = f" on {len(others)} nodes" if others else ""
    for about, of in (("versions", lambda node: node.versions), ("data", lambda node: node.data)):
        wrong = [
            f"{node.host} has {name} {there}, and this machine {known}"
            for node in others
            if node.versions
            for name, known in of(first).items()
            if (there := of(node).get(name, "not there")) != known
        ]
        wrong += [text for text in first.data.values() if text.startswith("cannot")] if about == "data" else []
        fine = ", ".join(f"{name} {text}" for name, text in of(first).items())
        todo = "install the same everywhere" if about == "versions" else "put the same files where each node looks"
        if wrong or fine:
            yield Check(about, not wrong, f"{'; '.join(dict.fromkeys(wrong))}; {todo}" if wrong else fine + several)
    wrong = [f"{node.host}: {node.storage}" for node in nodes if node.storage]
    todo = "all nodes need the same runs folder, or access to the same bucket, to read and to write"
    yield Check(
        "storage", not wrong, f"{'; '.join(wrong)}; {todo}" if wrong else f"written and read{several or ' here'}"
    )
    if resources:
        yield _gpus(nodes, resources)


def database(folder: Path, server: str | None = None) -> Check:
    """Whether Optuna's studies can be kept: on the server at that URL, or in SQLite files in `folder`."""
    if server:
        try:
            storage.server(server)
        except ConfigError as error:
            return Check("optuna", False, error.message)
        return Check("optuna", True, mask(server))
    path = folder / f".doctor-{uuid.uuid4().hex}.db"
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=5)) as connection:
            connection.execute("CREATE TABLE test (n INTEGER)")
            connection.commit()
    except sqlite3.Error as error:
        todo = "use a folder on a file system with locks, such as a local disk, for the machine that runs the sweep"
        return Check("optuna", False, f"SQLite cannot write in {folder}: {error}; {todo}")
    finally:
        path.unlink(missing_ok=True)
    return Check("optuna", True, f"SQLite {sqlite3.sqlite_version} writes in {folder}")


def disk(spec: SweepSpec, runs: Path, trials: int) -> Check:
    """Whether there is room for so many trials, none of them stopped early."""
    if uri := origin(runs):
        return Check("disk", True, f"stages are kept in {uri}; of them up to {limit() / 1e9:g} GB on each machine")
    free, wanted = shutil.disk_usage(_nearest(runs)).free, room(spec, trials)
    text = f"{free / 1e6:,.0f} MB free, at most {wanted / 1e6:,.0f} MB needed"
    todo = "; make room (lth-sweep cache gc), run fewer trials, or take another --runs"
    return Check("disk", wanted <= free, text if wanted <= free else text + todo)


def data_of(spec: SweepSpec) -> list[Data | Pretrained]:
    """All data sets and files of pretrained weights that a trial of the sweep can have."""
    inits = (recipe.init for recipe in recipes(spec.base, spec.space, "init"))
    files = (init for init in inits if isinstance(init, Pretrained))
    return list(dict.fromkeys([*data_sets(spec.base, spec.space), *files]))


def demand(checks: Iterable[Check]) -> None:
    """Raise ConfigError for those that are not ok."""
    wrong = [check for check in checks if not check.ok]
    if wrong:
        raise ConfigError("; ".join(f"{check.about}: {check.text}" for check in wrong), "before the sweep")


def _data(data: Data | Pretrained) -> str:
    try:
        return data.identity()["checksum"][:8] if isinstance(data, Pretrained) else load(data).digest[:8]
    except Exception as error:  # of any kind: it may be the user's own
        return f"cannot be loaded: {error}"


def _gpus(nodes: Sequence[Node], resources: Resources) -> Check:
    cluster = nodes[1:]
    seen = sum(node.gpus for node in cluster or nodes)
    if not resources.gpu:
        unused = "; none is asked for: `resources: {gpu: 1}` gives a trial one" if seen else ""
        return Check("gpus", True, f"{seen} seen{unused}")
    if cluster and not any(node.handed_out for node in cluster):  # such nodes may be an autoscaler's to add
        return Check("gpus", True, f"a trial asks for {resources.gpu:g}, and waits for a node that has one")
    text = f"a trial asks for {resources.gpu:g}, and {seen} can be seen by PyTorch"
    todo = "; install the driver and a PyTorch with CUDA, or leave resources.gpu out"
    return Check("gpus", seen > 0, text if seen else text + todo)


@contextlib.contextmanager
def _marker(runs: Path | str) -> Iterator[str]:
    """A folder in the runs folder in which other machines are to find a file and leave one; its name is in the file."""
    name = f".doctor-{uuid.uuid4().hex}"
    try:
        _write(runs, f"{name}/marker", name)
        if isinstance(runs, str) and bucket_at(runs).create(f"{name}/marker", b"once more"):
            raise ConfigError(
                f"{runs} does not know conditional writes (If-None-Match), without which two machines would train the "
                "same; take a store, or a newer version of it, that does",
                "storage",
            )
    except OSError as error:
        raise ConfigError(
            f"cannot write in {runs}: {error.strerror}; make it writable, or name another folder with --runs", "storage"
        ) from error
    except StorageAway as error:
        address = f"AWS_ENDPOINT_URL is {endpoint() or 'not set, which means AWS'}"
        raise ConfigError(f"{error} ({address})", "storage") from error
    try:
        yield name
    finally:
        _remove(runs, name)


def _storage(runs: Path | str, marker: str, host: str) -> str:
    """Read the marker, and leave one of one's own."""
    try:
        if (found := _read(runs, f"{marker}/marker")) != marker:
            return f"{runs} there {'has something else in it' if found else 'is another folder'}"
        _write(runs, f"{marker}/{host}", host)
    except OSError as error:
        return f"cannot write in {runs}: {error.strerror}"
    except (StorageAway, ConfigError) as error:
        return str(error)
    return ""


def _write(runs: Path | str, name: str, text: str) -> None:
    if isinstance(runs, str):
        bucket_at(runs).create(name, text.encode())
    else:
        path = on_this_machine(runs) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _read(runs: Path | str, name: str) -> str | None:
    if isinstance(runs, str):
        found = bucket_at(runs).get(name)
        return found.content.decode() if found else None
    try:
        return (on_this_machine(runs) / name).read_text()
    except FileNotFoundError:
        return None


def _remove(runs: Path | str, name: str) -> None:
    if isinstance(runs, str):
        bucket_at(runs).delete([entry.key for entry in bucket_at(runs).entries(name)])
    else:
        shutil.rmtree(on_this_machine(runs) / name, ignore_errors=True)


def _nearest(folder: Path) -> Path:
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
