"""Going on with a sweep whose file has changed."""

import dataclasses
import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import optuna
import pytest

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.common.identity import digest
from lth_sweep.lottery.recipe.trial import TrialConfig
from lth_sweep.orchestration.extension import FREE, check, compare, in_words, ladder, meaning, note
from lth_sweep.orchestration.records import read
from lth_sweep.orchestration.running import run_sweep
from lth_sweep.sweepfile.load import SECTIONS, load_spec
from lth_sweep.sweepfile.spec import SweepSpec
from tests.orchestration.specs import trial

SPEC = (
    trial("mine", hidden="[8]", steps=60, levels=3, seeds=2)
    + """\
  layer_rates: {output: 0.5}
space:
  rate: {between: [0.3, 0.6]}
  rewind: {choice: {init: init, early: {kind: step, at: 10 steps}}}
  granularity: {choice: [weight, unit]}
  scope: {choice: [layer, global], when: {granularity: weight}}
  train.batch: {between: [20, 60], integer: true}
  train.schedule.warmup: {between: [0 steps, 20 steps]}
objective: {minimize: params, match: {margin: 0.05}}
search: {sampler: random, trials: 4}
stop: {race: null, hopeless: false, duplicates: false}
verify: {top: 0}
"""
)
RUN = "tests.orchestration.simulated:run"


@cache
def load(text: str) -> SweepSpec:
    with TemporaryDirectory() as folder:
        (Path(folder) / "mine.yaml").write_text(text)
        return load_spec(Path(folder) / "mine.yaml")


def changed(*changes: tuple[str, str], text: str = SPEC) -> str:
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def differences(old: str, new: str) -> dict[str, bool]:
    """In words, and whether they extend."""
    before, after = load(old), load(new)
    return {str(change): change.extends for change in compare(meaning(before), meaning(after), ladder(after))}


EXTENDS = [
    ("seeds: 2", "seeds: 4", "trial.seeds: [0, 1] -> [0, 1, 2, 3]"),
    ("seeds: 2", "seeds: [0, 1, 7]", "trial.seeds: [0, 1] -> [0, 1, 7]"),
    ("levels: 3", "levels: 5", "trial.levels: 3 -> 5"),
    ("[0.3, 0.6]", "[0.3, 0.7]", "space.rate.between: [0.3, 0.6] -> [0.3, 0.7]"),
    ("[0.3, 0.6]", "[0.2, 0.7]", "space.rate.between: [0.3, 0.6] -> [0.2, 0.7]"),
    ("[0.3, 0.6]", "[0.3, 0.6], log: true", "space.rate.log: false -> true"),
    ("[weight, unit]", '[weight, {kind: n-m, n: 2, m: 4}, unit]',
     'space.granularity.choice.n-m(n=2, m=4): (not there) -> {"kind": "n-m", "n": 2, "m": 4}'),
    ("length: 60 steps", "length: 60 steps, batch: 50", "trial.train.batch: 60 -> 50"),  # an axis sets it
    ("levels: 3", "levels: 3\n  rewind: {kind: step, at: 10 steps}", "trial.rewind.kind: init -> step"),
    ("sampler: random", "sampler: tpe", "search.sampler.kind: random -> tpe"),
    ("trials: 4", "trials: 50", "search.trials: 4 -> 50"),
    ("trials: 4", "trials: 4, seed: 1", "search.seed: 0 -> 1"),
    ("trials: 4", "trials: 4, steps: 1000", "search.steps: null -> 1000"),
    ("trials: 4", "trials: 4, hours: 1", "search.hours: null -> 1"),
    ("race: null, ", "race: null, patience: 3, ", "stop.patience: 2 -> 3"),
    ("race: null, ", "", "stop.race: null -> 0.01"),
    ("race: null, ", "race: null, rules: [{kind: patience, levels: 3}], ",
     'stop.rules: (not there) -> [{"kind": "patience", "levels": 3}]'),
    ("hopeless: false", "hopeless: true", "stop.hopeless: false -> true"),
    ("duplicates: false", "duplicates: true", "stop.duplicates: false -> true"),
    ("top: 0", "top: 1", "verify.top: 0 -> 1"),
    ("top: 0", "top: 0, seeds: 9", "verify.seeds: 3 -> 9"),
    ("top: 0", "top: 0, controls: [random]", 'verify.controls: ["reinit", "shuffle"] -> ["random"]'),
    ("top: 0", "top: 0, confidence: 0.9", "verify.confidence: 0.95 -> 0.9"),
    ("verify:", "resources: {cpu: 2}\nverify:", "resources.cpu: 1 -> 2"),
    ("verify:", "resources: {gpu: 0.5}\nverify:", "resources.gpu: 0 -> 0.5"),
    ("verify:", "tracking: {uri: 'http://ann@host'}\nverify:", "tracking.uri: null -> http://***@host"),
    ("verify:", "tracking: {system_metrics: true}\nverify:", "tracking.system_metrics: false -> true"),
    ("trials: 4", "trials: 4, storage: 'postgresql://ann@host/db'", "search.storage: null -> postgresql://***@host/db"),
    ("trials: 4", "trials: 4, first: [{rate: 0.5, rewind: init, granularity: unit, train.batch: 30, "
     "train.schedule.warmup: 5}]", 'search.first: [] -> [{"rate": 0.5, "rewind": "init", "granularity": "unit", '
     '"train.batch": 30, "train.schedule.warmup": 5}]'),
    ("verify:", "resources: {compile: true}\nverify:", "resources.compile: false -> true"),
    ("verify:", "resources: {batched: true}\nverify:", "resources.batched: null -> true"),
    ("verify:", "resources: {max_concurrent: 2}\nverify:", "resources.max_concurrent: null -> 2"),
    ("verify:", "rescue: {}\nverify:", "rescue.when: (not there) -> no-match"),
    ("verify:", "rescue: {}\nverify:", "rescue.density: (not there) -> 0.05"),
    ("verify:", "rescue: {}\nverify:", "rescue.steps: (not there) -> null"),
    ("verify:", "rescue: {}\nverify:", "rescue.hours: (not there) -> null"),
    ("verify:", "rescue: {}\nverify:", "rescue.all: (not there) -> false"),
]  # fmt: skip

