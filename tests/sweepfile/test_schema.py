from pathlib import Path
from typing import Any

import jsonschema
import pytest

from lth_sweep.sweepfile.document import parse
from lth_sweep.sweepfile.load import load_spec
from lth_sweep.sweepfile.schema import schema, text
from tests.sweepfile.conftest import BASE

SWEEPS = Path(__file__).parents[2] / "sweeps"
FILES = sorted(SWEEPS.glob("*.yaml"))


@pytest.fixture(scope="module")
def validator() -> Any:
    jsonschema.Draft202012Validator.check_schema(schema())
    return jsonschema.Draft202012Validator(schema())


def test_the_committed_schema_is_not_stale() -> None:
    committed = (SWEEPS / "sweep.schema.json").read_text()
    assert committed == text(), "write it again: lth-sweep schema > sweeps/sweep.schema.json"


@pytest.mark.parametrize("file", FILES, ids=[file.name for file in FILES])
def test_our_sweep_files_fit_it_and_name_it(file: Path, validator: Any) -> None:
    content = file.read_text()
    assert content.startswith("# yaml-language-server: $schema=sweep.schema.json\n")
    validator.validate(parse(content, file.name).content)


def test_the_quickstart_is_what_it_says() -> None:
    spec = load_spec(SWEEPS / "quickstart.yaml")
    assert (spec.name, spec.search.trials, spec.stop.patience) == ("quickstart", 12, 2)
    assert spec.search.sampler.kind == "frugal"
    assert spec.import_folder == SWEEPS
    assert spec.text == (SWEEPS / "quickstart.yaml").read_text()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: small", "nam: small"),
        ("name: small", "name: .hidden"),
        ("levels: 3", "level: 3"),
        ("levels: 3", "levels: three"),
        ("data: digits", "data: digit"),
        ("kind: adam", "kind: adm"),
        ("lr: 0.0012", "lrr: 0.0012"),
        ("600 steps", "600 parsecs"),
        ("between: [0.2, 0.6]", "between: [0.2]"),
        ("between: [0.2, 0.6]", "betwen: [0.2, 0.6]"),
        ("choice: [weight, unit]", "choice: []"),
    ],
)
def test_it_marks_mistakes(old: str, new: str, validator: Any) -> None:
    assert validator.is_valid(parse(BASE, "").content)
    assert old in BASE
    assert not validator.is_valid(parse(BASE.replace(old, new), "").content)


def test_it_takes_changes_of_several_fields(validator: Any) -> None:
    changes = "  both: {changes: {none: {}, a: {rate: 0.2, scope: layer}}}\n"
    assert validator.is_valid(parse(BASE + changes, "").content)
    assert not validator.is_valid(parse(BASE + "  both: {changes: {none: 3}}\n", "").content)


def test_it_takes_classes_of_the_users_own(validator: Any) -> None:
    own = BASE.replace("{kind: mlp, hidden: [20]}", '{kind: "my_project:Net", width: 3}')
    assert validator.is_valid(parse(own.replace("digits", "my_project:Set"), "").content)


def test_it_describes_fields() -> None:
    trial = schema()["$defs"]["TrialConfig"]["properties"]
    assert trial["rate"] == {
        "type": "number",
        "default": 0.2,
        "description": "Share of the surviving weights (or units) that a level removes.",
    }
