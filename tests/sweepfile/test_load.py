"""Bad sweep files: one message, with file, line, path, what was found and what is allowed."""

from pathlib import Path

import pytest

from lth_sweep.lottery.common.duration import Clock, Duration
from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.network.models.imported import ImportedModel
from lth_sweep.lottery.pruning.granularity import Granularity
from lth_sweep.lottery.recipe.rewinding import ToStep
from lth_sweep.lottery.recipe.trial import TrialConfig
from lth_sweep.lottery.task import LOSS, Metric
from lth_sweep.lottery.training.optimizers import Optimizer
from lth_sweep.sweepfile.decode import annotations
from lth_sweep.sweepfile.load import SECTIONS, load_spec
from lth_sweep.sweepfile.mistakes import SpecError
from tests.sweepfile.conftest import BASE, Load

EMPTY = BASE.split("  rate: {between")[0]
GRANULARITY, OPTIMIZER = (", ".join(sorted(family.kinds)) for family in (Granularity, Optimizer))
FIELDS = ", ".join(sorted(annotations(TrialConfig)))
ALL_SECTIONS = ", ".join(sorted(["name", "trial", "space", *SECTIONS]))
ADAM = "allowed: beta1, beta2, eps, lr, weight_decay"
OWN = '(or "package.module:Name" for a class of your own)'


def too_late(k: int, length: int) -> str:
    """What the core says of a rewind to step k of a run of that length."""
    with pytest.raises(ConfigError, match="must be before the end of training") as caught:
        ToStep(Duration(k, "steps")).check(Clock(19, length))
    return caught.value.message