MIXES = [
    ("data: digits", "data: {kind: digits, split_seed: 1}", "trial.data.split_seed: 0 -> 1"),
    ("hidden: [8]", "hidden: [9]", "trial.model.hidden: [8] -> [9]"),
    ("60 steps", "61 steps", "trial.train.length: 60 steps -> 61 steps"),
    ("lr: 0.005", "lr: 0.006", "trial.train.optimizer.lr: 0.005 -> 0.006"),
    ("length: 60 steps", "length: 60 steps, precision: bf16", "trial.train.precision: float32 -> bf16"),
    ("length: 60 steps", "length: 60 steps, evaluate: 20 steps", "trial.train.evaluate: 200 steps -> 20 steps"),
    ("{output: 0.5}", "{output: 0.4}", "trial.layer_rates.output: 0.5 -> 0.4"),
    ("levels: 3", "levels: 2", "trial.levels: 3 -> 2"),
    ("levels: 3", "levels: 3\n  stability: true", "trial.stability: false -> true"),
    ("levels: 3", "levels: 3\n  init: orthogonal", "trial.init.kind: default -> orthogonal"),
    ("levels: 3", "levels: 3\n  prunable: {leave: [fc1]}", 'trial.prunable.leave: [] -> ["fc1"]'),
    ("levels: 3", "levels: 3\n  criterion: random", "trial.criterion.kind: magnitude -> random"),
    ("levels: 3", "levels: 3\n  task: 'tests.orchestration.own_parts:Named'",
     "trial.task.kind: classification -> tests.orchestration.own_parts:Named"),
    ("levels: 3", "levels: 3\n  mask_rule: 'tests.orchestration.own_parts:Still'",
     "trial.mask_rule.kind: fixed -> tests.orchestration.own_parts:Still"),
    ("levels: 3", "levels: 3\n  mask_at: 50 steps", "trial.mask_at: null -> 50 steps"),
    ("levels: 3", "levels: 3\n  method: {kind: one-shot, density: 0.1}", "trial.method.kind: iterative -> one-shot"),
    ("levels: 3", "levels: 3\n  scope: global", "trial.scope: layer -> global"),  # where the axis does not exist
    ("seeds: 2", "seeds: 1", "trial.seeds: [0, 1] -> [0]"),
    ("seeds: 2", "seeds: [1, 0]", "trial.seeds: [0, 1] -> [1, 0]"),
    ("seeds: 2", "seeds: [7, 0, 1]", "trial.seeds: [0, 1] -> [7, 0, 1]"),
    ("[0.3, 0.6]", "[0.4, 0.7]", "space.rate.between: [0.3, 0.6] -> [0.4, 0.7]"),
    ("at: 10 steps", "at: 20 steps",
     'space.rewind.choice.early: {"kind": "step", "at": "10 steps"} -> {"kind": "step", "at": "20 steps"}'),
    ("[weight, unit]", "[weight]", 'space.granularity.choice.unit: {"kind": "unit", "coupled": false} -> (not there)'),
    ("global], when: {granularity: weight}", "global], when: {granularity: [weight, unit]}",
     'space.scope.when: {"granularity": ["weight"]} -> {"granularity": ["unit", "weight"]}'),
    ("  rate: {between: [0.3, 0.6]}\n", "", "space.rate: "),
    ("  rate:", "  criterion: {choice: [magnitude, l1]}\n  rate:", "space.criterion: (not there) -> "),
    ("{between: [20, 60], integer: true}", "{choice: [20, 60]}", "space.train.batch.between: [20, 60] -> (not there)"),
    ("0 steps, 20 steps", "0 epochs, 2 epochs", "space.train.schedule.warmup.unit: steps -> epochs"),
    ("minimize: params", "minimize: flops", 'objective.minimize: ["params"] -> ["flops"]'),
    ("margin: 0.05", "margin: 0.06", "objective.match.margin: 0.05 -> 0.06"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "words"), EXTENDS)
