"""Training, on one thread, where equal means equal bit by bit."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from lth_sweep.lottery.common.duration import Clock, Duration
from lth_sweep.lottery.data import Batch, Digits, Examples, Source, load
from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.state import State
from lth_sweep.lottery.recipe.trial import Train
from lth_sweep.lottery.task import Classification
from lth_sweep.lottery.training import memory
from lth_sweep.lottery.training.augmentation import CropFlip
from lth_sweep.lottery.training.evaluation import evaluate, values
from lth_sweep.lottery.training.optimizers import SGD, Adam, AdamW, Optimizer
from lth_sweep.lottery.training.schedules import Constant, Cosine, Linear, Schedule, Step
from lth_sweep.lottery.training.trainer import Replica, Trainer


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 10))


def conv(dropout: float = 0.2) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(144, 10),
    )


def wide() -> nn.Module:
    """With a layer that goes through oneDNN where it is alone."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 2000), nn.ReLU(), nn.Linear(2000, 10))


def task(module: nn.Module, recipe: Train, examples: int = 500) -> Trainer:
    splits = load(Digits())
    x, y = splits.train.x[:examples].reshape(-1, 1, 8, 8), splits.train.y[:examples]
    validation = Examples(splits.validation.x.reshape(-1, 1, 8, 8), splits.validation.y)
    per_epoch = examples // recipe.batch
    clock = Clock(per_epoch, recipe.length.to_steps(per_epoch))
    return Trainer(module, recipe, Classification(), clock, Examples(x, y), validation, torch.device("cpu"))


def start(module: nn.Module, seed: int = 0) -> State:
    torch.manual_seed(seed)
    for layer in module.modules():
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    return State.of(module)


def half_masks(state: State, seed: int = 1) -> Masks:
    generator = torch.Generator().manual_seed(seed)
    weights = {name: tensor for name, tensor in state.model.items() if tensor.ndim > 1}
    return Masks({name: torch.rand(weight.shape, generator=generator) < 0.5 for name, weight in weights.items()})


def assert_equal(left: State, right: State) -> None:
    a, b = left.to_tensors(), right.to_tensors()
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


RECIPE = Train(length=Duration(60, "steps"), batch=50, evaluate=Duration(20, "steps"))
OPTIMIZERS = [
    SGD(lr=0.1, momentum=0.0),
    SGD(lr=0.1, momentum=0.9, weight_decay=1e-3, nesterov=True),
    Adam(),
    Adam(weight_decay=0.1),
    AdamW(weight_decay=0.1),
]
SCHEDULES = [
    Constant(warmup=Duration(10, "steps")),
    Step(milestones=(Duration(1, "epochs"), Duration(50, "%"))),
    Cosine(warmup=Duration(10, "%")),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.kind)
def test_stopped_and_resumed_is_bit_equal_to_unbroken(optimizer: Optimizer, schedule: Schedule) -> None:
    """Stopped at 7 (in the first epoch of 10), 10 (its end) and 33; with dropout, BatchNorm, crops and flips."""
    work = task(conv(), replace(RECIPE, optimizer=optimizer, schedule=schedule, augment=CropFlip(pad=1)))
    begin = start(work.module)
    masks = half_masks(begin)
    unbroken = work.train([Replica(begin.masked(masks), 3)], 0, 60)[0]
    state, curve, before = begin.masked(masks), [], 0
    for stop in (7, 10, 33, 60):
        segment = work.train([Replica(State.from_tensors(state.to_tensors()), 3)], before, stop)[0]
        state, before = segment.state, stop
        curve += segment.curve
    assert_equal(state, unbroken.state)
    assert [(point.step, point.metrics) for point in curve] == [(point.step, point.metrics) for point in unbroken.curve]
    assert [point.step for point in curve] == [20, 40, 60]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_masked_weights_are_zero_after_every_step(optimizer: Optimizer) -> None:
    """From a dense state with momentum and averages in full swing, which push the masked weights away from zero."""
    work = task(mlp(), replace(RECIPE, optimizer=optimizer))
    dense = work.train([Replica(start(work.module), 0)], 0, 20)[0].state
    masks = half_masks(dense)
    seen = 0
    original = nn.Sequential.forward

    def watching(self: nn.Sequential, x: torch.Tensor) -> torch.Tensor:
        nonlocal seen
        for name, weight in self.named_parameters():
            if name in masks:
                seen += 1
                assert not weight.detach()[~masks[name]].any()
                assert weight.detach()[masks[name]].all()
        return original(self, x)

    type(work.module).forward = watching  # type: ignore[method-assign]
    try:
        end = work.train([Replica(dense.masked(masks), 0)], 20, 40)[0].state
    finally:
        type(work.module).forward = original  # type: ignore[method-assign]
    assert seen >= 2 * 20
    for name in masks:
        assert not end.model[name][~masks[name]].any()


