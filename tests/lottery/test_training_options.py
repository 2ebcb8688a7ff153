"""Options of training: parameter groups, clipping, accumulation."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lth_sweep.lottery.common.duration import Clock, Duration
from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.common.identity import digest
from lth_sweep.lottery.loop import run
from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.models import Mlp
from lth_sweep.lottery.network.state import State
from lth_sweep.lottery.recipe.rewinding import LearningRate, Rewind, Signs, ToInit, ToStep
from lth_sweep.lottery.recipe.trial import Runtime, Train, TrialConfig
from lth_sweep.lottery.runs.stages import Store
from lth_sweep.lottery.task import Classification, Task
from lth_sweep.lottery.ticket.ticket import Ticket
from lth_sweep.lottery.training.averaging import Exponential
from lth_sweep.lottery.training.evaluation import evaluate
from lth_sweep.lottery.training.groups import check_lr_factors, grouped
from lth_sweep.lottery.training.mask_rules import MaskRule
from lth_sweep.lottery.training.optimizers import SGD, Adam, AdamW, Optimizer
from lth_sweep.lottery.training.schedules import Linear
from lth_sweep.lottery.training.trainer import Replica
from lth_sweep.sweepfile.decode import decode
from tests.lottery.test_training import RECIPE, assert_equal, conv, half_masks, mlp, start, task


class Counting(torch.optim.Optimizer):
    """A user's own, which counts in a number, draws noise, and looks at whole parameters."""

    def __init__(self, params: Any, lr: float = 0.1, keeps: str = "number") -> None:
        super().__init__(params, {"lr": lr})
        self.keeps, self.steps = keeps, 0

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.steps += 1
        for group in self.param_groups:
            for weight in group["params"]:
                state = self.state[weight]
                state["step"] = state.get("step", 0) + 1
                state["decayed"] = 0.9 * state.get("decayed", 1.0)
                if self.keeps == "list":
                    state["gradients"] = [weight.grad]
                rate = group["lr"] * state["decayed"] / (self.steps if self.keeps == "self" else state["step"])
                size = weight.grad.norm() + 1e-6
                weight -= rate * (weight.grad / size + 1e-3 * torch.rand_like(weight))


class NoRate(torch.optim.SGD):
    def __init__(self, params: Any) -> None:
        super().__init__(params, lr=0.1)


def imported(path: str, **options: Any) -> Optimizer:
    found = decode(Optimizer, {"kind": path, **options})
    assert isinstance(found, Optimizer)
    return found


OPTIONS: dict[str, dict[str, Any]] = {
    "clipped": {"clip_norm": 0.5, "optimizer": SGD(lr=0.1)},
    "accumulated": {"accumulate": 5},
    "groups": {"lr_factors": {"5": 10.0, "*.bias": 0.5}, "decay": "weights", "optimizer": AdamW(weight_decay=0.1)},
    "linear": {"schedule": Linear()},
    "ema": {"average": Exponential(decay=0.9)},
    "rmsprop": {"optimizer": imported("torch.optim:RMSprop", lr=0.01, momentum=0.9, eps=1e-3), "clip_norm": 1.0},
    "adagrad": {"optimizer": imported("torch.optim:Adagrad", lr=0.05, eps=1e-3)},
    "nadam": {"optimizer": imported("torch.optim:NAdam", lr=0.01), "average": Exponential(decay=0.9)},
    "asgd": {"optimizer": imported("torch.optim:ASGD", lr=0.05, t0=5.0, alpha=0.5)},
    "all": {
        "clip_norm": 0.5,
        "accumulate": 2,
        "decay": "weights",
        "optimizer": Adam(weight_decay=0.1),
        "average": Exponential(decay=0.9),
    },
}


ALONE: dict[str, dict[str, Any]] = {
    "adafactor": {"optimizer": imported("torch.optim:Adafactor", weight_decay=0.1), "decay": "weights"},
    "adafactor in float16": {"optimizer": imported("torch.optim:Adafactor"), "precision": "float16"},
    "numbers": {"optimizer": imported(f"{__name__}:Counting", lr=0.05)},
    "float16": {"precision": "float16"},
    "float16, clipped": {"precision": "float16", "clip_norm": 0.5, "accumulate": 2, "optimizer": SGD(lr=0.1)},
}
"""That several replicas cannot be trained with in one call. float16 on a CPU, which sweeps do not do."""


