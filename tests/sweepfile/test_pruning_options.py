"""What a network cannot be pruned by is said before anything starts, at its line."""

from pathlib import Path

import pytest

from lth_sweep.cli import main
from lth_sweep.orchestration.records import read
from lth_sweep.sweepfile.mistakes import SpecError
from tests.sweepfile.conftest import Load

SWEEP = """
name: small
trial:
  data: digits
  model: {kind: MODEL}
  train: {length: 20 steps}
  OPTION
space:
  rate: {between: [0.2, 0.6]}
"""
MLP = "mlp, hidden: [6, 6]"


@pytest.mark.parametrize(
    ("model", "option", "path", "words"),
    [
        (MLP, "prunable: {add: [fc1, embed*]}", "trial.prunable.add.1", "matches no parameter; there are: fc1.weight"),
        (MLP, "prunable: {leave: [fc1.bias]}", "trial.prunable.leave.0", "fewer than two dimensions"),
        (MLP, "prunable: {leave: [fc*, output]}", "trial.prunable", "no layer that can be pruned"),
        (MLP, "layer_rates: {conv*: 0.5}", "trial.layer_rates.conv*", "matches no layer"),
        (MLP, "granularity: {kind: n-m, n: 1, m: 5}", "trial.granularity", "no layer has a multiple of m = 5"),
        (
            "mlp, hidden: []",
            "granularity: unit",
            "trial.granularity",
            "no layer of the network has units that can be removed",
        ),
    ],
)
def test_refused_at_its_line(load: Load, model: str, option: str, path: str, words: str) -> None:
    with pytest.raises(SpecError) as error:
        load(SWEEP.replace("MODEL", model).replace("OPTION", option))
    assert error.value.path == path
    assert words in error.value.message
    assert error.value.line == 7


def test_bn_scale_needs_a_batch_norm(load: Load) -> None:
    with pytest.raises(SpecError, match="bn-scale needs a BatchNorm") as error:
        load(SWEEP.replace("MODEL", MLP).replace("OPTION", "criterion: bn-scale\n  granularity: unit"))
    assert (error.value.path, error.value.line) == ("trial.criterion", 7)


def test_an_option_of_an_axis_is_named(load: Load) -> None:
    axis = "space:\n  granularity: {choice: [weight, {kind: n-m, m: 5}]}"
    with pytest.raises(SpecError, match="multiple of m = 5") as error:
        load(SWEEP.replace("MODEL", MLP).replace("  OPTION\n", "").replace("space:", axis))
    assert error.value.path.startswith("space.granularity.choice")


NO_UNITS = SWEEP.replace("MODEL", "mlp, hidden: []").replace("  OPTION\n", "")


def test_options_that_can_all_remove_nothing_are_refused(load: Load) -> None:
    axis = "space:\n  granularity: {choice: [unit, {kind: unit, coupled: true}]}"
    with pytest.raises(SpecError, match="no layer of the network has units that can be removed") as error:
        load(NO_UNITS.replace("space:", axis))
    assert (error.value.path, error.value.line) == ("space.granularity", 8)


def test_a_trial_that_can_remove_nothing_ends_after_the_dense_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = NO_UNITS.replace("rate: {between: [0.2, 0.6]}", "granularity: {choice: [weight, unit]}")
    Path("sweep.yaml").write_text(f"{sweep}search: {{sampler: grid, trials: 2}}\nverify: {{top: 0}}\n")
    assert main(["plan", "sweep.yaml"]) == 0
    assert "spared: its units are the network's output" in capsys.readouterr().out
    assert main(["run", "sweep.yaml", "--serial", "--json"]) == 0
    levels = {str(trial.picks["granularity"]): len(trial.levels) for trial in read(tmp_path / "runs" / "small")}
    assert levels["unit"] == 1 < levels["weight"]