def test_what_only_extends_goes_on(old, new, words):
    found = differences(SPEC, changed((old, new)))
    assert words in found
    assert all(found.values())


@pytest.mark.parametrize(("old", "new", "words"), MIXES)
def test_what_would_mix_is_refused_with_the_difference(tmp_path, old, new, words):
    note(tmp_path, load(SPEC))
    with pytest.raises(ConfigError) as refused:
        check(tmp_path, load(changed((old, new))))
    assert f"\n  {words}" in str(refused.value)
    assert "--as NEWNAME" in str(refused.value)


def test_every_field_and_every_section_has_a_case():
    paths = {words.split(":")[0] for _, _, words in EXTENDS + MIXES}
    fields = {f"trial.{field.name}" for field in dataclasses.fields(TrialConfig)} - {"trial.rate", "trial.granularity"}
    for name in FREE:  # those two are axes here
        fields |= {f"{name}.{field.name}" for field in dataclasses.fields(SECTIONS[name])}
    assert {field for field in fields if not any(f"{path}.".startswith(f"{field}.") for path in paths)} == set()


RECIPES = changed(
    (
        "  rewind: {choice: {init: init, early: {kind: step, at: 10 steps}}}\n",
        """\
  recipe:
    changes:
      plain: {criterion: magnitude}
      early: {criterion: magnitude, rewind: {kind: step, at: 10 steps}}
""",
    )
)
EARLY = "      early: {criterion: magnitude, rewind: {kind: step, at: 10 steps}}\n"
RECIPES_EXTENDED = [
    (EARLY, EARLY + "      synflow: {criterion: synflow}\n",
     'space.recipe.changes.synflow: (not there) -> {"criterion": {"kind": "synflow", "rounds": 100}}'),
    ("levels: 3", "levels: 3\n  criterion: random", "trial.criterion.kind: magnitude -> random"),  # all of them set it
]  # fmt: skip
RECIPES_MIXED = [
    ("at: 10 steps", "at: 20 steps", "space.recipe.changes.early: "),
    ("plain: {criterion: magnitude}", "plain: {criterion: magnitude, scope: global}", "space.recipe.changes.plain: "),
    (EARLY, "", "space.recipe.changes.early: "),
    ("levels: 3", "levels: 3\n  rewind: {kind: step, at: 10 steps}", "trial.rewind.kind: init -> step"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "words"), RECIPES_EXTENDED)
def test_more_recipes_to_choose_from_extend(old, new, words):
    assert differences(RECIPES, changed((old, new), text=RECIPES)) == {words: True}


@pytest.mark.parametrize(("old", "new", "words"), RECIPES_MIXED)
def test_other_recipes_under_an_old_label_would_mix(old, new, words):
    found = differences(RECIPES, changed((old, new), text=RECIPES))
    assert not all(found.values())
    assert any(found_words.startswith(words) for found_words in found)


def test_a_recipe_in_other_words_is_no_change():
    other = changed((EARLY, "      early: {rewind: {at: 10.0 steps, kind: step}, criterion: {kind: magnitude}}\n"),
                    text=RECIPES)  # fmt: skip
    assert differences(RECIPES, other) == {}