def test_an_update_is_the_optimizers_own() -> None:
    """Twelve steps against PyTorch's Adam in the plainest loop."""
    work = task(mlp(), replace(RECIPE, optimizer=Adam(lr=0.01)))
    begin = start(work.module)
    ours = work.train([Replica(begin, 5)], 0, 12)[0].state
    module = mlp()
    module.load_state_dict(begin.model)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01, fused=True)
    for x, y in work.batches(5, 0, 12):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(x), y).backward()
        optimizer.step()
    assert [name for name, tensor in module.state_dict().items() if not torch.equal(tensor, ours.model[name])] == []


@pytest.mark.parametrize("make", [mlp, conv, wide])
@pytest.mark.parametrize("optimizer", [OPTIMIZERS[1], OPTIMIZERS[2]], ids=str)
def test_replicas_in_one_call_are_equal_to_one_by_one_within_tolerance(make: object, optimizer: Optimizer) -> None:
    """Dropout draws anew for each replica in a batched call, so it is left out here."""
    module = make()  # type: ignore[operator]
    for layer in module.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    work = task(module, replace(RECIPE, optimizer=optimizer, augment=CropFlip(pad=1)))
    states = [start(module, seed) for seed in range(3)]
    replicas = [
        Replica(state.masked(half_masks(state, seed)) if seed else state, seed) for seed, state in enumerate(states)
    ]
    apart = [work.train([replica], 0, 30)[0] for replica in replicas]
    together = work.train(replicas, 0, 30)
    resumed = work.train(together, 30, 40)
    further = [work.train([replica], 30, 40)[0] for replica in apart]
    for one, other in [*zip(apart, together, strict=True), *zip(further, resumed, strict=True)]:
        a, b = one.state.to_tensors(), other.state.to_tensors()
        assert a.keys() == b.keys()
        for name in a:
            torch.testing.assert_close(a[name], b[name], rtol=1e-3, atol=1e-5, msg=name)
        assert [point.step for point in one.curve] == [point.step for point in other.curve]
        for p, q in zip(one.curve, other.curve, strict=True):
            assert q.train_loss == pytest.approx(p.train_loss, rel=1e-4)


def test_each_epoch_visits_each_example_at_most_once_and_differs() -> None:
    work = task(mlp(), replace(RECIPE, batch=45), examples=500)
    x = torch.arange(500.0)
    work = replace(work, train_split=Examples(x, x.long()))
    assert work.clock.per_epoch == 11
    epochs = [torch.cat([y for _, y in work.batches(0, 11 * e, 11 * (e + 1))]).tolist() for e in range(2)]
    for epoch in epochs:
        assert len(epoch) == len(set(epoch)) == 495
    assert epochs[0] != epochs[1]
    part = torch.cat([y for _, y in work.batches(0, 8, 14)]).tolist()
    assert part == epochs[0][8 * 45 :] + epochs[1][: 3 * 45]
    assert torch.cat([y for _, y in work.batches(1, 0, 11)]).tolist() != epochs[0]


def test_bf16_trains_and_keeps_float32_weights() -> None:
    recipe = replace(RECIPE, optimizer=Adam(lr=0.01))
    work = task(mlp(), replace(recipe, precision="bf16"))
    begin = start(work.module)
    trained = work.train([Replica(begin, 0)], 0, 60)[0]
    assert {tensor.dtype for tensor in trained.state.model.values()} == {torch.float32}
    full = task(mlp(), recipe).train([Replica(begin, 0)], 0, 60)[0]
    assert trained.curve[-1].train_loss < 0.7 * trained.curve[0].train_loss
    assert trained.curve[-1].train_loss != full.curve[-1].train_loss
    assert trained.curve[-1].metrics["loss"] == pytest.approx(full.curve[-1].metrics["loss"], rel=0.1)