CASES = {
    # what is replaced, by what, line, message
    "unknown section": ("trial:", "trail:", 2,
        f"trail: unknown section 'trail'; allowed: {ALL_SECTIONS}; did you mean 'trial'?"),
    "unknown key": ("lr: 0.0012", "lrr: 0.0012", 8,
        f"trial.train.optimizer.lrr: unknown key 'lrr'; {ADAM}; did you mean 'lr'?"),
    "typo in a kind": ("kind: adam", "kind: adm", 8,
        f"trial.train.optimizer.kind: unknown optimizer 'adm'; allowed: {OPTIMIZER}; did you mean 'adam'? {OWN}"),
    "typo in the last option": ("[weight, unit]", "[weight, unti]", 16,
        f"space.granularity.choice.1: unknown granularity 'unti'; allowed: {GRANULARITY}; did you mean 'unit'? {OWN}"),
    "negative learning rate": ("lr: 0.0012", "lr: -1", 8, "trial.train.optimizer.lr: must be above 0, but got -1"),
    "rate too high": ("  levels: 3", "  rate: 1.5", 9,
        "trial.rate: must be between 0 and 1 exclusive, but got 1.5"),
    "rate too high at one end": ("[0.2, 0.6]", "[0.2, 1.5]", 11,
        "space.rate.between: must be between 0 and 1 exclusive, but got 1.5"),
    "k beyond the length": ("at: 50 steps", "at: 900 steps", 15,
        f"space.rewind.choice.early.at: {too_late(900, 600)}"),
    "k beyond another option": ("  rate: {between: [0.2, 0.6]}", "  train.length: {choice: [40 steps]}", 15,
        f"space.rewind.choice.early.at: with train.length = 40 steps: {too_late(50, 40)}"),
    "rate and factor together": ("  levels: 3", "  layer_rates: {output: 2}", 11,
        "space.rate.between: with rate = 0.6: trial.layer_rates.output: rate * factor must be below 1, "
        "but 0.6 * 2 = 1.2"),
    "batch larger than the data": ("batch: 60", "batch: 5000", 7,
        "trial.train.batch: must be at most the number of training examples, 1197, but got 5000"),
    "too many seeds": ("levels: 3", "seeds: 100000000000", 9,
        "trial.seeds: must be at most 1000, but got 100000000000"),
    "evaluate too often": ("batch: 60", "evaluate: 0.01 epochs", 7,
        "trial.train.evaluate: must be one step or more, but got 0.01 epochs"),
    "a module that does not exist": ("digits", '"nowhere.data:Set"', 3, "trial.data: cannot import 'nowhere.data:Set': "
        "no module named 'nowhere'; it must be installed, or lie beside the sweep file"),
    "a pattern that matches nothing": ("levels: 3", "layer_rates: {conv9: 0.5}", 9, "trial.layer_rates.conv9: matches "
        'no layer; allowed: fc1, output, patterns of them such as "conv*", and "output" for the last'),
    "text for a number": ("levels: 3", "levels: '3'", 9,
        "trial.levels: must be a whole number, but got '3'; write it without quotes"),
    "a bool for a number": ("levels: 3", "levels: true", 9, "trial.levels: must be a whole number, but got true"),
    "no unit": ("600 steps", "600", 6, 'trial.train.length: expected a duration such as "600 steps", "20 epochs" or '
        '"20%", but got 600; write "600 steps" or "600 epochs"'),
    "not a mapping": ("  levels: 3", "  init: 5", 9,
        "trial.init: must be an initialisation, such as 'default' or {kind: default, ...}, but got 5"),
    "null trial": (BASE.split("trial:\n")[1].split("space:")[0], "", 2, "trial: must be a mapping, but got null"),
    "infinite": ("lr: 0.0012", "lr: .inf", 8, "trial.train.optimizer.lr: must be a finite number, but got inf"),
    # the name
    "no name": ("name: small\n", "", 1, "name: is missing: it names the run folder and the MLflow experiment"),
    "a name that leaves the folder": ("name: small", "name: ../small", 1, "name: it names a folder, so use up to 100 "
        "letters, digits, '.', '_' and '-', starting with a letter or digit, but got '../small'"),
    "a hidden name": ("name: small", "name: .small", 1, "name: it names a folder, so use up to 100 "
        "letters, digits, '.', '_' and '-', starting with a letter or digit, but got '.small'"),
    "a name that is taken": ("name: small", "name: stages", 1,
        "name: 'stages' is taken: the runs folder has something else of that name"),
    "the name of a file in the runs folder": ("name: small", "name: Origin", 1,
        "name: 'Origin' is taken: the runs folder has something else of that name"),
    "a number for a name": ("name: small", "name: 2024", 1, "name: must be text, but got 2024; put it in quotes"),
    # the space
    "empty space": (BASE[len(EMPTY):], "", 10,
        "space: must be a mapping of fields of the trial to axes, but got null"),
    "no axes": ("space:\n" + BASE[len(EMPTY):], "space: {}\n", 10,
        "space: is empty: it needs at least one axis, such as `rate: {between: [0.2, 0.6]}`"),
    "no space": ("space:\n" + BASE[len(EMPTY):], "", 1,
        "space: is empty: it needs at least one axis, such as `rate: {between: [0.2, 0.6]}`"),
    "a fixed value in the space": ("rate: {between: [0.2, 0.6]}", "rate: 0.3", 11,
        "space.rate: must be a range, {between: [low, high]}, a choice, {choice: [a, b]}, or "
        "{changes: {label: {field: value}}}, but got 0.3; a fixed value belongs under `trial`"),
    "a typo in between": ("between:", "betwen:", 11, "space.rate.betwen: unknown key 'betwen'; "
        "allowed: between, changes, choice, integer, log, when; did you mean 'between'?"),
    "log of a choice": ("[weight, unit]", "[weight, unit], log: true", 16,
        "space.granularity.log: unknown key 'log'; allowed: choice, when"),
    "one end": ("[0.2, 0.6]", "[0.2]", 11,
        "space.rate.between: must be two numbers or two durations, [low, high], but got [0.2]"),
    "ends the wrong way round": ("[0.2, 0.6]", "[0.6, 0.2]", 11,
        "space.rate.between: the low end must be below the high end, but got 0.6 and 0.2"),
    "log from 0": ("[0.2, 0.6]", "[0, 0.6], log: true", 11,
        "space.rate.between: a range with log needs a low end above 0, but got 0"),
    "mixed units": ("rate: {between: [0.2, 0.6]}", "train.length: {between: [1 epoch, 90 steps]}", 11,
        "space.train.length.between: both ends must have the same unit"),
    "integers between fractions": ("[0.2, 0.6]", "[0.2, 0.6], integer: true", 11,
        "space.rate.between: a range of integers needs whole ends, but got 0.2 and 0.6"),
    "fractions of a whole number": ("rate: {between: [0.2, 0.6]}", "levels: {between: [2, 6]}", 11,
        "space.levels.between: must be a whole number, but got 2.0; add `integer: true` to the range"),
    "a path that does not exist": ("  rate:", "  rat:", 11,
        f"space.rat: unknown field 'rat'; allowed: {FIELDS}; did you mean 'rate'?"),
    "a path whose middle does not exist": ("  rate:", "  trian.optimizer.lr:", 11,
        f"space.trian.optimizer.lr: unknown field 'trian'; allowed: {FIELDS}; did you mean 'train'?"),
    "a path into another kind": ("  rate:", "  train.optimizer.momentum:", 11,
        f"space.train.optimizer.momentum: unknown field 'momentum'; {ADAM}"),
    "a path beyond a leaf": ("  rate:", "  rate.x:", 11, "space.rate.x: has no fields, so there is no 'x' in it"),
    "duplicate labels of a list": ("[weight, unit]", "[weight, unit, weight]", 16,
        "space.granularity.choice.2: duplicate label 'weight': remove one, or write {label: value}"),
    "duplicate labels of a mapping": ("      early:", "      init:", 15,
        "not valid YAML: duplicate key 'init', first on line 14: remove one"),
    "changes by the name of a column": ("granularity: {choice: [weight, unit]}", "density: {changes: {a: {}}}", 16,
        "space.density: 'density' is a column of every sweep's tables (docs/records.md); choose another name"),
    "changes by the name of a path": ("granularity: {choice: [weight, unit]}", "lr/warmup: {changes: {a: {}}}", 16,
        "space.lr/warmup: the name of an axis of changes may have letters, digits, spaces, `.`, `_` and `-`, but got "
        "'lr/warmup'"),
    "changes that are none": ("choice: [weight, unit]", "changes: {a: 3}", 16,
        "space.granularity.changes.a: must be a mapping of fields of the trial to values, such as {rate: 0.2}, or {} "
        "for no change, but got 3"),
    "a change of no field": ("choice: [weight, unit]", "changes: {a: {ratte: 0.2}}", 16,
        f"space.granularity.changes.a.ratte: unknown field 'ratte'; allowed: {FIELDS}; did you mean 'rate'?"),
    "a change that does not fit": ("choice: [weight, unit]", "changes: {a: {rate: 0.9, layer_rates.output: 2}}", 16,
        "space.granularity.changes.a.layer_rates.output: rate * factor must be below 1, but 0.9 * 2 = 1.8"),
    "a first point of no axis": ("space:", "search: {first: [{rate: 0.3, rewind: init, granularty: unit}]}\nspace:", 10,
        "search.first.0: unknown axis 'granularty'; allowed: granularity, rate, rewind; did you mean 'granularity'?"),
    "no options": ("[weight, unit]", "[]", 16, "space.granularity.choice: must be a list of options or a mapping of "
        "labels to options, but got []"),
    "when of an unknown axis": ("[weight, unit]}", "[weight, unit], when: {rewnd: init}}", 16,
        "space.granularity.when.rewnd: unknown axis 'rewnd'; allowed: granularity, rate, rewind; "
        "did you mean 'rewind'?"),
    "when of an unknown label": ("[weight, unit]}", "[weight, unit], when: {rewind: [init, erly]}}", 16,
        "space.granularity.when.rewind: unknown label 'erly'; allowed: early, init; did you mean 'early'?"),
    "when of a range": ("[weight, unit]}", "[weight, unit], when: {rate: 0.2}}", 16,
        "space.granularity.when.rate: must be an axis with a choice, but it is a range"),
    "when in a circle": ("[weight, unit]}", "[weight, unit], when: {granularity: unit}}", 16,
        "space.granularity.when: axes depend on each other in a circle: granularity"),
    # YAML
    "syntax": ("hidden: [20]}", "hidden: [20}", 4,
        "not valid YAML: while parsing a flow sequence, expected ',' or ']', but got '}'"),
    "a tab": ("    batch: 60", "\tbatch: 60", 7, r"not valid YAML: while scanning for the next token, found character "
        r"'\t' that cannot start any token; indent with spaces, not tabs"),
    "duplicate key": ("levels: 3", "levels: 3\n  levels: 4", 10,
        "not valid YAML: duplicate key 'levels', first on line 9: remove one"),
    "an alias": ("levels: 3", "levels: &n 3\n  seeds: *n", 10,
        "not valid YAML: the alias *n is not supported: write the value out"),
    "a tag": ("levels: 3", "levels: !!python/object/apply:os.getpid []", 9,
        "not valid YAML: the tag tag:yaml.org,2002:python/object/apply:os.getpid is not supported"),
    "a tag that does not fit": ("levels: 3", "levels: !!int three", 9,
        "not valid YAML: 'three' is not of the kind int"),
    "a key that is a list": ("levels: 3", "? [a]\n  : 3", 9, "not valid YAML: a key must be plain text"),
    "two documents": ("space:", "---\nspace:", 10,
        "not valid YAML: expected a single document in the stream, but found another document"),
    "too deep": ("levels: 3", "levels: " + "[" * 60, 9, "not valid YAML: nested more than 50 deep"),
    "a lone surrogate": ("name: small", r'name: "\ud800"', 1, r"not valid YAML: '\ud800' is not of the kind str"),
    "a control character": ("name: small", "name: sm\x07all", 1, "not text: character #x0007 is not allowed"),
    # the other sections
    "no trials": ("space:", "search: {trials: 0}\nspace:", 10, "search.trials: must be 1 or more, but got 0"),
    "an unknown sampler": ("space:", "search: {sampler: tpee}\nspace:", 10,
        "search.sampler: unknown sampler 'tpee'; allowed: frugal, gp, grid, nsga2, qmc, random, tpe; "
        "did you mean 'tpe'? "
        '(or "package.module:Name" for a class of your own)'),
    "patience": ("space:", "stop: {patience: 1.5}\nspace:", 10,
        "stop.patience: must be a whole number or null, but got 1.5"),
    "margin": ("space:", "objective:\n  match: {margin: 2}\nspace:", 11,
        "objective.match.margin: must be at least 0 and below 1, but got 2"),
    "a share of all": ("space:", "objective:\n  match: {metric: loss, margin: 100%}\nspace:", 11,
        "objective.match.margin: must be at least 0 and below 100%, but got 100%"),
    "no share": ("space:", "objective:\n  match: {margin: two%}\nspace:", 11,
        "objective.match.margin: must be a number, or a share of the dense network's value such as 2%, but got 'two%'"),
    "a margin below 0": ("space:", "objective:\n  match: {margin: -0.1}\nspace:", 11,
        "objective.match.margin: must be at least 0, but got -0.1"),
    "a metric that the task has not": ("space:", "objective:\n  match: {metric: acuracy}\nspace:", 11,
        "objective.match.metric: unknown metric 'acuracy'; allowed: accuracy, loss; did you mean 'accuracy'?"),
    "a task for each trial": ("rate: {between: [0.2, 0.6]}", "task: {choice: [classification]}", 11,
        "space.task: the task cannot vary, as trials of several could not be compared; set it under `trial`"),
    "an option of the task": ("rate: {between: [0.2, 0.6]}", "task.x: {between: [0, 1]}", 11,
        "space.task.x: the task cannot vary, as trials of several could not be compared; set it under `trial`"),
    "a change of the task": ("choice: [weight, unit]", "changes: {a: {rate: 0.3}, b: {task: classification}}", 16,
        "space.granularity: the task cannot vary, as trials of several could not be compared; set it under `trial`"),
}  # fmt: skip
NO_MAPPING = ", line 1: a sweep file is a mapping with `name`, `trial` and `space`, but"