def test_a_name_of_recipes_is_not_a_field_that_they_set():
    """An axis of changes may have the name of a field; the base's value stands where a label does not set it."""
    text = changed(("  recipe:", "  rewind:"), text=RECIPES)
    other = changed(("levels: 3", "levels: 3\n  rewind: reinit"), text=text)
    assert differences(text, other) == {"trial.rewind.kind: init -> reinit": False}


SAME = [
    ("seeds: 2", "seeds: [0, 1]  # a comment"),
    ("  levels: 3\n  seeds: 2\n", "  seeds: 2\n  levels: 3\n"),
    ("{kind: mlp, hidden: [8]}", "{hidden: [8], kind: mlp}"),
    ("data: digits", "data: {kind: digits}"),
    ("lr: 0.005", "lr: 5e-3"),
    ("60 steps, ", "60 steps, batch: 60, schedule: constant, "),
    ("init: init", "init: {kind: init}"),
    ("{kind: step, at: 10 steps}}", "{at: 10.0 steps, kind: step}}"),
    ("{init: init, early: {kind: step, at: 10 steps}}", "{early: {kind: step, at: 10 steps}, init: init}"),
    ("[weight, unit]", "{unit: {kind: unit}, weight: weight}"),
    ("minimize: params", "minimize: [params]"),
    ("sampler: random", "sampler: {kind: random}"),
    ("{granularity: weight}", "{granularity: [weight]}"),
]


@pytest.mark.parametrize(("old", "new"), SAME)
def test_the_same_in_other_words_is_no_change(old, new):
    assert differences(SPEC, changed((old, new))) == {}


def test_a_sweep_that_was_run_before_metrics_had_names_is_not_another_one():
    objective = meaning(load(SPEC))["objective"]
    assert objective == {"minimize": ["params"], "match": {"metric": "accuracy", "margin": 0.05}}
    relative = meaning(load(changed(("margin: 0.05", "margin: 5%"))))["objective"]
    assert relative["match"] == {"metric": "accuracy", "margin": "5%"}


def test_more_levels_are_no_extension_where_a_level_depends_on_their_number():
    early = changed(("levels: 3", "levels: 3\n  mask_at: 55 steps"))
    assert differences(early, changed(("levels: 3", "levels: 4"), text=early)) == {"trial.levels: 3 -> 4": False}


def test_a_module_of_the_users_that_has_changed_is_another_model(tmp_path):
    own = "import torch\nclass OwnNet(torch.nn.Sequential):\n    def __init__(self):\n        super().__init__({})\n"
    module = tmp_path / "extension_own.py"
    module.write_text(own.format("torch.nn.Flatten(), torch.nn.Linear(64, 10)"))
    (tmp_path / "mine.yaml").write_text(changed(("{kind: mlp, hidden: [8]}", '"extension_own:OwnNet"')))
    before = meaning(load_spec(tmp_path / "mine.yaml"))
    after = json.loads(json.dumps(before))
    assert len(after["trial"]["model"]["source code"]) == 32
    after["trial"]["model"]["source code"] = "0" * 32
    [change] = compare(before, after, ladder=True)
    assert (change.path, change.extends) == ("trial.model.source code", False)


def results(runs: Path):
    return [
        (trial.number, dict(trial.picks), trial.ending, trial.outcome, trial.reason,
         [(record.level, record.seed, record.metrics, record.sizes) for level in trial.levels for record in level])
        for trial in read(runs / "mine")
    ]  # fmt: skip


def study(runs: Path):
    found = optuna.load_study(study_name="mine", storage=f"sqlite:///{runs / 'mine/optuna.db'}")
    return [(trial.number, trial.state, trial.params, trial.values, trial.constraints) for trial in found.trials]


def run(folder: Path, text: str, runs: str, **options):
    said: list[str] = []
    result = run_sweep(load(text), folder / runs, serial=True, work=RUN, say=said.append, **options)
    return result, said


MORE = {
    "seeds": [("seeds: 2", "seeds: 4")],
    "levels": [("levels: 3", "levels: 20")],
    "both and more trials": [("seeds: 2", "seeds: 3"), ("levels: 3", "levels: 20"), ("trials: 4", "trials: 6")],
}


