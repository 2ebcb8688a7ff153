import json
import math
import re
from dataclasses import replace

import pytest

from lth_sweep.cli import main
from lth_sweep.commands.shared import print_json
from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.probes.twins import StabilityRecord
from lth_sweep.reporting.paper import figure
from lth_sweep.reporting.stability import stability_records

MAGIC = {".pdf": b"%PDF", ".png": b"\x89PNG", ".svg": b"<?xml"}
RECORDS = [StabilityRecord(step, seed, 1.0, (0.1, 0.1 + height, 0.1), (0.2, 0.2 + height, 0.2), 100)
           for step, height in ((0, 0.3), (50, 0.01)) for seed in range(3)]  # fmt: skip


@pytest.fixture
def stability(tmp_path):
    """What `lth-sweep stability --json` prints."""
    path = tmp_path / "stability.json"
    path.write_text(json.dumps({"stable_from": 50, "records": [record.to_json() for record in RECORDS]}))
    return path


@pytest.mark.parametrize("suffix", MAGIC)
def test_each_type_of_file_the_same_each_time(many, tmp_path, suffix):
    out = tmp_path / f"figure{suffix}"
    figure(many, "curves", out)
    assert out.read_bytes().startswith(MAGIC[suffix])
    first = out.read_bytes()
    figure(many, "curves", out)
    assert out.read_bytes() == first


def words(path) -> str:
    """The text of an SVG, which matplotlib has as comments beside the shapes."""
    return " ".join(re.findall("<!-- (.*?) -->", path.read_text()))


@pytest.mark.parametrize(
    ("kind", "caption"),
    [
        ("curves", "Mean over n = 3 seeds, with 95% intervals of the mean."),
        ("front", "n = 300, each the mean over its seeds."),
        ("layers", "Mean over n = 3 seeds, with 95% intervals of the mean."),
        ("stability", "Linear interpolation between twins (dense networks). Mean over n = 3 seeds, with 95% intervals"),
    ],
)
def test_the_caption_says_what_n_is(many, stability, tmp_path, kind, caption):
    figure(many, kind, tmp_path / "figure.svg", stability)
    assert caption in words(tmp_path / "figure.svg")


def test_the_records_of_stability_are_read_back(stability):
    assert stability_records(stability) == RECORDS


def test_a_twin_that_diverged_is_null_in_strict_json_and_read_back_as_nan(tmp_path, capsys):
    broken = replace(RECORDS[0], train=(0.1, math.nan, 0.1))
    print_json({"records": [broken.to_json()]})
    path = tmp_path / "stability.json"
    path.write_text(capsys.readouterr().out)
    [printed] = json.loads(path.read_text(), parse_constant=fail)["records"]
    assert printed["train"] == [0.1, None, 0.1]
    assert printed["barriers"]["train"] is None
    [found] = stability_records(path)
    assert (found.step, found.validation) == (broken.step, broken.validation)
    assert found.train == pytest.approx(broken.train, nan_ok=True)


def fail(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def test_mistakes_say_what_to_do(many, few, tmp_path, stability):
    with pytest.raises(ConfigError, match=r"unknown type of file '.jpg'; allowed: .pdf, .png, .svg"):
        figure(many, "curves", tmp_path / "x.jpg")
    with pytest.raises(ConfigError, match="lth-sweep stability SPEC --at"):
        figure(many, "stability", tmp_path / "x.pdf")
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        figure(many, "stability", tmp_path / "x.pdf", tmp_path / "none.json")
    for content in ("[]", "{}", "no JSON", '{"records": [{"step": 1}]}'):
        stability.write_text(content)
        with pytest.raises(ConfigError, match="does not have stability records"):
            figure(many, "stability", tmp_path / "x.pdf", stability)
    with pytest.raises(ConfigError, match="cannot be written"):
        figure(many, "curves", tmp_path / "no" / "x.pdf")
    with pytest.raises(ConfigError, match="has no trial yet with a level that can be compared"):
        figure(replace(few, trials=[], answer=None), "curves", tmp_path / "x.pdf")


def test_the_command(runs, tmp_path, capsys):
    out = tmp_path / "curves.pdf"
    assert main(["figure", "many", "--kind", "curves", "--out", str(out), "--runs", str(runs)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert out.exists()
    assert main(["figure", "many", "--kind", "stability", "--out", str(out), "--runs", str(runs)]) == 2
    assert "lth-sweep: --from: the figure of stability is drawn from" in capsys.readouterr().err
