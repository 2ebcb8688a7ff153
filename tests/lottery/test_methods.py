"""Methods, masks drawn early, supermasks and controls: what is kept, what is trained, what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lth_sweep.lottery.common.duration import Duration
from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.experiments.controls import Control, control, other_masks
from lth_sweep.lottery.loop import next_level, run
from lth_sweep.lottery.network.initial.initialization import KaimingNormal, SignedConstant
from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.models import Conv2, Mlp, ResNet
from lth_sweep.lottery.network.state import State
from lth_sweep.lottery.network.structure import Network
from lth_sweep.lottery.pruning.criteria import BnScale, InitialMagnitude, MagnitudeIncrease, Random, Snip
from lth_sweep.lottery.pruning.granularity import NOfM, Unit, Weight
from lth_sweep.lottery.pruning.selection import Pool, pools_of_density, remove
from lth_sweep.lottery.recipe.methods import BeforeTraining, EdgePopup, Iterative, Method, OneShot
from lth_sweep.lottery.recipe.rewinding import FineTune, LearningRate, Reinit, Shuffle, ToStep
from lth_sweep.lottery.recipe.trial import Runtime, Train, TrialConfig
from lth_sweep.lottery.records import Level
from lth_sweep.lottery.runs.stages import Store
from lth_sweep.lottery.runs.states import States
from lth_sweep.lottery.training.edge_popup import ScoredNetwork
from lth_sweep.lottery.training.optimizers import SGD

TRIAL = TrialConfig(
    model=Mlp((32, 16)), train=Train(length=Duration(60, "steps"), evaluate=Duration(30, "steps")),
    rate=0.5, levels=2, seeds=1,
)  # fmt: skip


def levels(trial: TrialConfig, folder: Path, **runtime: Any) -> list[Level]:
    return list(run(trial, Store(folder), Runtime(**runtime)))


def ticket(folder: Path, stage: str) -> tuple[State, Masks]:
    trajectory, _, step = stage.partition("/")
    found = Store(folder).load(trajectory, int(step))
    assert found is not None
    return State.from_tensors(found.tensors), State.from_tensors(found.tensors).masks


def test_all_methods_share_the_dense_run(tmp_path: Path) -> None:
    methods: list[Method] = [Iterative(), OneShot(0.2), BeforeTraining(0.2), EdgePopup(0.2)]
    dense = [levels(replace(TRIAL, method=method), tmp_path)[0][0] for method in methods]
    assert len({record.stage for record in dense}) == 1
    assert [record.steps_trained for record in dense] == [60, 0, 0, 0]


@pytest.mark.parametrize("method", [OneShot(0.13), BeforeTraining(0.13), EdgePopup(0.13)])
@pytest.mark.parametrize("layer_rates", [{}, {"output": 0.5}, {"output": 0, "fc1": 2.0}])
def test_one_level_at_the_density(method: Method, layer_rates: dict[str, float], tmp_path: Path) -> None:
    """64 * 32 + 32 * 16 + 16 * 10 = 2,720 weights; each layer's count is rounded."""
    trial = replace(TRIAL, method=method, layer_rates=layer_rates, rate=0.4)
    found = levels(trial, tmp_path)
    assert [record.level for [record] in found] == [0, 1]
    assert found[1][0].density == pytest.approx(0.13, abs=1.5 / 2720)
    assert found[1][0].steps_trained == 60
    shares = found[1][0].layer_density
    if not layer_rates:
        assert set(shares.values()) <= {round(0.13 * n) / n for n in (2048, 512, 160)}
    elif "fc1" in layer_rates:
        assert shares["output"] == 1.0
        assert shares["fc1"] < shares["fc2"] < 1


def test_the_shares_of_a_density_are_those_of_the_ladder_that_comes_by_it() -> None:
    network = Network(Mlp((32, 16)).build(torch.zeros(2, 64), 10), torch.zeros(2, 64))
    full = network.full
    ladder = {"fc1": 0.8**5, "fc2": 0.8**5, "output": 0.9**5}
    kept = {"fc1": 2048 * ladder["fc1"], "fc2": 512 * ladder["fc2"], "output": 160 * ladder["output"]}
    pools = pools_of_density(sum(kept.values()) / 2720, full, network, Weight(), "layer", 0.2, {"output": 0.5})
    assert {pool.layers[0]: pool.left - pool.remove for pool in pools} == {k: round(v) for k, v in kept.items()}