def named(options: dict[str, dict[str, Any]]) -> Any:
    return pytest.mark.parametrize("options", options.values(), ids=list(options))


@named(OPTIONS | ALONE)
@pytest.mark.parametrize("stops", [(7, 10, 33), (1, 2, 59)], ids=str)
def test_stopped_and_resumed_is_bit_equal_to_unbroken(options: dict[str, Any], stops: tuple[int, ...]) -> None:
    """With dropout and BatchNorm, from a dense state of its own in the middle of a run, under masks."""
    work = task(conv(), replace(RECIPE, **options))
    dense = work.train([Replica(start(work.module), 3)], 0, 5)[0].state
    masks = half_masks(dense)
    unbroken = work.train([Replica(dense.masked(masks), 3)], 0, 60)[0]
    replica, before = Replica(dense.masked(masks), 3), 0
    for stop in (*stops, 60):
        replica = replace(replica, state=State.from_tensors(replica.state.to_tensors()))
        [replica], before = work.train([replica], before, stop), stop
    assert_equal(replica.state, unbroken.state)
    assert replica.curve == unbroken.curve
    assert all(not replica.state.model[name][~masks[name]].any() for name in masks)
    assert all(not replica.state.averaged.model[name][~masks[name]].any() for name in masks)


@named(OPTIONS | ALONE)
def test_an_option_changes_what_is_trained(options: dict[str, Any]) -> None:
    plain = replace(RECIPE, optimizer=options.get("optimizer", Adam())) if len(options) > 1 else RECIPE
    found = []
    for recipe in (plain, replace(RECIPE, **options)):
        work = task(conv(0.0), recipe)
        found.append(work.train([Replica(start(work.module), 0)], 0, 20)[0].state)
    assert any(not torch.equal(tensor, found[1].averaged.model[name]) for name, tensor in found[0].model.items())


@pytest.mark.parametrize("optimizer", [SGD(lr=0.1), Adam(weight_decay=0.1)], ids=str)
def test_the_scale_of_losses_is_that_of_pytorch(optimizer: Optimizer) -> None:
    """It starts too high for float16: steps without finite gradients change nothing but the scale, which halves."""
    work = task(mlp(), replace(RECIPE, precision="float16", optimizer=optimizer))
    begin = start(work.module)
    high = replace(begin, numbers={"loss_scale": 2.0**40, "loss_scale_steps": 7.0})
    found = [replica.state for step in (1, 2) for replica in work.train([Replica(high, 0)], 0, step)]
    assert [state.numbers for state in found] == [{"loss_scale": 2.0**k, "loss_scale_steps": 0.0} for k in (39, 38)]
    for state in found:
        assert all(torch.equal(tensor, begin.model[name]) for name, tensor in state.model.items())
        assert all(tensor.isfinite().all() for kept in state.optimizer.values() for tensor in kept.values())
        assert all(kept.get("step", torch.zeros(())) == 0 for kept in state.optimizer.values())
    [low] = work.train([Replica(replace(begin, numbers={"loss_scale": 2.0, "loss_scale_steps": 1999.0}), 0)], 0, 1)
    assert low.state.numbers == {"loss_scale": 4.0, "loss_scale_steps": 0.0}
    [full] = replace(work, recipe=replace(work.recipe, precision="float32")).train([Replica(begin, 0)], 0, 1)
    for name, tensor in full.state.model.items():
        torch.testing.assert_close(low.state.model[name], tensor, rtol=1e-2, atol=1e-3)
        assert low.state.model[name].dtype == torch.float32
    assert not work.can_stack


def test_float16_needs_a_gpu(tmp_path: Path) -> None:
    trial = TrialConfig(train=replace(RECIPE, precision="float16"))
    with pytest.raises(ConfigError, match=r"train.precision: float16 needs a GPU: set resources.gpu, or use bf16"):
        next(run(trial, Store(tmp_path), Runtime()))


