"""Every kind of task: its loss and metrics against other people's, a sweep from end to end, and wrong input."""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from sklearn.metrics import f1_score, jaccard_score, r2_score
from torch import Tensor, nn
from torch.nn import functional as F

from lth_sweep.cli import main
from lth_sweep.lottery.common.duration import Duration
from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.common.identity import digest
from lth_sweep.lottery.data import Examples, Splits
from lth_sweep.lottery.network.state import State
from lth_sweep.lottery.task import (
    Classification,
    LanguageModelling,
    MultiLabel,
    Regression,
    Segmentation,
    Tagging,
    Task,
)
from lth_sweep.lottery.task.metric import Metric, WholeMetric
from lth_sweep.lottery.task.reading import Own, read
from lth_sweep.lottery.training import evaluation
from lth_sweep.lottery.training.evaluation import evaluate, is_constant
from lth_sweep.lottery.training.train import Train
from lth_sweep.lottery.training.trainer import Replica, Trainer
from lth_sweep.search.answer import _spread
from lth_sweep.sweepfile.decode import decode
from lth_sweep.sweepfile.load import load_spec
from lth_sweep.sweepfile.mistakes import SpecError
from tests.lottery.tasks_of_all_kinds import Language, Several, Text, noise

HERE = "tests.lottery.tasks_of_all_kinds"
F1 = "torchmetrics.classification:MulticlassF1Score"


def judged(task: Task, output: Tensor, target: Tensor) -> dict[str, float]:
    """By a network that gives this output."""
    return evaluate(nn.Identity(), task, Examples(output, target))


def integers(high: int, *shape: int) -> Tensor:
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(1))


def test_classification() -> None:
    output, target = noise(3000, 5), integers(5, 3000)
    plain = judged(Classification(), output, target)
    found = judged(Classification(label_smoothing=0.1, class_weights=(1, 2, 3, 4, 5), top=(2,)), output, target)
    assert plain["loss"] == pytest.approx(float(F.cross_entropy(output, target)))
    assert found["accuracy"] == plain["accuracy"] == float((output.argmax(1) == target).double().mean())
    weight = torch.tensor([1.0, 2, 3, 4, 5])
    expected = F.cross_entropy(output, target, weight, reduction="none", label_smoothing=0.1).mean()
    assert found["loss"] == pytest.approx(float(expected))
    assert found["top_2"] == float((output.topk(2).indices == target[:, None]).any(1).double().mean())


def test_labels() -> None:
    output, target = noise(3000, 4), integers(2, 3000, 4)
    found = judged(MultiLabel(), output, target)
    said = (output > 0).long()
    assert found["loss"] == pytest.approx(float(F.binary_cross_entropy_with_logits(output, target.float())))
    assert found["f1"] == pytest.approx(f1_score(target, said, average="samples", zero_division=1))
    assert found["exact_match"] == float((said == target).all(1).double().mean())


@pytest.mark.parametrize("shape", [(3000,), (3000, 1), (3000, 3)])
def test_regression(shape: tuple[int, ...]) -> None:
    """[n, 1] less [n] is [n, n], and nobody is told."""
    target = noise(*shape)
    output = (target + 0.3 * noise(3000, *shape[1:]).flip(0) + 1).reshape(3000, -1)
    found = judged(Regression(), output, target + 1)
    flat = (output - 1).reshape(shape) - target
    assert found["mse"] == pytest.approx(float(flat.square().mean()), rel=1e-4)
    assert found["mae"] == pytest.approx(float(flat.abs().mean()), rel=1e-4)
    assert found["r2"] == pytest.approx(r2_score(target, (output - 1).reshape(shape)), abs=1e-4)
    assert found["loss"] == found["mse"]
    assert judged(Regression("absolute"), output, target + 1)["loss"] == pytest.approx(found["mae"])


@pytest.mark.parametrize("shift", [False, True])
def test_perplexity_is_of_tokens(shift: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """However they lie in examples, and examples in batches."""
    monkeypatch.setattr(evaluation, "MOST", 20_000)
    output, target = noise(1500, 7, 11), integers(11, 1500, 7)
    target[torch.arange(7) > integers(7, 1500)[:, None]] = -100
    found = judged(LanguageModelling(shift=shift), output, target)
    outputs, targets = (output[:, :-1], target[:, 1:]) if shift else (output, target)
    loss = float(F.cross_entropy(outputs.flatten(0, 1), targets.flatten()))
    assert found["loss"] == pytest.approx(loss, rel=1e-5)
    assert found["perplexity"] == pytest.approx(math.exp(loss), rel=1e-5)


def test_tags_count_place_by_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "MOST", 20_000)
    output, target = noise(1500, 7, 3), integers(3, 1500, 7)
    target[torch.arange(7) > integers(7, 1500)[:, None]] = -100
    there, found = target != -100, judged(Tagging(), output, target)
    assert found["loss"] == pytest.approx(float(F.cross_entropy(output[there], target[there])), rel=1e-5)
    assert found["accuracy"] == pytest.approx(float((output.argmax(2) == target)[there].double().mean()))


