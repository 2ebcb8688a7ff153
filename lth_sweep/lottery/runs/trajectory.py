"""A training run, as something whose state can be had at any step: stored, or trained from the nearest stored one."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from typing import Any

import torch
from torch import nn

from lth_sweep.lottery.common.duration import Duration
from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.common.identity import derive, digest
from lth_sweep.lottery.data import Data, Examples, load
from lth_sweep.lottery.network.compaction import pruned_units, shrink
from lth_sweep.lottery.network.initialization import Init
from lth_sweep.lottery.network.masks import Masks, pack, unpack
from lth_sweep.lottery.network.removal import Plan
from lth_sweep.lottery.network.state import State
from lth_sweep.lottery.network.structure import Network
from lth_sweep.lottery.pruning.selection import Pool, check_layer_rates, remove
from lth_sweep.lottery.pruning.view import View
from lth_sweep.lottery.recipe.rewinding import Rewind, ToStep
from lth_sweep.lottery.recipe.trial import Runtime, TrialConfig
from lth_sweep.lottery.records import CurvePoint
from lth_sweep.lottery.runs.stages import Stage, Stages
from lth_sweep.lottery.training.edge_popup import Popup
from lth_sweep.lottery.training.trainer import Replica, Task, Trained, can_stack, train


@dataclass(frozen=True)
class Trajectory:
    """One replica's training run from a start state, under masks, with the trial's recipe."""

    digest: str
    """Of everything that determines its states, and of nothing else."""
    seed: int
    first: int
    """The step that it starts at; the schedule and the order of the batches go on from there."""
    start: Callable[[], State] = field(repr=False, compare=False)
    masks: Masks | None = field(repr=False, compare=False)
    """None for a dense run."""
    noise: int = 0
    """Which order of batches and augmentation: 0 for the run's own, others for its twins."""
    tail: int = 0
    """Steps beyond the end of a dense run."""
    popup: Popup | None = field(default=None, repr=False, compare=False)
    """What is trained instead of the network, where that is which weights to keep. The last state is the ticket's."""

    @property
    def noise_seed(self) -> int:
        return derive(self.seed, "twin", self.noise) if self.noise else self.seed

    @property
    def is_trunk(self) -> bool:
        """Whether it is a dense run that others branch off, not one of those."""
        return self.masks is None and self.noise == 0 and self.popup is None


@dataclass(frozen=True)
class Rung:
    """One replica at one level: its run, and its masks (full at level 0)."""

    path: Trajectory
    masks: Masks

    def found(self, trained: Trained) -> "Rung":
        """With the masks that training has found, where it is what finds them."""
        return replace(self, masks=self.masks.replace(trained.masks.tensors)) if trained.masks else self