@pytest.mark.parametrize("more", MORE)
def test_trials_that_had_ended_get_what_they_lack_and_no_more(tmp_path, more):
    """The records are then those of a sweep that had it all from the beginning."""
    first, _ = run(tmp_path, SPEC, "runs")
    before = {path.name: path.read_bytes() for path in (tmp_path / "runs/mine/records").iterdir()}
    longer = changed(*MORE[more])
    second, said = run(tmp_path, longer, "runs")
    whole, _ = run(tmp_path, longer, "whole")
    assert results(tmp_path / "runs") == results(tmp_path / "whole")
    assert study(tmp_path / "runs") == study(tmp_path / "whole")
    assert first.steps_trained + second.steps_trained == whole.steps_trained
    for name, content in before.items():
        assert (tmp_path / "runs/mine/records" / name).read_bytes().startswith(content)
    [words] = said
    assert words.startswith("mine goes on, with its file changed:\n  trial.")
    assert "4 trials that had ended get what they lack by it" in words
    again, said = run(tmp_path, longer, "runs")
    assert (again.steps_trained, again.counts, said) == (0, second.counts, [])


class Cut:
    """Ctrl-C after so many levels."""

    def __init__(self, levels: int) -> None:
        self.left = levels

    def level_done(self, proposal, level):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt

    def __getattr__(self, name):
        return lambda *args, **kwargs: None


@pytest.mark.parametrize("levels", [2, 9])
def test_an_extension_that_is_cut_off_goes_on(tmp_path, levels):
    run(tmp_path, SPEC, "runs")
    longer = changed(*MORE["both and more trials"])
    cut, _ = run(tmp_path, longer, "runs", listeners=[Cut(levels)])
    assert cut.ending == "interrupted"
    run(tmp_path, longer, "runs")
    run(tmp_path, longer, "whole")
    assert results(tmp_path / "runs") == results(tmp_path / "whole")
    assert study(tmp_path / "runs") == study(tmp_path / "whole")


@pytest.mark.parametrize("sampler", ["tpe", "qmc"])
def test_more_choices_and_wider_ranges_keep_what_there_is(tmp_path, sampler):
    """Optuna itself takes no other choices for an axis that it knows."""
    text = changed(("sampler: random", f"sampler: {sampler}"))
    run(tmp_path, text, "runs")
    before, told = results(tmp_path / "runs"), study(tmp_path / "runs")
    wider = changed(
        ("[0.3, 0.6]", "[0.1, 0.8]"), ("{init: init, ", "{late: {kind: step, at: 30 steps}, init: init, "),
        ("[layer, global]", "[global, layer]"), ("trials: 4", "trials: 12"), text=text)  # fmt: skip
    result, [words] = run(tmp_path, wider, "runs")
    assert sum(result.counts.values()) == 12
    assert results(tmp_path / "runs")[:4] == before
    assert study(tmp_path / "runs")[:4] == told
    assert "had ended" not in words
    new = results(tmp_path / "runs")[4:]
    assert any(picks["rewind"] == "late" for _, picks, *_ in new)
    assert any(not 0.3 <= picks["rate"] <= 0.6 for _, picks, *_ in new)


@pytest.mark.parametrize("sampler", ["tpe", "frugal"])
def test_more_recipes_keep_what_there_is(tmp_path, sampler):
    text = changed(("sampler: random", f"sampler: {sampler}"), text=RECIPES)
    run(tmp_path, text, "runs")
    before, told = results(tmp_path / "runs"), study(tmp_path / "runs")
    more = "      late: {rewind: {kind: step, at: 30 steps}, train.optimizer.lr: 0.01}\n" + EARLY
    wider = changed((EARLY, more), ("trials: 4", "trials: 16"), text=text)
    result, [words] = run(tmp_path, wider, "runs")
    assert sum(result.counts.values()) == 16
    assert results(tmp_path / "runs")[:4] == before
    assert study(tmp_path / "runs")[:4] == told
    assert "had ended" not in words
    assert any(picks["recipe"] == "late" for _, picks, *_ in results(tmp_path / "runs")[4:])


def test_a_grid_of_recipes_that_grows_runs_each_once(tmp_path):
    text = (
        SPEC.split("space:")[0]
        + "space:\n  recipe:\n    changes:\n      plain: {}\n      early: {rewind: {kind: step, at: 10 steps}}\n"
    )
    text += "objective:" + SPEC.split("objective:")[1].replace(
        "sampler: random, trials: 4", "sampler: {kind: grid, shuffle: false}, trials: 9"
    )
    first, _ = run(tmp_path, text, "runs")
    assert [picks for _, picks, *_ in results(tmp_path / "runs")] == [{"recipe": "plain"}, {"recipe": "early"}]
    again, _ = run(
        tmp_path, changed(("      plain: {}\n", "      none: {rate: 0.4}\n      plain: {}\n"), text=text), "runs"
    )
    assert [picks["recipe"] for _, picks, *_ in results(tmp_path / "runs")] == ["plain", "early", "none"]
    assert again.counts == {"finished": 3}
    assert again.steps_trained < first.steps_trained