def test_segmentation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "MOST", 50_000)
    output, target = noise(1200, 4, 6, 6), integers(4, 1200, 6, 6)
    target[integers(3, 1200, 6, 6) == 0] = 255
    target[0] = 255
    there, said = target != 255, output.argmax(1)
    found = judged(Segmentation(), output, target)
    assert found["loss"] == pytest.approx(float(F.cross_entropy(output, target, ignore_index=255)), rel=1e-5)
    assert found["mean_iou"] == pytest.approx(jaccard_score(target[there], said[there], average="macro"))
    assert found["accuracy"] == pytest.approx(float((said == target)[there].double().mean()))


def test_metrics_of_torchmetrics() -> None:
    written = {"kind": "classification", "metrics": [{"kind": F1, "num_classes": 5, "name": "macro_f1"}]}
    task = decode(Task, written)
    output, target = noise(2500, 5), integers(5, 2500)
    found = judged(task, output, target)
    assert found["macro_f1"] == pytest.approx(f1_score(target, output.argmax(1), average="macro"))
    assert task.measured[1] == Metric("macro_f1", per_example=False)
    assert digest(decode(Task, written)) == digest(task) != digest(Classification())
    error = decode(Task, {"kind": "regression", "metrics": ["torchmetrics.regression:R2Score"]})
    assert error.metric("R2Score").format == "number"
    numbers = judged(error, output[:, :1], output[:, 0] + 0.1 * output[:, 1])
    assert numbers["R2Score"] == pytest.approx(numbers["r2"], abs=1e-5)


def test_the_default_task_is_what_it_was() -> None:
    """Stages that were trained before there were options are found again."""
    assert Classification().identity() == {"kind": "classification"}


def test_the_shortest_task_of_ones_own() -> None:
    metric = {"kind": "torchmetrics.regression:MeanAbsoluteError", "name": "mae"}
    task = decode(Task, {"kind": f"{HERE}:Quantile", "metrics": [metric]})
    assert [metric.name for metric in task.measured] == ["mae", "loss"]
    found = judged(decode(Task, f"{HERE}:Quantile"), noise(50, 1), noise(50))
    assert found == {"loss": 0.0}
    assert not is_constant(nn.Identity(), task, Examples(noise(50, 1), noise(50)))