def test_an_average_is_that_of_the_weights_after_each_step() -> None:
    """Of all that is trained, and of BatchNorm's statistics; it changes nothing of what is trained."""
    work = task(conv(), replace(RECIPE, average=Exponential(decay=0.9)))
    plain = replace(work, recipe=RECIPE)
    averaged = work.train([Replica(start(work.module), 0)], 0, 20)[0]
    replica, seen = Replica(start(work.module), 0), []
    for step in range(20):
        [replica] = plain.train([replica], step, step + 1)
        seen.append(replica.state.model)
    for name, tensor in seen[-1].items():
        assert torch.equal(averaged.state.model[name], tensor)
        assert (name in averaged.state.average) == tensor.is_floating_point()
    for name, tensor in averaged.state.average.items():
        shares = [0.9 ** (19 - step) for step in range(20)]
        by_hand = sum(share * model[name].double() for share, model in zip(shares, seen, strict=True)) / sum(shares)
        torch.testing.assert_close(tensor.double(), by_hand, rtol=1e-4, atol=1e-6)
    averaged.state.averaged.load(work.module)
    assert averaged.curve[-1].metrics == evaluate(work.module, work.task, work.validation)
    replica.state.load(work.module)
    assert averaged.curve[-1].metrics != evaluate(work.module, work.task, work.validation)


def test_a_constant_stays_itself_in_an_average() -> None:
    module = conv()
    module[5].weight.requires_grad_(False)  # type: ignore[index]
    module.register_buffer("constant", torch.rand(3))
    work = task(module, replace(RECIPE, average=Exponential(decay=0.9)))
    begin = start(module)
    found = work.train([Replica(begin, 0)], 0, 20)[0].state
    assert torch.equal(found.average["constant"], begin.model["constant"])
    assert "5.weight" not in found.average


class _Wandering(MaskRule):
    """Other masks at every third step."""

    def due(self, step: int, clock: Clock) -> bool:
        return step % 3 == 0

    def update(self, weights: Any, masks: Any, gradients: Any, step: int, seed: int) -> Any:
        return {name: torch.rand(mask.shape, generator=torch.Generator().manual_seed(step)) < 0.5
                for name, mask in masks.items()}  # fmt: skip


@named(OPTIONS)
def test_what_masks_that_change_leave_out_is_zero(options: dict[str, Any]) -> None:
    work = task(conv(0.0), replace(RECIPE, **options))
    begin = start(work.module)
    replicas = [Replica(begin.masked(half_masks(begin)), seed) for seed in range(2)]
    for found in (work.train(replicas[:1], 0, 20, rule=_Wandering()), work.train(replicas, 0, 20, rule=_Wandering())):
        for state in (replica.state for replica in found):
            assert state.masks.digest != replicas[0].state.masks.digest
            for name, mask in state.masks.tensors.items():
                assert not state.model[name][~mask].any()
                assert not state.averaged.model[name][~mask].any()


@pytest.mark.parametrize("rewind", [ToInit(), ToStep(Duration(10, "steps")), LearningRate(), Signs()], ids=str)
def test_tickets_of_averages(rewind: Rewind, tmp_path: Path) -> None:
    """What is measured and exported is the average; it is pruned only where that is asked for."""
    trial = TrialConfig(train=replace(RECIPE, average=Exponential(decay=0.9)), levels=2, seeds=2, rewind=rewind,
                        model=Mlp((16,)))  # fmt: skip
    found = {}
    for name, train in {
        "plain": RECIPE, "ema": trial.train, "pruned": replace(RECIPE, average=Exponential(0.9, prune=True))
    }.items():  # fmt: skip
        recipe, store = replace(trial, train=train), Store(tmp_path)
        found[name] = [records[0] for records in run(recipe, store, Runtime())]
        ticket = Ticket.load(recipe, found[name][1], store)
        assert bool(ticket.state.average) == (name != "plain")
        for network in (ticket.module, ticket.masked, ticket.exported):
            metrics = evaluate(network, trial.task, ticket.splits.validation)
            assert metrics == pytest.approx({key: found[name][1].metrics[key] for key in metrics}, rel=1e-4)
        assert all(not ticket.state.averaged.model[key][~mask].any() for key, mask in ticket.masks.tensors.items())
    masks = {name: Ticket.load(trial, records[1], Store(tmp_path)).masks.digest for name, records in found.items()}
    assert masks["plain"] == masks["ema"] != masks["pruned"]
    assert found["ema"][0].stage == found["pruned"][0].stage != found["plain"][0].stage