def test_a_diverged_run_says_so_and_ends() -> None:
    work = task(mlp(), replace(RECIPE, optimizer=SGD(lr=1e30)))
    trained = work.train([Replica(start(work.module), 0)], 0, 60)[0]
    assert not trained.state.is_finite
    assert len(trained.curve) == 1
    assert str(trained.curve[0].metrics["accuracy"]) == "nan"


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        (Constant(), {0: 1, 59: 1}),
        (Constant(warmup=Duration(4, "steps")), {0: 0.25, 1: 0.5, 3: 1, 4: 1}),
        (Step(milestones=(Duration(1, "epochs"), Duration(50, "%"))), {9: 1, 10: 0.1, 29: 0.1, 30: 0.01, 59: 0.01}),
        (Cosine(), {0: 1, 20: 0.75, 30: 0.5, 40: 0.25}),
        (Cosine(warmup=Duration(20, "steps")), {0: 0.05, 19: 1, 20: 1, 40: 0.5}),
        (Linear(), {0: 1, 15: 0.75, 59: 1 / 60}),
        (Linear(warmup=Duration(20, "steps")), {0: 0.05, 19: 1, 20: 1, 50: 0.25}),
    ],
    ids=str,
)
def test_schedules(schedule: Schedule, factors: dict[int, float]) -> None:
    """60 steps, 10 an epoch. The cosine by hand: (1 + cos(pi * 20 / 60)) / 2 = 0.75."""
    assert {step: schedule.factor(step, Clock(10, 60)) for step in factors} == pytest.approx(factors)


class _ByValue(nn.Module):
    """Decides by a value, which cannot be mapped over replicas."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.linear(x.flatten(1))
        return y if y.sum() > 0 else -y


@dataclass(frozen=True)
class _Whole(SGD):
    """An optimizer that looks at whole parameters."""

    by_entry = False


@pytest.mark.parametrize("metric", ["accuracy", "loss"])
def test_a_metric_is_the_mean_of_its_values(metric: str) -> None:
    module, source = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), load(Digits()).validation
    each, weights = values(module, Classification(), source, metric)
    assert each.shape == weights.shape == (len(source),)
    assert bool((weights == 1).all())
    assert each.mean().item() == pytest.approx(evaluate(module, Classification(), source)[metric], rel=1e-4)


def test_what_can_be_trained_in_one_call() -> None:
    assert task(conv(dropout=0), RECIPE).can_stack
    assert not task(conv(), RECIPE).can_stack  # what dropout draws would depend on the others in the call
    assert task(mlp(), replace(RECIPE, precision="bf16")).can_stack
    assert not task(_ByValue(), RECIPE).can_stack
    assert not task(mlp(), replace(RECIPE, optimizer=_Whole())).can_stack


class _Numbers(Source):
    """A source of one's own, which reads the numbers that it is asked for with numpy."""

    def __len__(self) -> int:
        return 100

    def batches(self, orders: Iterable[torch.Tensor]) -> Iterator[Batch]:
        for order in orders:
            yield Batch(order.numpy().tolist(), None)


def test_a_source_gets_the_numbers_of_examples_on_the_cpu_whatever_trains() -> None:
    trainer = replace(task(mlp(), RECIPE), train_split=_Numbers(), clock=Clock(2, 60), device=torch.device("meta"))
    epoch = [x for x, _ in trainer.batches(0, 0, 2)]
    assert sorted(epoch[0] + epoch[1]) == list(range(100))


def test_the_peak_of_memory_is_that_since_the_last_reset() -> None:
    large = torch.ones(64 * 2**20)  # 256 MiB
    before = memory.peak("cpu")
    assert before is not None
    del large
    memory.reset("cpu")
    after = memory.peak("cpu")
    assert after is not None
    assert before - after > 200 * 2**20