def test_what_a_class_declares_stays_its_own() -> None:
    class Declared(Classification):
        metrics = (Metric("sharpness"),)  # type: ignore[assignment]

        def values(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
            return {"sharpness": output.softmax(1).amax(1)}

    assert [metric.name for metric in Declared().measured] == ["sharpness", "loss"]
    assert [metric.name for metric in Classification().measured] == ["accuracy", "loss"]
    twice = WholeMetric(F1, json.dumps({"num_classes": 3}), "sharpness")
    with pytest.raises(ConfigError, match="two are called sharpness"):
        Declared(metrics=(twice,))


OUTPUT = torch.zeros(2, 3)


@pytest.mark.parametrize("declared", ["accuracy", ("mse",), Metric("one"), (Metric("a/b"),)])
def test_what_cannot_be_metrics_is_refused(declared: Any) -> None:
    with pytest.raises(ConfigError, match="metrics"):
        type("Wrong", (Task,), {"metrics": declared})()


def test_the_spread_of_what_is_no_number_is_none() -> None:
    """As r2 is of targets that are all the same."""
    assert math.isnan(_spread([math.nan, math.nan]))
    assert math.isnan(_spread([1.0]))
    assert _spread([1.0, 3.0]) == pytest.approx(math.sqrt(2))


def test_classes_that_teach_nothing_are_refused() -> None:
    x, y = noise(20, 2), integers(2, 20)
    for task, target, says in ((Classification(), y * 0, "one class"), (Classification(class_weights=(0, 0)), y, "0")):
        examples = Examples(x, target)
        with pytest.raises(ConfigError, match=says):
            task.check(Splits(examples, examples, lambda examples=examples: examples, None))


@pytest.mark.parametrize("given", [
    OUTPUT, {"logits": OUTPUT, "hidden": noise(2)}, {"out": OUTPUT, "aux": noise(2)}, (OUTPUT, noise(2)), [OUTPUT],
    (OUTPUT, None), Several(None, OUTPUT), SimpleNamespace(logits=OUTPUT, state=3),
])  # fmt: skip
def test_the_output_is_found(given: Any) -> None:
    assert read(given) is OUTPUT


def test_the_output_is_named_and_a_loss_goes_with_it() -> None:
    loss = torch.tensor(2.0)
    assert read({"a": noise(2), "b": OUTPUT}, "b") is OUTPUT
    assert read((noise(2), OUTPUT), 1) is OUTPUT
    assert read(Several(loss, OUTPUT), "logits") is OUTPUT
    for given in (Several(loss, OUTPUT), (OUTPUT, loss), (loss, OUTPUT), {"loss": loss, "logits": OUTPUT}):
        own = read(given, own_loss=True)
        assert isinstance(own, Own)
        assert own.output is OUTPUT
        assert own.loss.tolist() == [2.0, 2.0]
        with pytest.raises(ConfigError, match="computes a loss of its own"):
            read(given)


@pytest.mark.parametrize(("gives", "own"), [("dict", None), ("named", "targets"), ("tuple", "targets")])
def test_replicas_in_one_call_learn_the_same(gives: str, own: str | None) -> None:
    """Each example counts by its tokens, in its own replica."""
    splits, task = Text().load(), LanguageModelling(targets=own)
    module = task.reading(Language(gives))
    recipe = Train(length=Duration(6, "steps"), batch=20, evaluate=Duration(3, "steps"))
    trainer = Trainer(module, recipe, task, recipe.clock(300), splits.train, splits.validation, torch.device("cpu"))
    starts = [Replica(State.of(Language(gives)), seed) for seed in (0, 1)]
    together = trainer.train(starts, 0, 6)
    for one, start in zip(together, starts, strict=True):
        [alone] = trainer.train([start], 0, 6)
        assert one.curve[-1].train_loss == pytest.approx(alone.curve[-1].train_loss, rel=1e-4)
        assert one.curve[-1].metrics == pytest.approx(alone.curve[-1].metrics, rel=1e-4)
    assert trainer.can_stack


SWEEP = """
name: {name}
trial:
  data: {data}
  task: {task}
  model: {model}
  train: {{length: 60 steps, batch: 50, optimizer: {{kind: adam, lr: 0.01}}, evaluate: 30 steps}}
  rate: 0.4
  levels: 2
  seeds: 2
space: {{granularity: {{choice: [weight, unit]}}}}
objective: {{minimize: [params, error], match: {{margin: {margin}}}}}
search: {{sampler: {{kind: grid, shuffle: false}}, trials: 2}}
stop: {{patience: null, race: null, hopeless: false}}
verify: {{top: 1, seeds: {seeds}, controls: [reinit]}}
"""
KINDS = {
    "numbers": ("Table", "regression", "{kind: mlp, hidden: [16]}", "80%", "mse"),
    "labels": ("Labels", '{kind: multi-label, metrics: [{kind: "torchmetrics.classification:MultilabelAUROC", '
               'num_labels: 3, name: auc}]}', "{kind: mlp, hidden: [16]}", "0.3", "f1"),
    "tokens": ("Text", "{kind: language-modelling, targets: targets}", f'{{kind: "{HERE}:Language", gives: named}}',
               "50%", "perplexity"),
    "tags": ("Text", "tagging", f'"{HERE}:Language"', "0.4", "accuracy"),
    "pixels": ("Shapes", "segmentation", f'"{HERE}:Segments"', "0.4", "mean_iou"),
    "quantile": ("Table", f'"{HERE}:Quantile"', "{kind: mlp, hidden: [16]}", "90%", "loss"),
}  # fmt: skip


def written(kind: str, folder: Path, seeds: int = 2, **changed: str) -> Path:
    data, task, model, margin, _ = KINDS[kind]
    fields = {"data": f'"{HERE}:{data}"', "task": task, "model": model, "margin": margin} | changed
    text = SWEEP.format(name=kind, seeds=seeds, **fields)
    (folder / "sweep.yaml").write_text(text)
    return folder / "sweep.yaml"


@pytest.mark.parametrize("kind", KINDS)
def test_a_sweep(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    written(kind, tmp_path)
    assert main(["run", "sweep.yaml", "--serial", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["trials"].get("failed", 0) == 0
    best = found["best"]
    assert best["metric"] == KINDS[kind][-1]
    assert best["verification"]["verdict"]["word"] in ("matches", "does not match", "undecided")
    pair = best["verification"]["verdict"]
    assert pair["lower"] < pair["difference"] < pair["upper"]
    assert main(["report", kind]) == 0
    assert main(["export", kind, "--formats", "safetensors,pt2"]) == 0


WRONG = {
    "a metric that the task has not": ("numbers", {"margin": "1, metric: accuracy"},
        "objective.match.metric: unknown metric 'accuracy'; allowed: loss, mae, mse, r2"),
    "an unknown option": ("numbers", {"task": "{kind: regression, eror: huber}"}, "task.eror: unknown key 'eror'"),
    "a loss that is one number": ("numbers", {"task": f'"{HERE}:Mean"'},
        "the loss of task .*:Mean must be one number for each example, so of shape .8. for 8 examples, but is .."),
    "a loss that fails": ("numbers", {"task": f'"{HERE}:Broken"'}, "raised KeyError: 'mask' .*, line"),
    "classes that are numbers": ("numbers", {"task": "classification"},
        "the task classification needs one label for each example, .* are float32 of shape"),
    "numbers that are tokens": ("tokens", {"task": "classification"}, "needs one label for each example"),
    "labels beyond 1": ("labels", {"data": f'{{kind: "{HERE}:Labels", worth: 2}}', "task": "multi-label"},
        "targets must be 0 or 1, but one is 2"),
    "tokens beyond the vocabulary": ("tokens", {"data": f'{{kind: "{HERE}:Text", most: 5}}'},
        "from 0 to 4, or -100, .* but one is 11"),
    "targets that overflow": ("numbers", {"data": f'{{kind: "{HERE}:Table", scale: 1.0e+30}}'},
        "the loss of task regression is not a number"),
    "a network of another task": ("pixels", {"model": f'"{HERE}:Language"'}, "trial.model"),
    "another output while it trains": ("tokens", {"model": f'{{kind: "{HERE}:Language", gives: more while it trains}}',
        "task": "language-modelling"}, r"the network gives a tensor when it is judged and \(0, 1\) while it trains"),
    "parts without a name that says it": ("tokens", {"model": f'{{kind: "{HERE}:Language", gives: unknown}}'},
        "the network gives a dict of a, b, and no logits; say which part is the output"),
    "a loss that nobody asked for": ("tokens", {"model": f'{{kind: "{HERE}:Language", gives: always a loss}}',
        "task": "language-modelling"}, "the network computes a loss of its own"),
    "no loss though it has the targets": ("tokens", {"model": f'{{kind: "{HERE}:Language", gives: tensor}}'},
        "trial.task.targets: the network is given the targets, but gives no loss"),
    "a metric that averages nothing": ("labels", {"task": '{kind: multi-label, metrics: [{kind: '
        '"torchmetrics.classification:MultilabelF1Score", num_labels: 3, average: none}]}'},
        "trial.task.metrics: the metric MultilabelF1Score must be one number, but gives 3"),
    "a metric's unknown option": ("labels", {"task": '{kind: multi-label, metrics: [{kind: '
        '"torchmetrics.classification:MultilabelF1Score", labels: 3}]}'}, "num_labels|unknown option 'labels'"),
    "a loss without a gradient": ("numbers", {"task": f'"{HERE}:Detached"'}, "does not depend on what is trained"),
    "a metric that is called as a column": ("labels", {"task": '{kind: multi-label, metrics: [{name: density, kind: '
        '"torchmetrics.classification:MultilabelF1Score", num_labels: 3}]}'},
        "trial.task.metrics: 'density' is a column"),
    "a metric of unknown direction": ("numbers", {"task":
        '{kind: regression, metrics: ["torchmetrics.regression:PearsonCorrCoef"]}'},
        "trial.task.metrics.0.higher_is_better: .* does not say whether higher is better"),
    "a parameter that forward has not": ("tokens", {"task": "{kind: language-modelling, targets: lables}"},
        "task.targets: unknown parameter of forward 'lables'"),
    "pixels that are not ignored": ("pixels", {"task": "{kind: segmentation, ignore: 7}"}, "so .2, 256, 8, 8. for"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_one_message_at_the_start(case: str, tmp_path: Path) -> None:
    kind, changed, message = WRONG[case]
    path = written(kind, tmp_path, **changed)
    with pytest.raises(SpecError, match=message):
        load_spec(path)


def test_a_metric_of_the_whole_set_needs_two_seeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written("pixels", tmp_path, seeds=1)
    assert main(["plan", str(path)]) == 2
    assert "verify.seeds: mean_iou is known of a whole set alone" in capsys.readouterr().err
    assert load_spec(written("tokens", tmp_path, seeds=1)).verify.seeds == 1  # perplexity has pairs of examples


def test_numbers_to_learn_are_not_rounded_to_what_a_network_in_bf16_gives() -> None:
    target = torch.tensor([[1001.0], [-3.3]])
    assert Regression().loss(torch.zeros(2, 1).bfloat16(), target).tolist() == pytest.approx([1001.0**2, 3.3**2])