@named(OPTIONS)
def test_replicas_in_one_call_are_equal_to_one_by_one_within_tolerance(options: dict[str, Any]) -> None:
    work = task(conv(0.0), replace(RECIPE, **options))
    assert work.can_stack
    states = [start(work.module, seed) for seed in range(3)]
    replicas = [
        Replica(state.masked(half_masks(state, seed)) if seed else state, seed) for seed, state in enumerate(states)
    ]
    apart = [work.train([work.train([replica], 0, 25)[0]], 25, 40)[0] for replica in replicas]
    together = work.train(work.train(replicas, 0, 25), 25, 40)
    for one, other in zip(apart, together, strict=True):
        a, b = one.state.to_tensors(), other.state.to_tensors()
        assert a.keys() == b.keys()
        for name in a:
            torch.testing.assert_close(a[name], b[name], rtol=1e-3, atol=1e-5, msg=name)
        for p, q in zip(one.curve, other.curve, strict=True):
            assert q.metrics["loss"] == pytest.approx(p.metrics["loss"], rel=1e-3)


@pytest.mark.parametrize("diverged", [0, 1])
def test_a_replica_that_has_diverged_takes_nothing_from_the_others(diverged: int) -> None:
    """Neither their momenta nor their averages, though it has none of its own to go on from."""
    work = task(mlp(), replace(RECIPE, optimizer=SGD(lr=0.1), average=Exponential(decay=0.9)))
    replicas = [Replica(start(work.module, seed), seed) for seed in (0, 1)]
    model = {name: tensor * math.nan for name, tensor in replicas[diverged].state.model.items()}
    replicas[diverged] = replace(replicas[diverged], state=State(model))
    first = work.train(replicas, 0, 20, end=20)
    assert not first[diverged].state.optimizer
    last = work.train(first, 20, 40)[1 - diverged]
    alone = work.train(replicas, 0, 40)[1 - diverged]
    for name, tensor in last.state.to_tensors().items():
        torch.testing.assert_close(tensor, alone.state.to_tensors()[name], msg=name)


def test_an_optimizer_of_whole_parameters_sees_nothing_of_what_is_pruned() -> None:
    """Muon multiplies the matrix of momenta: those that masked weights had in the dense run would turn the others."""
    work = task(mlp(), replace(RECIPE, optimizer=imported(f"{__name__}:MuonOfMatrices", lr=0.01)))
    dense = work.train([Replica(start(work.module), 0)], 0, 10)[0].state
    begin = dense.masked(half_masks(dense))
    optimizer = {
        name: {key: t * begin.masks[name] if name in begin.masks and t.shape == begin.masks[name].shape else t
               for key, t in kept.items()}
        for name, kept in begin.optimizer.items()
    }  # fmt: skip
    found = [work.train([Replica(state, 0)], 10, 15)[0].state for state in (begin, replace(begin, optimizer=optimizer))]
    assert_equal(*found)