def test_a_density_globally_and_of_units() -> None:
    network = Network(Mlp((32, 16)).build(torch.zeros(2, 64), 10), torch.zeros(2, 64))
    full = network.full
    assert pools_of_density(0.1, full, network, Weight(), "global", 0.2, {"output": 0}) == [
        Pool(("fc1", "fc2"), 2560, 2720 - 272)
    ]
    units = pools_of_density(0.25, full, network, Unit(), "layer", 0.2, {"output": 0.5})
    assert units == [Pool(("fc1",), 32, 24), Pool(("fc2",), 16, 12)]
    with pytest.raises(ConfigError, match=r"a density of 0\.05 cannot be reached.*spares alone hold 0\.0588"):
        pools_of_density(0.05, full, network, Weight(), "layer", 0.2, {"output": 0})


def test_one_shot_is_a_ladder_of_one_level(tmp_path: Path) -> None:
    plain = replace(TRIAL, layer_rates={}, rate=0.75)
    ladder = levels(replace(plain, levels=1), tmp_path)
    assert levels(replace(plain, method=OneShot(0.25)), tmp_path)[1][0].stage == ladder[1][0].stage


def test_before_training_scores_the_initial_weights(tmp_path: Path) -> None:
    trial = replace(TRIAL, method=BeforeTraining(0.25), layer_rates={}, criterion=InitialMagnitude())
    [record] = levels(trial, tmp_path)[1]
    initial = States(trial, Store(tmp_path), Runtime()).initial(0).model["fc1.weight"].abs()
    _, masks = ticket(tmp_path, record.stage)
    assert torch.equal(masks["fc1.weight"], initial >= initial.flatten().sort(descending=True).values[511])
    snip = levels(replace(trial, criterion=Snip()), tmp_path)[1][0]
    assert snip.density == record.density
    assert snip.stage != record.stage


def test_random_masks_nest(tmp_path: Path) -> None:
    """Two levels of a half and one level at a quarter, both by random scores, are the same ticket."""
    trial = replace(TRIAL, criterion=Random(), layer_rates={})
    two = levels(trial, tmp_path)[2][0]
    assert levels(replace(trial, method=BeforeTraining(0.25)), tmp_path)[1][0].stage == two.stage


# Masks drawn early


def test_masks_drawn_early_come_from_that_step_and_only_the_ends_are_trained_out(tmp_path: Path) -> None:
    trial = replace(TRIAL, mask_at=Duration(25, "%"), levels=3)
    found = [level[0] for level in levels(trial, tmp_path)]
    assert [record.finished for record in found] == [True, False, False, True]
    assert [record.steps_trained for record in found] == [60, 15, 15, 60]
    assert [record.stage.rpartition("/")[2] for record in found] == ["60", "15", "15", "60"]
    lab = States(trial, Store(tmp_path), Runtime())
    early = lab.at([lab.tree.dense(0)], 15)[0].state.model["fc1.weight"].abs()
    _, masks = ticket(tmp_path, found[1].stage)
    assert torch.equal(masks["fc1.weight"], early >= early.flatten().sort(descending=True).values[1023])
    whole = [level[0] for level in levels(replace(trial, mask_at=None), tmp_path)]
    assert whole[0].stage == found[0].stage
    assert whole[0].metrics == found[0].metrics
    assert whole[1].stage != found[1].stage


def test_masks_drawn_at_the_end_are_drawn_as_usual(tmp_path: Path) -> None:
    late = levels(replace(TRIAL, mask_at=Duration(100, "%")), tmp_path)
    usual = levels(TRIAL, tmp_path)
    assert [record.stage for [record] in late] == [record.stage for [record] in usual]
    assert all(record.finished for [record] in late)


