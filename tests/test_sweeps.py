"""The sweep files: each is runnable as it is, and has a scaled variant that takes minutes."""

import os
from pathlib import Path

import pytest
import yaml

from lth_sweep.orchestration import plan as planning
from lth_sweep.sweepfile.load import load_spec
from lth_sweep.sweepfile.points import grid

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "sweeps").rglob("*.yaml"))
SMALL = [file for file in FILES if file.parent.name == "small"]
PAPERS = [file for file in FILES if file.parent.name != "small" and file.stem not in ("quickstart", "exercise-4-1")]
MOST_SMALL_STEPS = 500_000
"""Of networks that train at least a thousand steps a second on one core, or of as many fewer as they are slower."""


def mnist_folder() -> Path:
    folder = Path(os.environ.get("LTH_SWEEP_DATA") or ROOT.parent / "shared" / "data").absolute()
    if not (folder / "MNIST" / "raw").is_dir():
        pytest.skip(f"there is no MNIST in {folder}; set LTH_SWEEP_DATA to a folder that has it")
    return folder


@pytest.fixture(scope="session")
def blank_cifar10(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CIFAR-10's files in their binary form, all labels and pixels 0."""
    folder = tmp_path_factory.mktemp("cifar10")
    (folder / "cifar-10-batches-bin").mkdir()
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        with (folder / "cifar-10-batches-bin" / f"{name}.bin").open("wb") as file:
            file.truncate(10_000 * 3073)
    return folder


def with_data(file: Path, folder: Path, request: pytest.FixtureRequest) -> Path:
    """The file, or a copy of it in `folder` that says where its data are; CIFAR-10 is blank there, and shorter."""
    text, data = file.read_text(), yaml.safe_load(file.read_text())["trial"]["data"]
    if data not in ("mnist", "cifar10"):
        return file
    root = mnist_folder() if data == "mnist" else request.getfixturevalue("blank_cifar10")
    limit = "" if data == "mnist" else ", limit: 2560"
    assert text.count(f"data: {data}") == 1
    copy = folder / file.name
    copy.write_text(text.replace(f"data: {data}", f"data: {{kind: {data}, root: {root}, download: false{limit}}}"))
    return copy


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT / "sweeps")))
def test_a_sweep_file_loads_and_has_a_plan(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr(planning, "CALIBRATION_STEPS", 2)
    spec = load_spec(with_data(file, tmp_path, request))
    if file.stem != "quickstart":
        assert spec.search.trials == len(grid(spec.space)), "the whole grid, so that trials can be compared by pairs"
        rules = {name: rule for name, rule in vars(spec.stop).items() if name != "duplicates"}
        assert not any(rules.values()), "all levels of all seeds"
        assert spec.verify.top == 0, "the test split is not for reproductions"
    found = planning.plan(spec, cpus=2)
    assert found.trials == spec.search.trials
    assert found.steps <= found.steps_alone
    if file in SMALL:
        assert found.steps <= MOST_SMALL_STEPS


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT / "sweeps")))
def test_editors_find_the_schema_and_names_differ(file: Path) -> None:
    first, *comments = file.read_text().splitlines()
    schema = file.parent / first.removeprefix("# yaml-language-server: $schema=")
    assert schema.resolve() == ROOT / "sweeps" / "sweep.schema.json"
    assert schema.exists()
    assert comments[0].startswith("# ")
    small = "small-" if file in SMALL else ""
    assert yaml.safe_load(file.read_text())["name"] == f"{small}{file.stem}"


def test_what_follows_a_paper_has_a_scaled_variant() -> None:
    assert {file.stem for file in PAPERS} == {
        "filters", "initialisations", "lenet-mnist", "mnist1d", "rewinding", "supermask"
    }  # fmt: skip
    assert {file.stem for file in PAPERS} <= {file.stem for file in SMALL}
