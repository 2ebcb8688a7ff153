"""What a plan counts."""

from pathlib import Path

import torch

from lth_sweep.lottery.recipe.trial import TrialConfig
from lth_sweep.orchestration.fates import Fate, Fates, told
from lth_sweep.orchestration.plan import Plan, plan
from lth_sweep.sweepfile.load import load_spec

METHODS = "method: {choice: {ladder: iterative, at-once: {kind: one-shot, density: 0.1}}}"
REWINDS = "rewind: {choice: {step: {kind: step, at: 2 steps}, rate: {kind: learning-rate, at: 2 steps}, tune: %s}}"


def planned(folder: Path, space: str, trials: int) -> Plan:
    file = folder / "planned.yaml"
    file.write_text(f"""
name: planned
trial: {{model: {{kind: mlp, hidden: [8]}}, train: {{length: 20 steps}}, levels: 3, seeds: 2}}
space: {{{space}}}
search: {{sampler: grid, trials: {trials}}}
""")
    return plan(load_spec(file), cpus=2)


def test_a_method_with_one_level_is_counted_as_one(tmp_path: Path) -> None:
    found = planned(tmp_path, METHODS, trials=2)
    assert found.stages == 2 + 2 * (3 + 1)
    assert found.steps == 20 * found.stages
    assert found.steps_alone == found.steps + 20 * 2


def test_twins_are_counted_and_those_of_the_dense_network_shared(tmp_path: Path) -> None:
    found = planned(tmp_path, f"{METHODS}, stability: {{choice: [true]}}", trials=2)
    assert found.stages == 2 * (2 + 2 * (3 + 1))
    assert found.steps == 20 * found.stages
    assert found.steps_alone == found.steps + 2 * 20 * 2
    late = planned(tmp_path, REWINDS % "fine-tune" + ", stability: {choice: [true]}", trials=3)
    assert late.steps == 2 * (20 + 18 + 20 + 3 * 2 * (18 + 18 + 20))  # dense twins part at 2 and at 0


def test_a_rewind_rule_is_counted_by_the_steps_that_it_trains(tmp_path: Path) -> None:
    found = planned(tmp_path, REWINDS % "{kind: fine-tune, length: 7 steps}", trials=3)
    assert found.steps == 2 * (20 + 3 * (18 + 18 + 7))


def test_fine_tuning_is_no_late_rewinding(tmp_path: Path) -> None:
    [warning] = planned(tmp_path, REWINDS % "{kind: step, at: 3 steps}", trials=3).warnings
    assert warning.startswith("1 of 3 trials rewind to later than a tenth of the run")
    assert planned(tmp_path, REWINDS % "fine-tune", trials=3).warnings == ()


def test_planning_leaves_pytorchs_threads_alone(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        planned(tmp_path, METHODS, trials=2)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_the_fate_of_each_layer_is_said(tmp_path: Path) -> None:
    space = "granularity: {choice: {w: weight, n: {kind: n-m, n: 1, m: 8}}}, prunable: {choice: [{leave: [output]}]}"
    found = planned(tmp_path, space, trials=2)
    assert told(found.fates) == [
        '  prunes  granularity weight of mlp; granularity {kind: "n-m", n: 1, m: 8} of mlp',
        "            fc1 (512 weights): pruned",
        "            output: left out: prunable.leave leaves it out",
    ]
    [weights, _] = found.to_json()["fates"]
    assert weights["layers"][0] == {"layer": "fc1", "weights": 512, "fate": "pruned"}


def test_layers_of_equal_blocks_share_a_line() -> None:
    layers = [Fate(f"blocks.{n}.{name}", 16, "pruned") for n in range(12) for name in ("in", "out")]
    found = Fates(TrialConfig(), (*layers, Fate("head", 8, "pruned"), Fate("embed", 0, "left out: why")))
    assert found.lines == [
        "blocks.0.in and 11 alike, blocks.0.out and 11 alike, head (392 weights): pruned",
        "embed: left out: why",
    ]