def test_a_grid_that_grows_runs_each_point_once(tmp_path):
    small = SPEC.split("space:")[0] + "space:\n  rewind: {choice: [init, reinit]}\n  granularity: {choice: [weight]}\n"
    small += "objective:" + SPEC.split("objective:")[1].replace(
        "sampler: random, trials: 4", "sampler: grid, trials: 9"
    )
    run(tmp_path, small, "runs")
    assert len(results(tmp_path / "runs")) == 2
    larger = changed(("[init, reinit]", "[signs, reinit, init]"), ("[weight]", "[unit, weight]"), text=small)
    run(tmp_path, larger, "runs")
    picked = [tuple(picks.values()) for _, picks, *_ in results(tmp_path / "runs")]
    assert len(picked) == len(set(picked)) == 6


def test_a_refused_sweep_has_changed_nothing_and_runs_under_another_name(tmp_path):
    run(tmp_path, SPEC, "runs")
    folder = tmp_path / "runs/mine"
    files = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "lock"}
    other = changed(("lr: 0.005", "lr: 0.006"), ("trials: 4", "trials: 5"))
    with pytest.raises(ConfigError, match=r"0\.005 -> 0\.006"):
        run(tmp_path, other, "runs")
    assert {path: path.read_bytes() for path in files} == files
    (tmp_path / "mine.yaml").write_text(other)
    spec = load_spec(tmp_path / "mine.yaml", "yours")
    assert run_sweep(spec, tmp_path / "runs", serial=True, work=RUN).counts == {"finished": 5}
    assert load_spec(tmp_path / "runs/yours/sweep.yaml").name == "yours"
    assert {path: path.read_bytes() for path in files} == files


def test_a_sweep_without_a_trial_yet_may_become_anything(tmp_path):
    run(tmp_path, SPEC, "runs")
    for path in (tmp_path / "runs/mine/records").iterdir():
        path.unlink()
    other = changed(("[weight, unit]", "[unit, weight]"), ("minimize: params", "minimize: [flops, params]"))
    assert run(tmp_path, other, "runs")[0].counts == {"finished": 4}


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"trial": 1, "space": {}}', "\x00"])
def test_a_damaged_note_is_made_again_from_the_file(tmp_path, damage):
    run(tmp_path, SPEC, "runs")
    (tmp_path / "runs/mine/sweep.json").write_text(damage)
    assert run(tmp_path, SPEC, "runs")[1] == []
    (tmp_path / "runs/mine/sweep.json").write_text(damage)
    (tmp_path / "runs/mine/sweep.yaml").write_text("name: [")
    with pytest.raises(ConfigError, match="does not say any more what they were run with"):
        run(tmp_path, SPEC, "runs")


@pytest.mark.parametrize(("ended", "words"), [(1, "1 trial that had ended gets what it lacks by it"),
                                              (2, "2 trials that had ended get what they lack by it")])  # fmt: skip
def test_how_many_trials_are_taken_up_again(ended, words):
    assert in_words(load(SPEC), [], ended).splitlines()[1].startswith(words)


def test_a_lost_record_is_replaced_and_the_others_stay(tmp_path):
    run(tmp_path, SPEC, "runs")
    before = results(tmp_path / "runs")
    (tmp_path / "runs/mine/records/001.jsonl").unlink()
    run(tmp_path, SPEC, "runs")
    assert results(tmp_path / "runs") == before


def test_a_sweep_of_an_earlier_version_is_refused_in_one_line(tmp_path):
    """Whose recipes lacked a part that digests are made of."""
    (tmp_path / "sweep.yaml").write_text(SPEC)
    spec, folder = load_spec(tmp_path / "sweep.yaml"), tmp_path / "mine"
    folder.mkdir()
    note(folder, spec)
    meant = meaning(spec)
    del meant["trial"]["task"]
    (folder / "sweep.json").write_text(json.dumps({"digest": digest(meant), "meaning": meant}))
    with pytest.raises(ConfigError, match=r"begun by an earlier version of .*, whose recipes had no task; go on"):
        check(folder, spec)