class MuonOfMatrices(torch.optim.SGD):
    """Orthogonal updates (Jordan et al. 2024), by a singular value decomposition; of biases those of SGD."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, lr=lr, momentum=0.9)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weight in group["params"]:
                momentum = self.state[weight].setdefault("momentum_buffer", torch.zeros_like(weight))
                momentum.mul_(group["momentum"]).add_(weight.grad)
                if weight.ndim == 2:
                    u, _, v = torch.linalg.svd(momentum, full_matrices=False)
                    momentum = u @ v
                weight -= group["lr"] * momentum


def by_hand(
    recipe: Train, groups: Callable[[nn.Module], Iterable[Any]], before_step: Callable[[nn.Module], object]
) -> tuple[State, State]:
    """Twelve steps of the trainer, and of PyTorch in the plainest loop."""
    work = task(mlp(), recipe)
    begin = start(work.module)
    ours = work.train([Replica(begin, 5)], 0, 12)[0].state
    module = mlp()
    begin.load(module)
    optimizer = recipe.optimizer.make(groups(module))
    for x, y in work.batches(5, 0, 12):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(x), y).backward()
        before_step(module)
        optimizer.step()
    return ours, State.of(module)


def test_groups_are_those_of_pytorch() -> None:
    def groups(module: nn.Module) -> Iterable[Any]:
        one, two = module[1], module[3]  # type: ignore[index]
        rate, decay = 0.01, 0.1
        return [
            {"params": [one.weight], "lr": rate, "weight_decay": decay},
            {"params": [one.bias], "lr": rate, "weight_decay": 0.0},
            {"params": [two.weight], "lr": 10 * rate, "weight_decay": decay},
            {"params": [two.bias], "lr": 10 * rate, "weight_decay": 0.0},
        ]

    recipe = replace(RECIPE, optimizer=AdamW(lr=0.01, weight_decay=0.1), lr_factors={"3": 10.0}, decay="weights")
    ours, theirs = by_hand(recipe, groups, lambda module: None)
    assert all(torch.equal(tensor, ours.model[name]) for name, tensor in theirs.model.items())


def test_clipping_is_that_of_pytorch() -> None:
    recipe = replace(RECIPE, optimizer=SGD(lr=0.1), clip_norm=0.3)
    ours, theirs = by_hand(
        recipe, nn.Module.parameters, lambda module: nn.utils.clip_grad_norm_(module.parameters(), 0.3)
    )
    for name, tensor in theirs.model.items():
        torch.testing.assert_close(ours.model[name], tensor)


def test_the_norm_that_is_clipped_is_that_of_what_is_kept() -> None:
    """A smaller network without the pruned units, and the whole one beside another replica, take the same steps."""
    work = task(mlp(), replace(RECIPE, optimizer=SGD(lr=0.1, momentum=0.0), clip_norm=0.3))
    begin = start(work.module)
    gone = torch.arange(20) < 10
    weights = {"1.weight": ~gone[:, None].expand(20, 64), "3.weight": ~gone[None].expand(10, 20)}
    state = begin.masked(Masks(weights, {"1.bias": ~gone}))
    alone = work.train([Replica(state, 0)], 0, 20)[0].state
    together = work.train([Replica(state, 0), Replica(begin, 1)], 0, 20)[0].state
    for name, tensor in alone.model.items():
        torch.testing.assert_close(tensor, together.model[name])


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"kind": "torch.optim:RMSprop", "alhpa": 0.9}, "torch.optim:RMSprop: unknown option 'alhpa'"),
        ({"kind": "torch.optim:RMSprop", "lr": -1}, "lr: must be above 0, but got -1"),
        ({"kind": "torch.optim:RMSprop", "lr": "high"}, "lr: torch.optim:RMSprop needs a learning rate"),
        ({"kind": "torch.optim:Adam", "betas": [2, 3]}, "making the optimizer raised ValueError: Invalid beta"),
        ({"kind": "torch.optim:LBFGS"}, "a step raised TypeError"),
        ({"kind": "torch.optim:SparseAdam"}, "a step raised RuntimeError: SparseAdam does not support dense"),
        ({"kind": "torch.optim:RMSporp"}, "did you mean 'RMSprop'?"),
        ({"kind": "torch.nn:Linear", "in_features": 2, "out_features": 3}, "torch.nn:Linear"),
        ({"kind": f"{__name__}:NoRate"}, "needs a learning rate, lr"),
        ({"kind": f"{__name__}:Counting", "keeps": "list"}, "keeps a list as gradients"),
        ({"kind": f"{__name__}:Counting", "keeps": "self"}, "cannot be interrupted: it goes on from more than"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_optimizers_that_are_refused(written: Any, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        decode(Optimizer, written)
    assert message in str(error.value)


def test_optimizers_of_pytorch_by_name() -> None:
    assert imported("torch.optim:SGD", lr=0.1).by_entry
    assert imported("torch.optim:Adadelta").lr == 1.0
    assert not imported("torch.optim:Adafactor").by_entry
    assert digest(imported("torch.optim:Adam", lr=0.1)) != digest(imported("torch.optim:Adam", lr=0.2))
    with pytest.raises(ConfigError, match=r"decay: optimizer torch.optim:Rprop has no weight_decay; leave it at all"):
        Train(optimizer=imported("torch.optim:Rprop"), decay="weights")
    ours, theirs = by_hand(replace(RECIPE, optimizer=imported("torch.optim:RAdam", lr=0.01)), nn.Module.parameters,
                           lambda module: None)  # fmt: skip
    assert all(torch.equal(tensor, ours.model[name]) for name, tensor in theirs.model.items())


class _Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.temperature = nn.Linear(64, 10), nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.linear(x.flatten(1)) * self.temperature)


def test_a_parameter_without_dimensions_is_trained_alone() -> None:
    work = task(_Scaled(), RECIPE)
    assert not work.can_stack
    begin = start(work.module)
    unbroken, [half] = work.train([Replica(begin, 0)], 0, 20), work.train([Replica(begin, 0)], 0, 11)
    assert_equal(work.train([half], 11, 20)[0].state, unbroken[0].state)


@dataclass(frozen=True)
class _Weighted(Classification):
    """Examples count as much as their label, those of class 0 not at all."""

    def weights(self, target: torch.Tensor) -> torch.Tensor:
        return target


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("learnt", [Classification(), _Weighted()], ids=["plain", "weighted"])
@pytest.mark.parametrize("count", [2, 5, 50])
def test_a_batch_in_parts_is_the_batch(count: int, learnt: Task, replicas: int) -> None:
    """Where the network has no statistics of a batch."""
    found = []
    for parts in (1, count):
        recipe = replace(RECIPE, optimizer=SGD(lr=0.1), clip_norm=1.0, accumulate=parts)
        work = replace(task(mlp(), recipe), task=learnt)
        found.append(work.train([Replica(start(work.module), seed) for seed in range(replicas)], 0, 40)[-1])
    whole, accumulated = found
    for name, tensor in whole.state.model.items():
        torch.testing.assert_close(accumulated.state.model[name], tensor, rtol=1e-4, atol=1e-5)
    for p, q in zip(whole.curve, accumulated.curve, strict=True):
        assert q.train_loss == pytest.approx(p.train_loss, rel=1e-5)


def test_weights_alone_decay() -> None:
    module = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.LayerNorm([2, 6, 6]), nn.Flatten(), nn.Linear(72, 4)
    )
    names = {parameter: name for name, parameter in module.named_parameters()}
    groups = grouped(module, dict(module.named_parameters()), {"4": 10.0, "*.bias": 2.0}, "weights")
    assert {key: [names[parameter] for parameter in some] for key, some in groups.items()} == {  # type: ignore[index]
        (1.0, True): ["0.weight"],
        (2.0, False): ["0.bias", "1.bias", "2.bias"],
        (1.0, False): ["1.weight", "2.weight"],
        (10.0, True): ["4.weight"],
        (10.0, False): ["4.bias"],
    }


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Train(batch=60, accumulate=7), "accumulate: must be 1 or more, and the batch of 60 a multiple of it"),
        (lambda: Train(accumulate=0), "accumulate: must be 1 or more"),
        (lambda: Train(clip_norm=0.0), "clip_norm: must be above 0"),
        (lambda: Train(lr_factors={"head": 0.0}), "lr_factors.head: must be above 0"),
        (lambda: check_lr_factors({"haed*": 2.0}, ["body.weight", "head.weight"]),
         'train.lr_factors.haed*: fits no parameter that is trained; there are body.weight, head.weight'),
    ],
)  # fmt: skip
def test_what_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        make()
    assert message in str(error.value)