@pytest.mark.parametrize("drawn", [Duration(10, "steps"), Duration(61, "steps")])
def test_masks_must_be_drawn_after_the_rewind_point_and_by_the_end(drawn: Duration) -> None:
    with pytest.raises(ConfigError, match=r"mask_at: must be after the rewind point, step 10, and by the end of"):
        replace(TRIAL, mask_at=drawn, rewind=ToStep(Duration(10, "steps"))).clock(1197)


# Supermasks


@pytest.mark.parametrize(
    ("model", "init"), [(Mlp((32, 16)), SignedConstant(scaled=True)), (ResNet(8, width=0.25), KaimingNormal())]
)
def test_edge_popup_keeps_exactly_k_of_the_unchanged_weights(model: Any, init: Any, tmp_path: Path) -> None:
    trial = replace(TRIAL, model=model, init=init, method=EdgePopup(0.3), layer_rates={})
    [record] = levels(trial, tmp_path)[1]
    state, masks = ticket(tmp_path, record.stage)
    lab = States(trial, Store(tmp_path), Runtime())
    initial = lab.initial(0)
    for layer in lab.network.layers:
        name = f"{layer}.weight"
        n = masks[name].numel()
        kept = n - int(round(0.7 * n, 9) + 0.5)
        assert masks.kept[name] == kept
        factor = (n / kept) ** 0.5 if init.scaled else 1.0
        assert torch.equal(state.model[name], initial.model[name] * factor * masks[name])
        if f"{layer}.bias" in state.model:
            assert not state.model[f"{layer}.bias"].any()
    for name, module in lab.network.module.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            assert (state.model[f"{name}.weight"] == 1).all()
            assert not state.model[f"{name}.bias"].any()
    assert record.stage.endswith("/60")
    assert [point.step for point in record.curve] == [30, 60]
    assert record.curve[-1].metrics["accuracy"] == record.metrics["accuracy"]
    assert record.curve[-1].metrics["loss"] == pytest.approx(record.metrics["loss"], rel=1e-4)


def test_edge_popup_learns(tmp_path: Path) -> None:
    """From chance, 10%: the weights are random and stay so."""
    train = Train(length=Duration(200, "steps"), evaluate=Duration(20, "steps"), optimizer=SGD(lr=0.1))
    trial = replace(TRIAL, train=train, model=Mlp((100,)), init=SignedConstant(), method=EdgePopup(0.5), layer_rates={})
    [record] = levels(trial, tmp_path)[1]
    assert record.curve[-1].train_loss < 0.5 * record.curve[0].train_loss
    assert record.metrics["accuracy"] > 0.8


def test_the_gradient_passes_straight_through_to_the_scores() -> None:
    """d loss / d |s| = d loss / d (effective weight) * weight, for all weights, kept or not."""
    torch.manual_seed(0)
    popup = ScoredNetwork(nn.Sequential(nn.Linear(4, 3, bias=False)), {"0.weight": 6})
    weight = popup.inner.get_buffer("0.weight")
    scores = torch.tensor([[0.1, -0.9, 0.2, -0.3], [0.8, 0.7, -0.05, 0.6], [-0.5, 0.4, 0.35, 0.01]])
    popup.scores[0].data.copy_(scores)
    assert [name for name, _ in popup.named_parameters()] == ["scores.0"]
    mask = torch.tensor([[0, 1, 0, 0], [1, 1, 0, 1], [1, 1, 0, 0]])
    x = torch.randn(5, 4)
    y = popup(x)
    assert torch.equal(y, x @ (weight * mask).T)
    direction = torch.randn(5, 3)
    y.backward(direction)
    assert popup.scores[0].grad is not None
    torch.testing.assert_close(popup.scores[0].grad, (direction.T @ x) * weight * scores.sign())


def test_a_supermask_goes_on_from_where_it_was_interrupted(tmp_path: Path) -> None:
    trial = replace(TRIAL, method=EdgePopup(0.3))
    work, unbroken = (States(trial, Store(tmp_path / name), Runtime()) for name in "ab")
    ends = []
    for lab, stops in ((work, (30, 60)), (unbroken, (60,))):
        for stop in stops:
            dense = lab.tree.dense(0)
            path = next_level(lab, dense, dense, lab.at([dense], 0)[0], 0)
            [trained] = lab.at([path], stop)
        ends.append(trained)
    assert work.trained == unbroken.trained == {0: 60}
    assert ends[0].state.masks.density == pytest.approx(0.3, abs=0.01)
    assert ends[0].state.masks.digest == ends[1].state.masks.digest
    assert ends[0].curve == ends[1].curve


