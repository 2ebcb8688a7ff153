"""Two machines, each with a mirror of the same runs folder."""

import contextlib
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from lth_sweep.disk import StorageAway
from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.remote import bucket, lease, mirror
from lth_sweep.remote.bucket import bucket_at
from lth_sweep.remote.run_folder import RunFolder
from tests import s3


class Machine:
    """The mirror of one machine, of the sweep digits."""

    def __init__(self, uri: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as patched:
            patched.setenv("LTH_SWEEP_CACHE", str(cache))
            self.runs = mirror.runs_folder(uri)
        self.folder = self.runs / "digits"

    def write(self, name: str, text: str, *, kept: bool = True) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text)
        if kept:
            RunFolder(self.folder).keep(self.folder / name)

    def read(self, name: str) -> str:
        RunFolder(self.folder).fetch()
        return (self.folder / name).read_text()


@pytest.fixture
def machines(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Machine, Machine]:
    first, second = (Machine(uri, tmp_path / name, monkeypatch) for name in ("first", "second"))
    return first, second


Machines = tuple[Machine, Machine]


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket, "AWAY_SECONDS", 0.3)
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.2)  # its own lease, which it could not free


@contextlib.contextmanager
def elsewhere(uri: str) -> Iterator[None]:
    """Inside, another machine holds the lease of digits, with short beats."""
    program = (
        "import sys; from lth_sweep.remote import lease; from lth_sweep.remote.bucket import bucket_at\n"
        "lease._machine, lease.BEAT_SECONDS = (lambda: 'elsewhere'), 0.4\n"
        "with lease.lease(bucket_at(sys.argv[1]), '.lease'): print('held', flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", program, f"{uri}/digits"], text=True, **pipes)
    try:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield
    finally:
        process.kill()
        process.communicate()


def test_what_one_writes_the_other_reads(machines: Machines, uri: str) -> None:
    here, there = machines
    with RunFolder(here.folder).exclusive():
        here.write("records/000.jsonl", "one\n")
        assert there.read("records/000.jsonl") == "one\n"
        here.write("records/000.jsonl", "one\ntwo\n")
        assert there.read("records/000.jsonl") == "one\ntwo\n"
        here.write("levels.parquet", "a table", kept=False)
    assert there.read("levels.parquet") == "a table"
    assert mirror.sweeps(there.runs) == ["digits"]
    with RunFolder(there.folder).exclusive():
        there.write("records/000.jsonl", "one\ntwo\nthree\n")
    with RunFolder(here.folder).exclusive():
        assert (here.folder / "records/000.jsonl").read_text() == "one\ntwo\nthree\n"


