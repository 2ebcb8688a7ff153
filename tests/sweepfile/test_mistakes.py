"""All mistakes of a file are reported at once, each with its line."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lth_sweep.sweepfile.load import load_spec
from lth_sweep.sweepfile.mistakes import SpecError, SpecErrors
from tests.sweepfile.conftest import Load

WHOLE = """\
name: small
trial:
  data: digits
  model: {kind: mlp, hidden: [20]}
  train:
    length: 600 steps
    batch: 60
    optimizer: {kind: adam, lr: 0.0012}
    schedule:
      kind: step
      milestones: [1 epoch, 50%]
  criterion: magnitude
  scope: layer
  levels: 3
  seeds: [0, 1]
space:
  rate: {between: [0.2, 0.6]}
  rewind:
    choice:
      init: init
      early: {kind: step, at: 50 steps}
  granularity: {choice: [weight, unit]}
  both:
    changes:
      none: {}
      other: {init: {kind: default}}
objective: {minimize: params, match: {metric: accuracy}}
search:
  trials: 4
  seed: 0
stop: {patience: 2}
verify:
  top: 2
  confidence: 0.95
"""
MISTAKES = {
    # what is replaced, by what, where it is reported
    "a bad name": ("name: small", "name: .small", "name"),
    "an unknown data set": ("data: digits", "data: digitz", "trial.data"),
    "text in a list": ("hidden: [20]", "hidden: [twenty]", "trial.model.hidden.0"),
    "a duration without a unit": ("length: 600 steps", "length: 600", "trial.train.length"),
    "a number out of range": ("batch: 60", "batch: 0", "trial.train.batch"),
    "an unknown option": ("lr: 0.0012", "lrr: 0.0012", "trial.train.optimizer.lrr"),
    "a milestone": ("[1 epoch, 50%]", "[1 epoch, 50]", "trial.train.schedule.milestones.1"),
    "an unknown strategy": ("criterion: magnitude", "criterion: magnitud", "trial.criterion"),
    "a word of several": ("scope: layer", "scope: layers", "trial.scope"),
    "a field of the trial below 0": ("levels: 3", "levels: -3", "trial.levels"),
    "one seed twice": ("seeds: [0, 1]", "seeds: [1, 1]", "trial.seeds"),
    "an end that does not fit": ("[0.2, 0.6]", "[0.2, 1.6]", "space.rate.between"),
    "the first option": ("init: init\n", "init: initt\n", "space.rewind.choice.init"),
    "the second option": ("kind: step, at", "kind: stap, at", "space.rewind.choice.early.kind"),
    "an option of a list": ("[weight, unit]", "[weight, unti]", "space.granularity.choice.1"),
    "a change of no field": ("{init: {kind", "{inot: {kind", "space.both.changes.other.inot"),
    "a bad axis": ("both:\n    changes:", "both:\n    chonges:", "space.both.chonges"),
    "a metric": ("metric: accuracy", "metric: acuracy", "objective.match.metric"),
    "an unknown section": ("search:", "serch:", "serch"),
    "no trials": ("trials: 4", "trials: 0", "search.trials"),
    "a seed of the sampler": ("seed: 0", "seed: zero", "search.seed"),
    "patience": ("patience: 2", "patience: 0", "stop.patience"),
    "no candidates": ("top: 2", "top: -2", "verify.top"),
    "confidence": ("confidence: 0.95", "confidence: 95", "verify.confidence"),
}
ONE_HIDES_THE_OTHER = [("a bad axis", "a change of no field"), ("an unknown section", "no trials"),
                       ("an unknown section", "a seed of the sampler")]  # fmt: skip


def reported(text: str) -> list[tuple[int, str]]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sweep.yaml"
        file.write_text(text)
        with pytest.raises(SpecError) as caught:
            load_spec(file)
    found = caught.value.errors if isinstance(caught.value, SpecErrors) else [caught.value]
    assert str(caught.value) == "\n".join(map(str, found))
    return [(error.line or 0, error.path) for error in found]


def test_six_mistakes_on_six_lines(tmp_path: Path, load: Load) -> None:
    text = WHOLE
    for name in ("a number out of range", "an unknown option", "one seed twice", "an end that does not fit",
                 "an option of a list", "no trials"):  # fmt: skip
        text = text.replace(*MISTAKES[name][:2])
    with pytest.raises(SpecErrors) as caught:
        load(text)
    file = tmp_path / "sweep.yaml"
    assert str(caught.value).splitlines() == [
        f"{file}, line 7: trial.train.batch: must be 1 or more, but got 0",
        f"{file}, line 8: trial.train.optimizer.lrr: unknown key 'lrr'; allowed: beta1, beta2, eps, lr, weight_decay; "
        "did you mean 'lr'?",
        f"{file}, line 15: trial.seeds: must differ, but got (1, 1)",
        f"{file}, line 17: space.rate.between: must be between 0 and 1 exclusive, but got 1.6",
        f"{file}, line 22: space.granularity.choice.1: unknown granularity 'unti'; allowed: n-m, unit, weight; "
        "did you mean 'unit'? (or \"package.module:Name\" for a class of your own)",
        f"{file}, line 29: search.trials: must be 1 or more, but got 0",
    ]


@settings(max_examples=60, deadline=None)
@given(st.sets(st.sampled_from(sorted(MISTAKES)), min_size=1))
def test_any_mistakes_together(names: set[str]) -> None:
    for one, other in ONE_HIDES_THE_OTHER:
        names -= {other} if one in names else set()
    text, expected = WHOLE, []
    for name in names:
        old, new, path = MISTAKES[name]
        assert WHOLE.count(old) == 1
        text = text.replace(old, new)
        line = WHOLE[: WHOLE.index(old)].count("\n") + 1 + old.strip().count("\n")
        expected.append((line, path))
    assert reported(text) == sorted(expected)


@pytest.mark.parametrize("name", MISTAKES)
def test_one_mistake_is_reported_alone(name: str) -> None:
    old, new, path = MISTAKES[name]
    assert [found for _, found in reported(WHOLE.replace(old, new))] == [path]


@pytest.mark.parametrize(
    ("old", "new", "paths"),
    [
        ("scope: layer", "granularity: unti\n  rewind: scratch", "trial.granularity space.granularity.choice.0"),
        ("scope: layer", "rate: '0.1'\n  layer_rates: {output: 9}", "trial.rate space.rate.between"),
        ("trial:", "trail:", "trail"),
        ("space:", "spaec:", "spaec"),
        ("{kind: step, at: 50 steps}", "{kind: step, att: 50 steps}", "space.rewind.choice.early.att"),
        ("[0.2, 0.6]}", "[0.2, 0.6], when: {granularity: weight}}\n  levels: {betwen: [1, 2]}", "space.levels.betwen"),
        ("granularity: {choice: [weight, unit]}", "granularity: {coice: [weight, unit]}\n"
         "  model.hidden: {choice: [[2], [3]], when: {granularity: unit}}", "space.granularity.coice"),
    ],
)  # fmt: skip
def test_what_follows_from_a_mistake_is_none_of_its_own(old: str, new: str, paths: str) -> None:
    assert [found for _, found in reported(WHOLE.replace(old, new))] == paths.split()