def test_a_twin_goes_on_with_the_scores_of_the_run_that_it_parts_from(tmp_path: Path) -> None:
    lab = States(replace(TRIAL, method=EdgePopup(0.3)), Store(tmp_path), Runtime())
    dense = lab.tree.dense(0)
    path = next_level(lab, dense, dense, lab.at([dense], 0)[0], 0)
    [parted], [twin] = lab.at([path], 30), lab.at([lab.tree.twin(path, 30, 1)], 30)
    assert twin.state.model.keys() == parted.state.model.keys()
    [end], [other] = lab.at([path], 60), lab.at([lab.tree.twin(path, 30, 1)], 60)
    assert end.state.masks.digest != other.state.masks.digest


def test_supermasks_of_several_seeds_in_batched_runs(tmp_path: Path) -> None:
    trial = replace(TRIAL, method=EdgePopup(0.3), seeds=2)
    one = levels(trial, tmp_path / "a")
    other = levels(trial, tmp_path / "b", batched=True)
    assert [record.stage for record in one[1]] == [record.stage for record in other[1]]
    assert [record.metrics for record in one[1]] == [record.metrics for record in other[1]]
    assert one[1][0].stage != one[1][1].stage


# What does not go together


@pytest.mark.parametrize(
    ("options", "field", "names"),
    [
        ({"method": EdgePopup(0.3), "rewind": ToStep(Duration(5, "steps"))}, "method", ("edge-popup", "rewind step")),
        ({"method": EdgePopup(0.3), "criterion": Snip()}, "method", ("edge-popup", "criterion snip")),
        ({"method": EdgePopup(0.3), "granularity": Unit()}, "method", ("edge-popup", "granularity unit")),
        ({"method": EdgePopup(0.5), "granularity": NOfM()}, "method", ("edge-popup", "granularity n-m")),
        ({"method": EdgePopup(0.3), "scope": "global"}, "method", ("edge-popup", "scope global")),
        ({"method": EdgePopup(0.3), "mask_at": Duration(5, "%")}, "method", ("edge-popup", "mask_at")),
        ({"method": BeforeTraining(0.3), "criterion": MagnitudeIncrease()}, "method", ("before-training", "criterion")),
        ({"method": BeforeTraining(0.3), "rewind": LearningRate()}, "method", ("before-training", "rewind learning")),
        ({"method": BeforeTraining(0.3), "rewind": FineTune()}, "method", ("before-training", "rewind fine-tune")),
        ({"method": BeforeTraining(0.3), "rewind": Shuffle(Duration(5, "steps"))}, "method", ("rewind shuffle",)),
        ({"method": BeforeTraining(0.3), "mask_at": Duration(5, "%")}, "method", ("before-training", "mask_at")),
        ({"method": OneShot(0.3), "granularity": NOfM()}, "method", ("one-shot", "granularity n-m", "0.5")),
        ({"granularity": NOfM(), "scope": "global"}, "scope", ("scope global", "granularity n-m")),
        ({"criterion": BnScale()}, "criterion", ("criterion bn-scale", "granularity weight")),
        ({"init": KaimingNormal(scaled=True), "rewind": FineTune()}, "init.scaled", ("init.scaled", "fine-tune")),
        ({"mask_at": Duration(5, "%"), "rewind": FineTune()}, "mask_at", ("mask_at", "rewind fine-tune")),
    ],
)
def test_refused(options: dict[str, Any], field: str, names: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        TrialConfig(**options)
    assert caught.value.path == field
    assert all(name in caught.value.message for name in names)


def test_allowed_all_the_same() -> None:
    TrialConfig(method=BeforeTraining(0.5), granularity=NOfM(), rewind=Reinit())
    TrialConfig(method=BeforeTraining(0.5), rewind=Shuffle())
    TrialConfig(method=OneShot(0.5), mask_at=Duration(5, "%"), rewind=LearningRate())
    TrialConfig(init=SignedConstant(scaled=True), rewind=ToStep(Duration(0, "steps")))
    with pytest.raises(ConfigError, match="density: must be between 0 and 1 exclusive, but got 1"):
        OneShot(1)


def test_a_criterion_that_the_network_cannot_have_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'fc1' has none"):
        next(run(replace(TRIAL, criterion=BnScale(), granularity=Unit()), Store(tmp_path), Runtime()))
    assert not list(tmp_path.iterdir())


# Controls


@pytest.mark.parametrize("granularity", [Weight(), Unit(), Unit(coupled=True)])
@pytest.mark.parametrize("kind", ["reinit", "shuffle", "random"])
def test_controls_have_the_tickets_density(kind: Control, granularity: Any, tmp_path: Path) -> None:
    trial = replace(TRIAL, model=Conv2(width=0.125), granularity=granularity, rewind=ToStep(Duration(10, "steps")))
    store = Store(tmp_path)
    [found] = levels(trial, tmp_path)[1]
    record = control(trial, store, Runtime(), found, kind)
    assert (record.level, record.seed, record.trial, record.finished) == (1, 0, found.trial, True)
    assert record.layer_density == found.layer_density
    assert record.steps_trained == (60 if kind == "reinit" else 50)
    assert record.stage != found.stage
    again = control(trial, store, Runtime(), found, kind)
    assert again.result() == record.result()
    assert again.steps_trained == 0
    _, masks = ticket(tmp_path, found.stage)
    _, others = ticket(tmp_path, record.stage)
    assert (masks.digest == others.digest) == (kind == "reinit")
    whole = [bool((~others[name].flatten(1).any(1)).any()) for name in others.weights]
    assert any(whole) == (kind != "random" and not isinstance(granularity, Weight))


def test_other_masks_are_uniform() -> None:
    """Over 400 draws of 4 out of 16, each weight is kept 100 times, give or take 5 standard deviations of 8.7."""
    network = Network(nn.Sequential(nn.Linear(4, 4)), torch.zeros(2, 4))
    masks = Masks({"0.weight": torch.arange(16).view(4, 4) < 4})
    drawn = [other_masks(masks, network, Weight(), seed)["0.weight"] for seed in range(400)]
    assert {int(mask.sum()) for mask in drawn} == {4}
    counts = torch.stack(drawn).sum(0)
    assert 56 < counts.min() <= counts.max() < 144


def test_what_has_no_controls(tmp_path: Path) -> None:
    store = Store(tmp_path)
    [dense], [found] = levels(replace(TRIAL, levels=1), tmp_path)
    with pytest.raises(ConfigError, match="level 0 is the dense network"):
        control(TRIAL, store, Runtime(), dense, "reinit")
    with pytest.raises(ConfigError, match="edge-popup has no controls"):
        control(replace(TRIAL, method=EdgePopup(0.5)), store, Runtime(), found, "reinit")
    with pytest.raises(ConfigError, match="level 1, seed 0, is not in"):
        control(TRIAL, Store(tmp_path / "other"), Runtime(), found, "reinit")


@pytest.mark.parametrize(("rule", "steps"), [(LearningRate(Duration(10, "steps")), 50), (FineTune(), 60)])
def test_controls_of_rules_that_keep_weights_start_from_the_dense_run(rule: Any, steps: int, tmp_path: Path) -> None:
    trial = replace(TRIAL, rewind=rule)
    [found] = levels(trial, tmp_path, snapshots=(10,))[2]
    assert control(trial, Store(tmp_path), Runtime(), found, "shuffle").steps_trained == steps


def test_removing_nothing_leaves_everything() -> None:
    network = Network(nn.Sequential(nn.Linear(4, 4)), torch.zeros(2, 4))
    full = Masks.full({"0.weight": (4, 4)})
    left = remove(lambda _: {"0": torch.rand(4, 4)}, full, network, Weight(), [Pool(("0",), 16, 0)], rounds=5)
    assert left.is_full