def test_nothing_is_sent_or_fetched_twice(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = machines
    with RunFolder(here.folder).exclusive():
        here.write("records/000.jsonl", "one\n")
    there.read("records/000.jsonl")
    calls: list[str] = []
    for name in ("create", "replace", "get"):
        original = getattr(bucket.Bucket, name)
        monkeypatch.setattr(
            bucket.Bucket,
            name,
            lambda self, key, *rest, original=original, **named: (
                calls.append(key) or original(self, key, *rest, **named)
            ),
        )
    for machine in machines:
        RunFolder(machine.folder).fetch()
        RunFolder(machine.folder).push()
    assert calls == []


def test_what_means_nothing_elsewhere_stays_here(machines: Machines, uri: str) -> None:
    here, _ = machines
    with RunFolder(here.folder).exclusive():
        for name in (
            "optuna.db",
            "optuna.db-wal",
            "running",
            ".unfinished",
            "ray/x",
            "records/.000.jsonl.1",
            "sweep-id",
        ):
            here.write(name, "content", kept=False)
    assert [entry.key for entry in bucket_at(f"{uri}/digits").entries()] == [".lease", "sweep-id"]


def test_a_record_that_is_damaged_here_is_taken_from_the_store(machines: Machines, uri: str) -> None:
    here, _ = machines
    here.write("records/000.jsonl", "one\ntwo\n")
    here.write("logs/000.txt", "")
    for harmed in ("one\ntwa\n", "one\n", ""):
        here.write("records/000.jsonl", harmed, kept=False)
        with RunFolder(here.folder).exclusive():
            assert (here.folder / "records/000.jsonl").read_text() == "one\ntwo\n"
    assert content(uri) == b"one\ntwo\n"
    [aside] = (here.folder / "damaged").iterdir()  # of what is only shorter nothing is lost
    assert aside.read_text() == "one\ntwa\n"
    (here.folder / "logs/000.txt").unlink()
    assert here.read("logs/000.txt") == ""


def run_until_cut(machine: Machine, line: s3.Line) -> None:
    """Ends with a record that could not be sent."""
    with RunFolder(machine.folder).exclusive():
        machine.write("records/000.jsonl", "one\n")
        line.cut()
        machine.write("records/000.jsonl", "one\nmine\n")


@pytest.mark.usefixtures("hasty")
def test_a_record_that_could_not_be_sent_is_sent_by_the_next_run(line: s3.Line, machines: Machines, uri: str) -> None:
    here, _ = machines
    with pytest.raises(StorageAway, match=f"cannot reach {uri}/digits: "):
        run_until_cut(here, line)
    line.join()
    assert here.read("records/000.jsonl") == "one\nmine\n"  # to look at it does not lose it
    assert content(uri) == b"one\n"
    with RunFolder(here.folder).exclusive():
        assert content(uri) == b"one\nmine\n"


@pytest.mark.usefixtures("hasty")
def test_where_another_machine_has_gone_on_meanwhile_its_records_count(line: s3.Line, machines: Machines) -> None:
    here, there = machines
    with pytest.raises(StorageAway):
        run_until_cut(here, line)
    line.join()
    with RunFolder(there.folder).exclusive():
        there.write("records/000.jsonl", "one\ntheirs\n")
    with RunFolder(here.folder).exclusive():
        assert (here.folder / "records/000.jsonl").read_text() == "one\ntheirs\n"
    [aside] = (here.folder / "damaged").iterdir()
    assert aside.read_text() == "one\nmine\n"


def taken_for_dead(machine: Machine, other: Machine) -> None:
    with RunFolder(machine.folder).exclusive():
        machine.write("records/000.jsonl", "one\n")
        other.read("records/000.jsonl")
        other.write("records/000.jsonl", "one\ntheirs\n")  # it has taken the lease over
        machine.write("records/000.jsonl", "one\nmine\n")


def test_who_was_taken_for_dead_overwrites_nothing(machines: Machines, uri: str) -> None:
    with pytest.raises(ConfigError, match=r"another process has written records/000.jsonl of s3://"):
        taken_for_dead(*machines)
    assert content(uri) == b"one\ntheirs\n"


def content(uri: str) -> bytes:
    """Of the record in the store."""
    found = bucket_at(f"{uri}/digits").get("records/000.jsonl")
    assert found is not None
    return found.content


def test_one_machine_at_a_time_runs_a_sweep(machines: Machines, uri: str) -> None:
    here, _ = machines
    with elsewhere(uri):
        with pytest.raises(ConfigError) as refused, RunFolder(here.folder).exclusive():
            pass
        assert refused.value.message.startswith(f"the sweep in {uri}/digits is being run already, by process ")
    with RunFolder(here.folder).exclusive():  # it was killed, and is silent
        pass


def test_the_mirror_of_a_sweep_that_runs_is_left_to_it(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    here, _ = machines
    with RunFolder(here.folder).exclusive():
        here.write("records/000.jsonl", "one\n")
        monkeypatch.setattr(mirror.Mirror, "fetch", lambda self: pytest.fail("it was fetched"))
        assert here.read("records/000.jsonl") == "one\n"


def test_what_is_removed_from_the_store_goes_but_for_what_was_not_sent(machines: Machines, uri: str) -> None:
    here, _ = machines
    here.write("logs/000.txt", "an error")
    here.write("records/000.jsonl", "one\n")
    here.write("records/000.jsonl", "one\ntwo\n", kept=False)
    bucket_at(f"{uri}/digits").delete(["logs/000.txt", "records/000.jsonl"])
    assert here.read("records/000.jsonl") == "one\ntwo\n"
    assert not (here.folder / "logs/000.txt").exists()


def test_a_key_that_leads_out_of_the_folder_is_refused(machines: Machines, uri: str, s3_port: int) -> None:
    here, there = machines
    here.write("records/000.jsonl", "one\n")
    address = f"http://127.0.0.1:{s3_port}/{uri.removeprefix('s3://')}/digits/%2e%2e/%2e%2e/outside"
    urllib.request.urlopen(urllib.request.Request(address, data=b"harm", method="PUT"))
    with pytest.raises(ConfigError, match="keys that no path can be made of"):
        there.read("records/000.jsonl")
    assert not list(there.runs.parent.rglob("outside"))


def test_an_ordinary_runs_folder_is_what_it_was(tmp_path: Path) -> None:
    runs = mirror.runs_folder(tmp_path)
    assert runs == tmp_path
    with RunFolder(runs / "digits").exclusive():
        (runs / "digits/x").write_text("")
        RunFolder(runs / "digits").keep(runs / "digits/x")
        RunFolder(runs / "digits").push()
        RunFolder(runs / "digits").fetch()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["digits", "lock", "x"]
    assert mirror.stages_of(runs) == tmp_path / "stages"
    assert mirror.shown(runs) == str(tmp_path)


def test_the_names_of_a_runs_folder(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one = mirror.runs_folder("s3://bucket/some/prefix/")
    assert one == mirror.runs_folder(Path("s3://bucket/some/prefix"))
    assert mirror.origin(one) == mirror.shown(one) == "s3://bucket/some/prefix"
    assert mirror.stages_of(one) == "s3://bucket/some/prefix/stages"
    assert one != mirror.runs_folder("s3://bucket/some-prefix")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert one != mirror.runs_folder("s3://bucket/some/prefix")  # of another store
    with pytest.raises(ConfigError, match="runs: expected a folder, or s3://BUCKET/PREFIX, but got 'gs://bucket'"):
        mirror.runs_folder("gs://bucket")


def test_the_lease_of_a_sweep_does_not_outlive_it(machines: Machines, uri: str) -> None:
    here, there = machines
    with pytest.raises(RuntimeError), RunFolder(here.folder).exclusive():
        raise RuntimeError
    found = bucket_at(f"{uri}/digits").get(".lease")
    assert found is not None
    assert found.content == lease.FREE
    with RunFolder(there.folder).exclusive():
        pass