@pytest.mark.parametrize("case", CASES)
def test_bad_file(case: str, tmp_path: Path, load: Load) -> None:
    old, new, line, message = CASES[case]
    assert BASE.count(old) == 1
    with pytest.raises(SpecError) as caught:
        load(BASE.replace(old, new))
    assert str(caught.value) == f"{tmp_path / 'sweep.yaml'}, line {line}: {message}"
    assert [file.name for file in tmp_path.iterdir()] == ["sweep.yaml"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", f"{NO_MAPPING} the file is empty"),
        (b"# only a comment", f"{NO_MAPPING} the file is empty"),
        (b"- a", f"{NO_MAPPING} got ['a']"),
        (b"name: a\n\xff\xfe", ", line 2: is not text in UTF-8; save it as UTF-8"),
        (b"name: a\n\x00", ", line 2: not text: character #x0000 is not allowed"),
        (b"a" * 1_000_001, ": is larger than 1,000,000 bytes: that is no sweep file"),
        (b'name: "\\UFFFFFFFF"', ": not valid YAML: "),
        (b"[" * 100_000, ", line 1: not valid YAML: nested more than 50 deep"),
        (b"name: " + b"9" * 5000, ", line 1: name: must be text, but got inf; put it in quotes"),
    ],
)  # fmt: skip
def test_bytes_that_are_no_sweep_file(content: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_bytes(content)
    with pytest.raises(SpecError) as caught:
        load_spec(file)
    # What Python says about a character that does not exist differs between its versions.
    assert str(caught.value).startswith(f"{file}{message}")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for file, message in [
        (str(tmp_path / "none.yaml"), "there is no such file"),
        (str(tmp_path), "is a folder, not a sweep file"),
        ("a\0b", "cannot be read: embedded null byte"),
        ("n" * 5000, "cannot be read: File name too long"),
    ]:
        with pytest.raises(SpecError) as caught:
            load_spec(file)
        assert str(caught.value) == f"{file}: {message}"


def test_a_data_folder_that_is_missing(tmp_path: Path, load: Load) -> None:
    with pytest.raises(SpecError) as caught:
        load(BASE.replace("digits", f"{{kind: mnist, root: {tmp_path / 'nowhere'}, download: false}}"))
    assert str(caught.value).startswith(f"{tmp_path / 'sweep.yaml'}, line 3: trial.data")
    assert str(tmp_path / "nowhere") in str(caught.value)
    assert not (tmp_path / "nowhere").exists()


def test_what_yaml_1_1_would_get_wrong(load: Load) -> None:
    spec = load(BASE.replace("lr: 0.0012", "lr: 1e-3").replace("init: init", "off: init").replace("early:", "on:"))
    assert spec.recipe({"rate": 0.3, "rewind": "off", "granularity": "unit"}).train.optimizer.lr == 0.001
    assert list(spec.space[1].domain.options) == ["off", "on"]


def test_an_axis_of_one_kind_alone(load: Load) -> None:
    axes = "  train.optimizer: {choice: [adam, sgd]}\n" \
           "  train.optimizer.momentum: {between: [0.5, MAX], when: {train.optimizer: sgd}}\n"  # fmt: skip
    spec = load(BASE + axes.replace("MAX", "0.9"))
    picks = {"rate": 0.3, "rewind": "init", "granularity": "unit"}
    assert spec.recipe({**picks, "train.optimizer": "adam"}).train.optimizer.kind == "adam"
    sgd = spec.recipe({**picks, "train.optimizer": "sgd", "train.optimizer.momentum": 0.75}).train.optimizer
    assert (sgd.kind, sgd.momentum) == ("sgd", 0.75)
    with pytest.raises(SpecError, match=r"line 18: space.train.optimizer.momentum.between: with train.optimizer = sgd: "
                                        r"must be in \[0, 1\), but got 1$"):  # fmt: skip
        load(BASE + axes.replace("MAX", "1"))


NET = """\
from torch import nn

class Net(nn.Module):
    def __init__(self, width, outputs=10):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, outputs))

    def forward(self, x):
        if x.sum() > 1e9:  # looks at values, which a dry run without memory cannot
            raise ValueError
        return self.layers(x)
"""


def test_the_metric_is_taken_from_the_task(load: Load) -> None:
    assert load(BASE).objective.metric == Metric("accuracy")
    spec = load(BASE + "objective: {match: {metric: loss, margin: 1.5}}\n")
    assert spec.objective.metric == LOSS
    assert spec.objective.margin(0.5) == 1.5
    relative = load(BASE + "objective: {match: {metric: loss, margin: 10%}}\n")
    assert relative.objective.margin(0.5) == 0.05


def test_classes_beside_the_sweep_file(tmp_path: Path, load: Load) -> None:
    (tmp_path / "net_beside_the_file.py").write_text(NET)
    text = BASE.replace("{kind: mlp, hidden: [20]}", '{kind: "net_beside_the_file:Net", width: 7}')
    spec = load(text)
    assert spec.import_folder == tmp_path
    model = spec.recipe({"rate": 0.3, "rewind": "init", "granularity": "unit"}).model
    assert model == ImportedModel("net_beside_the_file:Net", '{"width": 7}')
    with pytest.raises(SpecError, match=r"line 4: trial.model: .* so \[2, 10\] for .* but gives \[2, 3\]"):
        load(text.replace("width: 7", "width: 7, outputs: 3"))
    with pytest.raises(SpecError, match=r"line 4: trial.model.hight: .*'hight'; allowed: outputs, width"):
        load(text.replace("width: 7", "hight: 7"))


HUGE = """\
import torch

class Huge(torch.nn.Sequential):
    def __init__(self):
        wide = 3_000_000
        layers = (torch.nn.Linear(*sizes) for sizes in ((64, wide), (wide, wide), (wide, 10)))
        super().__init__(torch.nn.Flatten(), *layers)
"""
FLAT = """\
import torch

class Flat:
    def __len__(self):
        return 100

    def __getitem__(self, i):
        return torch.ones(64) * i, i % 10
"""


def test_an_augmentation_that_does_not_fit_the_data(tmp_path: Path, load: Load) -> None:
    (tmp_path / "flat_beside_the_file.py").write_text(FLAT)
    text = BASE.replace("digits", '"flat_beside_the_file:Flat"')
    load(text)
    with pytest.raises(SpecError, match=r"line 7: trial.train.augment: crop-flip cannot change .* shape \[64\]: "):
        load(text.replace("batch: 60", "augment: crop-flip"))


def test_a_network_that_no_memory_holds_is_only_checked_for_its_shapes(load: Load) -> None:
    load(BASE.replace("hidden: [20]", "hidden: [3000000, 3000000]"))


def test_nor_is_one_of_the_users_own(tmp_path: Path, load: Load) -> None:
    (tmp_path / "huge_beside_the_file.py").write_text(HUGE)
    load(BASE.replace("{kind: mlp, hidden: [20]}", '"huge_beside_the_file:Huge"'))


def test_a_broken_module_says_where(tmp_path: Path, load: Load) -> None:
    (tmp_path / "broken_beside_the_file.py").write_text("import nothing_of_this_name\n")
    with pytest.raises(SpecError, match=r"line 3: trial.data: cannot import .*no module named 'nothing_of_this_name'"):
        load(BASE.replace("digits", '"broken_beside_the_file:Set"'))
