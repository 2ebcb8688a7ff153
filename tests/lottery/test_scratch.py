"""The same shape from scratch: the smaller network that unit pruning leaves, with initial weights of its own."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lth_sweep.lottery.common.duration import Duration
from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.experiments.controls import NoControl, control
from lth_sweep.lottery.loop import run
from lth_sweep.lottery.network.compaction import compact
from lth_sweep.lottery.network.initial.initialization import KaimingNormal
from lth_sweep.lottery.network.models import Conv2, Mlp, Model, ResNet
from lth_sweep.lottery.pruning.granularity import NOfM, Unit, Weight
from lth_sweep.lottery.recipe.methods import BeforeTraining
from lth_sweep.lottery.recipe.rewinding import Scratch, ToStep
from lth_sweep.lottery.recipe.trial import Runtime, Train, TrialConfig
from lth_sweep.lottery.records import LevelRecord
from lth_sweep.lottery.runs.stages import Store
from lth_sweep.lottery.runs.states import States
from lth_sweep.lottery.runs.tree import Trajectory
from lth_sweep.lottery.ticket.ticket import Ticket
from lth_sweep.lottery.training.mask_rules import Fixed as FixedMasks
from lth_sweep.lottery.training.trainer import Replica

TRIAL = TrialConfig(
    model=Mlp((32, 16)),
    train=Train(length=Duration(60, "steps"), evaluate=Duration(30, "steps")),
    granularity=Unit(),
    layer_rates={},
    rate=0.5,
    rewind=ToStep(Duration(10, "steps")),
    levels=1,
    seeds=1,
)


def found(trial: TrialConfig, folder: Path) -> LevelRecord:
    """The ticket of level 1."""
    return list(run(trial, Store(folder), Runtime()))[1][0]


def test_it_is_trained_like_a_network_of_that_size(tmp_path: Path) -> None:
    """64-32-16-10 without half of its units is 64-16-8-10: initial weights and training are the same bit by bit."""
    ticket = found(TRIAL, tmp_path)
    record = control(TRIAL, Store(tmp_path), Runtime(), ticket, "scratch")
    masks = Ticket.load(TRIAL, ticket, Store(tmp_path)).masks

    small = States(replace(TRIAL, model=Mlp((16, 8))), Store(tmp_path / "small"), Runtime())
    start = small.initial(0, "scratch", masks.digest)
    [trained] = small.trainer.train([Replica(start, 0)], 0, 60)
    control_ = Ticket.load(TRIAL, record, Store(tmp_path))
    plan = States(TRIAL, Store(tmp_path), Runtime()).smaller(masks)
    assert control_.masks.digest == masks.digest
    for name, tensor in trained.state.model.items():
        assert torch.equal(plan.gather(name, control_.state.model[name]), tensor), name
    assert (record.level, record.seed, record.layer_density) == (1, 0, ticket.layer_density)
    assert (record.steps_trained, record.metrics["accuracy"]) == (60, trained.curve[-1].metrics["accuracy"])
    again = control(TRIAL, Store(tmp_path), Runtime(), ticket, "scratch")
    assert (again.steps_trained, again.result()) == (0, record.result())


@pytest.mark.parametrize("model", [Conv2(width=0.25), ResNet(8, 0.5)], ids=lambda model: model.kind)
def test_weights_are_drawn_for_the_fan_in_of_the_smaller_network(model: Model, tmp_path: Path) -> None:
    trial = replace(TRIAL, model=model, init=KaimingNormal())
    trial = replace(trial, train=replace(trial.train, length=Duration(2, "steps")), rewind=ToStep(Duration(1, "steps")))
    ticket = found(trial, tmp_path)
    masks = Ticket.load(trial, ticket, Store(tmp_path)).masks
    lab = States(trial, Store(tmp_path), Runtime())
    module = lab.network.module
    module.load_state_dict(lab.initial(0, "scratch", masks.digest, masks=masks).masked(masks).model)
    for name, layer in compact(module, masks, torch.zeros(2, *lab.splits.shape)).named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            weight: Tensor = layer.weight
            expected = (2 / weight[0].numel()) ** 0.5
            assert weight.std().item() == pytest.approx(expected, abs=5 * expected / (2 * weight.numel()) ** 0.5), name
            if name != "output":
                assert len(weight) <= len(module.get_submodule(name).weight)  # type: ignore[arg-type]


def test_as_a_rule_each_level_starts_from_another_draw(tmp_path: Path) -> None:
    lab = States(replace(TRIAL, rewind=Scratch()), Store(tmp_path), Runtime())
    dense = lab.tree.dense(0)

    def path(units: int) -> Trajectory:
        gone = torch.arange(32) >= units
        [entries] = [lab.trial.granularity.without({"fc1": gone}, lab.network.full, lab.network)]
        return lab.tree.level(dense, dense, 60, entries, FixedMasks())

    whole, half, quarter = path(32), path(16), path(8)
    assert whole.digest != dense.digest
    assert len({path.digest for path in (whole, half, quarter)}) == 3
    starts = [lab.at([path], 0)[0].state.model["fc2.weight"] for path in (whole, half, quarter)]
    assert [int(start.any(0).sum()) for start in starts] == [32, 16, 8]
    assert not torch.equal(starts[1][:, :8], starts[2][:, :8])


def test_a_scaled_initialisation_is_not_scaled_twice(tmp_path: Path) -> None:
    scaled = replace(TRIAL, init=KaimingNormal(scaled=True), rewind=ToStep(Duration(0, "steps")))
    plain = replace(scaled, init=KaimingNormal())
    records = []
    for trial, folder in ((scaled, "scaled"), (plain, "plain")):
        store = Store(tmp_path / folder)
        network = plain.network()  # of both: the first half of the units of fc1
        masks = plain.granularity.without({"fc1": torch.arange(32) >= 16}, network.full, network)
        lab = States(trial, store, Runtime())
        [state] = lab.at([lab.tree.branch(lab.tree.dense(0), 0, masks, Scratch().start(lab.clock))], 0)
        records.append(state.state.model["fc2.weight"])
    assert torch.equal(*records)


def test_where_there_is_no_smaller_network_there_is_no_such_control(tmp_path: Path) -> None:
    for granularity in (Weight(), NOfM()):
        trial = replace(TRIAL, granularity=granularity)
        with pytest.raises(NoControl, match=f"with granularity {granularity.kind} the network keeps its shape"):
            control(trial, Store(tmp_path), Runtime(), found(trial, tmp_path), "scratch")


def test_what_it_goes_with() -> None:
    for granularity in (Weight(), NOfM()):
        with pytest.raises(ConfigError, match=f"rewind scratch draws .* granularity {granularity.kind}; use") as caught:
            replace(TRIAL, granularity=granularity, rewind=Scratch())
        assert caught.value.path == "rewind"
    with pytest.raises(ConfigError, match=r"init\.scaled .* rewind scratch"):
        replace(TRIAL, init=KaimingNormal(scaled=True), rewind=Scratch())
    replace(TRIAL, method=BeforeTraining(0.5), rewind=Scratch())
