"""A disk that fills up while a sweep writes to it. A small tmpfs stands for it."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.harness import Sandbox, assert_equal

SIZE = 64 * 2**20


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    sandbox = Sandbox.make(tmp_path_factory.mktemp("disk") / "unbroken", trials=2, top=0)
    sandbox.run("--serial")
    return sandbox


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Sandbox]:
    """A sandbox with its runs on a disk of its own."""
    sandbox = Sandbox.make(tmp_path / "small", trials=2, top=0)
    runs = sandbox.folder / "runs"
    runs.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(runs)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    yield sandbox
    subprocess.run(["umount", "--lazy", str(runs)], check=True)


FULL = "lth-sweep: the disk is full: "


@pytest.mark.slow
@pytest.mark.parametrize(
    ("room", "arguments", "expected", "words"),
    [
        (0, ["--serial"], 2, "lth-sweep: storage: cannot write in runs: No space left on device"),
        (20_000, ["--serial"], 2, "lth-sweep: before the sweep: disk: "),
        (100_000, ["--serial"], 1, FULL),
        (200_000, ["--serial"], 1, FULL),
        (200_000, [], 1, FULL),
    ],
)
def test_it_stops_with_a_message_and_goes_on_when_there_is_room(
    unbroken: Sandbox, small: Sandbox, room: int, arguments: list[str], expected: int, words: str
) -> None:
    """MLflow is elsewhere: that it has no room stops no sweep."""
    elsewhere = {"LTH_SWEEP_TRACKING_URI": f"sqlite:///{small.folder}/mlflow.db"}
    filler = small.folder / "runs" / "filler"
    filler.write_bytes(bytes(SIZE - room))
    code, output, errors = small.finish(small.start("run", "broken.yaml", *arguments, **elsewhere))
    assert (code, words in errors) == (expected, True), output + errors
    assert expected == 2 or "Make room" in errors
    assert "Traceback" not in output + errors
    filler.unlink()
    small.run(*arguments, **elsewhere)
    assert_equal(small, unbroken, cut_off=4)