class Lab:
    """Where the trajectories of one trial are trained: its data, network and store, and a count of the steps."""

    def __init__(self, trial: TrialConfig, store: Stages, runtime: Runtime) -> None:
        torch.set_num_threads(runtime.threads)
        self.trial, self.store, self.runtime = trial, store, runtime
        self.splits = load(trial.data)
        self.clock = trial.clock(len(self.splits.train.y))
        self.network = Network(trial.model.build(self.splits.shape, self.splits.classes), self.splits.example)
        module: nn.Module = self.network.module
        if runtime.compile:
            module.compile()
        train_examples, validation = _on_device(trial.data, runtime.device)
        self.task = Task(module, trial.train, self.clock, train_examples, validation)
        self.trained = dict.fromkeys(trial.seed_list, 0)
        """Optimizer steps run so far, by seed."""

    def dense(self, seed: int) -> Trajectory:
        """The run from the initial weights, without masks. It does not depend on anything that pruning does."""
        train_ = self.trial.train
        parts = [
            self.splits.digest,
            self.trial.model,
            _unscaled(self.trial.init),
            train_.batch,
            train_.optimizer,
            train_.schedule,
            train_.augment,
            train_.precision,
            train_.evaluate,
        ]
        length = self.clock.length if train_.schedule.needs_length else None
        return Trajectory(digest([*parts, length, seed], self.clock), seed, 0, lambda: self.initial(seed), None)

    def branch(self, source: Trajectory, step: int, masks: Masks, rule: Rewind | None = None) -> Trajectory:
        """The run that goes on from `source` at `step`, under masks, as `rule` says. By default it goes on as it is;
        with nothing pruned that is `source` itself."""
        rule = rule or ToStep(Duration(step, "steps"))
        as_it_is = not rule.keeps_weights and not rule.changes
        if masks.is_full and as_it_is:
            return source
        scaled = self.trial.init.scaled and rule.from_initial
        first = rule.step(self.clock)
        identity: dict[str, Any] = {"from": [source.digest, step], "masks": masks.digest}
        identity |= {"at": first} if rule.keeps_weights else {}
        identity |= {"start": rule} if rule.changes else {}
        identity |= {"scaled": True} if scaled else {}

        def start() -> State:
            state = self.reach([source], step)[0].state
            if rule.changes:
                state = rule.change(state, masks, source.seed, partial(self.initial, source.seed))
            state = state.masked(masks)
            if scaled:
                state = state.scaled(masks)
            return state if as_it_is else State(state.model, {})

        name = digest(identity, self.clock)
        return Trajectory(name, source.seed, first, start, masks, tail=rule.tail(self.clock))

    def rewound(self, dense: Trajectory, last: Trajectory, step: int, masks: Masks) -> Rung:
        """The next rung: from the last one at `step`, or from the dense run, as the trial's rewind rule says."""
        rule = self.trial.rewind
        source, step = (last, step) if rule.keeps_weights else (dense, rule.step(self.clock))
        return Rung(self.branch(source, step, masks, rule), masks)

    def popup(self, dense: Trajectory, removed: dict[str, int]) -> Rung:
        """The run that finds a supermask, `removed` weights of each layer left out; its masks are those of its end."""
        popup = Popup(self.trial.model.build(self.splits.shape, self.splits.classes), removed)
        scaled = self.trial.init.scaled
        end = self.clock.length  # the last state is not one that a longer run could go on from
        name = digest({"from": [dense.digest, 0], "edge-popup": removed, "scaled": scaled, "end": end})
        path = Trajectory(
            name, dense.seed, 0, lambda: popup.start(self.initial(dense.seed), dense.seed, scaled), None, popup=popup
        )
        return Rung(path, self.network.full)

    def without(self, pools: Sequence[Pool], state: State, masks: Masks, seed: int) -> Masks:
        """The masks that are left when of each pool as many items are gone as it says, by the trial's criterion."""
        trial = self.trial
        view = View(self.network, state, masks, self._scored(pools), seed, lambda: self.initial(seed), self.task.train)
        return remove(
            lambda left: trial.criterion.scores(replace(view, masks=left)),
            masks, self.network, trial.granularity, pools, trial.criterion.rounds,
        )  # fmt: skip

    def _scored(self, pools: Sequence[Pool]) -> tuple[str, ...]:
        layers = self.trial.granularity.layers(self.network)
        return tuple(layer for pool in pools for name in pool.layers for layer in layers[name])

    def check(self) -> None:
        """Raise ConfigError where the network is none that the trial's pruning can treat."""
        check_layer_rates(self.trial.layer_rates, self.network.layers)
        self.trial.criterion.check(self.network, self._scored(self.trial.method.pools(self, self.network.full)))

    def end(self, path: Trajectory) -> int:
        """The last step of a run."""
        return self.clock.length + path.tail

    def twin(self, path: Trajectory, step: int, noise: int) -> Trajectory:
        """The run that goes on from `path` at `step` with noise of its own: the order of the batches, augmentation, and
        whatever else the network draws while it trains (Frankle et al. 2019, section 2). Twin 0 is `path` itself."""
        if noise == 0:
            return path
        name = digest({"from": [path.digest, step], "noise": noise})
        return replace(path, digest=name, first=step, start=lambda: self.reach([path], step)[0].state, noise=noise)

    def initial(self, seed: int, *purpose: str, masks: Masks | None = None) -> State:
        """Fresh weights: each layer draws from a stream of its own, so that another layer more changes none of them.
        Another `purpose` has other streams. With `masks`, the weights of the network without the units that they leave
        nothing of, zeros in their place; ConfigError where it cannot be made smaller."""
        plan = self.smaller(masks) if masks else Plan()
        with torch.random.fork_rng(devices=[]):
            # For parameters that belong to no layer with a reset of its own.
            torch.manual_seed(derive(seed, "build", *purpose))
            module = self.trial.model.build(self.splits.shape, self.splits.classes)
            if plan:
                module = shrink(module, plan, module.state_dict())
            for name, layer in module.named_modules():
                if not list(layer.children()):
                    torch.manual_seed(derive(seed, "init", *purpose, name))
                    self.trial.init.draw(layer)
        shapes = {name: tensor.shape for name, tensor in self.network.module.state_dict().items()}
        return State({name: plan.scatter(name, tensor, shapes[name])
                      for name, tensor in State.of(module).model.items()}, {})  # fmt: skip

    def smaller(self, masks: Masks) -> Plan:
        """What the network keeps without the units that masks leave nothing of. Raises ConfigError where there are such
        and it cannot be made smaller."""
        plan = pruned_units(self.network.module, masks, self.splits.example)
        if not plan and not masks.is_full:
            name = type(self.network.module).__name__
            raise ConfigError(f"{name} cannot be made smaller by the units that are gone, so that there is no smaller "
                              "network to train from scratch; use reinit", "rewind")  # fmt: skip
        return plan

    def reach(self, paths: Sequence[Trajectory], step: int) -> list[Trained]:
        """The state of each run after `step`, and its curve from its first step on. Trains what is not stored yet.

        While a run is being trained it is leased, so that no two processes train the same; leases are taken in the
        order of their digests, and a run's own before that of the run it starts from, so that nobody waits in a circle.
        """
        found = {path: self._stored(path, step) for path in paths}
        with contextlib.ExitStack() as leases:
            for path in sorted((path for path in paths if not found[path]), key=lambda path: path.digest):
                leases.enter_context(self.store.lease(path.digest))
                found[path] = self._stored(path, step)
            found |= self._train_missing([path for path in paths if not found[path]], step)
        return [trained for path in paths if (trained := found[path])]

    def _train_missing(self, paths: list[Trajectory], step: int) -> dict[Trajectory, Trained]:
        """Train each run from its nearest stored state on; those that start at the same step in one call, where they
        can be, and in smaller ones where the GPU has too little memory for that."""
        nearest = {path: self._nearest(path, step) for path in paths}
        found: dict[Trajectory, Trained] = {}
        for first in {start for start, _ in nearest.values()}:
            for some in self._calls([path for path in nearest if nearest[path][0] == first]):
                try:
                    found |= self._train(some, [nearest[path][1] for path in some], first, step)
                    continue
                except torch.OutOfMemoryError:
                    if len(some) == 1:
                        raise
                self._most_in_a_call = len(some) // 2
                found |= self._train_missing(some, step)
        return found

    def _calls(self, paths: list[Trajectory]) -> list[list[Trajectory]]:
        """Runs of the network itself go together; one that finds a supermask goes alone."""
        most = 1 if paths[0].popup else self._most_in_a_call
        return [paths[i : i + most] for i in range(0, len(paths), most)]

    @cached_property
    def _most_in_a_call(self) -> int:
        """Replicas that are trained together."""
        seeds = len(self.trial.seed_list)
        return seeds if seeds > 1 and self.runtime.batched and can_stack(self.task) else 1

    def _train(
        self, paths: list[Trajectory], states: list[Trained], first: int, last: int
    ) -> dict[Trajectory, Trained]:
        """Train from `first` to `last`, storing the dense run's snapshots on the way."""
        snapshots = {step for step in self.runtime.snapshots if first < step < last and paths[0].is_trunk}
        for stop in sorted({*snapshots, last}):
            replicas = [
                Replica(state.state, path.masks, path.noise_seed, state.pending)
                for path, state in zip(paths, states, strict=True)
            ]
            popup = paths[0].popup
            task = replace(self.task, module=popup) if popup else self.task
            segments = train(task, replicas, first, stop, self.end(paths[0]))
            states = [
                replace(segment, curve=(*self._lasting(before.curve), *segment.curve))
                for before, segment in zip(states, segments, strict=True)
            ]
            if popup and stop == self.end(paths[0]):
                found, masks = popup.ticket(states[0].state)
                states = [Trained(found, states[0].curve, masks)]
            for path, state in zip(paths, states, strict=True):
                self._publish(path, stop, state)
                self.trained[path.seed] += stop - first
            first = stop
        return dict(zip(paths, states, strict=True))

    def _lasting(self, curve: Sequence[CurvePoint]) -> list[CurvePoint]:
        """Without a point that is there only because the run ended: now it goes on."""
        every = self.clock.steps(self.trial.train.evaluate)
        return [point for point in curve if point.step % every == 0]

    def _nearest(self, path: Trajectory, step: int) -> tuple[int, Trained]:
        """The last stored state before `step` that can be gone on from, else the start."""
        for earlier in reversed(self.store.steps(path.digest)):
            if earlier < step and (stored := self._stored(path, earlier, to_go_on=True)):
                return earlier, stored
        return path.first, Trained(path.start(), ())

    def _stored(self, path: Trajectory, step: int, to_go_on: bool = False) -> Trained | None:
        if step == path.first:
            return Trained(path.start(), ())
        stage = self.store.load(path.digest, step)
        if stage is None or (to_go_on and not stage.facts["resumable"]):
            return None
        curve = tuple(CurvePoint.from_json(point) for point in stage.facts["curve"])
        masks = stored_masks(stage) if path.popup else None
        loss, count = stage.facts["pending"]
        return Trained(State.from_tensors(stage.tensors), curve, masks, (loss, count))

    def _publish(self, path: Trajectory, step: int, trained: Trained) -> None:
        """The last state of a ticket or a twin is stored without the optimizer's, two thirds of it: nothing goes on
        from there."""
        resumable = path.is_trunk or step < self.end(path)
        tensors = State(trained.state.model, trained.state.optimizer if resumable else {}).to_tensors()
        masks = trained.masks or path.masks
        for name, mask in (masks.tensors if masks else {}).items():
            tensors[f"mask/{name}"] = pack(mask)
        curve = [point.to_json() for point in trained.curve]
        facts = {"curve": curve, "pending": trained.pending, "resumable": resumable}
        self.store.publish(path.digest, step, Stage(tensors, facts))


def _unscaled(init: Init) -> Init:
    """Without the scaling, which only concerns tickets."""
    return replace(init, scaled=False) if init.scaled else init  # type: ignore[type-var]


def stored_masks(stage: Stage) -> Masks:
    """The masks that a stage was trained under; none for a dense run."""
    packed = {name.removeprefix("mask/"): tensor for name, tensor in stage.tensors.items() if name.startswith("mask/")}
    return Masks({name: unpack(bits, tuple(stage.tensors[f"model/{name}"].shape)) for name, bits in packed.items()})


@cache
def _on_device(data: Data, device: str) -> tuple[Examples, Examples]:
    """The train and validation examples on a device, copied there once per process."""
    splits = load(data)
    return splits.train.to(device), splits.validation.to(device)
