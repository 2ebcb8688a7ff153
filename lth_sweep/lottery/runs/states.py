"""Getting the state of a training run at a step: stored, or trained from the nearest stored one."""

import contextlib
from collections.abc import Sequence
from functools import cache, cached_property, partial

import torch

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.common.identity import derive
from lth_sweep.lottery.data import Data, Source, load
from lth_sweep.lottery.network.compaction import pruned_units
from lth_sweep.lottery.network.initial.drawing import draw, loaded, seeded, trained
from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.models import Model
from lth_sweep.lottery.network.norms import has_gaps
from lth_sweep.lottery.network.state import State
from lth_sweep.lottery.network.units.resizing import Plan, shrink
from lth_sweep.lottery.network.weights_file import checksum
from lth_sweep.lottery.recipe.trial import Runtime, TrialConfig
from lth_sweep.lottery.records import CurvePoint
from lth_sweep.lottery.runs.stages import Stage, Stages
from lth_sweep.lottery.runs.tree import Trajectory, Tree
from lth_sweep.lottery.task import Task
from lth_sweep.lottery.training.groups import check_lr_factors
from lth_sweep.lottery.training.trainer import Replica, Trainer


class States:
    """The states of a trial's runs, and a count of the steps that getting them has taken."""

    def __init__(self, trial: TrialConfig, store: Stages, runtime: Runtime) -> None:
        torch.set_num_threads(runtime.threads)
        trial.train.check_device(runtime.device)
        self.trial, self.store, self.runtime = trial, store, runtime
        self.splits = load(trial.data)
        self.clock = trial.clock(len(self.splits.train))
        self.own = not trial.model.is_known
        self.loaded, content = _loaded(trial.data, trial.task, trial.model) if self.own else (frozenset[str](), "")
        self.tree = Tree(trial, self.clock, self.splits.digest, content)
        self.network = trial.network()
        check_lr_factors(trial.train.lr_factors, trained(self.network.module))
        if runtime.compile:
            self.network.module.compile()
        train, validation = _on_device(trial.data, runtime.device)
        self.trainer = Trainer(self.network.module, trial.train, trial.task, self.clock, train, validation,
                               torch.device(runtime.device))  # fmt: skip
        self.trained = dict.fromkeys(trial.seed_list, 0)
        """Optimizer steps run so far, by seed."""
        self._first: dict[int, State] = {}
        """Initial weights by seed: a constructor that reads files can be slow."""

    def at(self, paths: Sequence[Trajectory], step: int, via: Sequence[int] = ()) -> list[Replica]:
        """Each run after `step`, with its curve from its first step on. Trains what is not stored yet; what is trained
        is stored on the way at the steps of `via`, too.

        While a run is being trained it is leased, so that no two processes train the same; leases are taken in the
        order of their digests, and a run's own before that of the run it starts from, so that nobody waits in a circle.
        """
        found = {path: self._stored(path, step) for path in paths}
        with contextlib.ExitStack() as leases:
            for path in sorted((path for path in paths if not found[path]), key=lambda path: path.digest):
                leases.enter_context(self.store.lease(path.digest))
                found[path] = self._stored(path, step)
            found |= self._train_missing([path for path in paths if not found[path]], step, via)
        return [replica for path in paths if (replica := found[path])]

    def initial(self, seed: int, *purpose: str, masks: Masks | None = None) -> State:
        """Initial weights, see `draw`; another `purpose` is another draw. With `masks`, those of the network without
        the units that they leave nothing of, zeros in their place; ConfigError where it cannot be made smaller."""
        if not purpose and seed in self._first:
            return self._first[seed]
        plan = self.smaller(masks) if masks else Plan()
        with seeded(derive(seed, "build", *purpose)):
            module = self.trial.build()
            tensors, given = module.state_dict(), self.trial.init.loaded(module)
            for name, tensor in given.items():
                tensors[name].copy_(tensor)
            if plan:
                module = shrink(module, plan, tensors)
            draw(module, self.trial.init, seed, purpose, self.loaded | given.keys(), self.own, resized=bool(plan))
            if purpose and (frozen := dict(module.named_parameters()).keys() - trained(module)):
                first = self.initial(seed).model  # of which another draw is no other
                for name in frozen:
                    module.get_parameter(name).copy_(plan.gather(name, first[name]))
        shapes = {name: tensor.shape for name, tensor in self.network.module.state_dict().items()}
        state = State({name: plan.scatter(name, tensor, shapes[name])
                       for name, tensor in State.of(module).model.items()})  # fmt: skip
        return state if purpose else self._first.setdefault(seed, state)

    def smaller(self, masks: Masks) -> Plan:
        """What the network keeps without the units that masks leave nothing of. Raises ConfigError where there are such
        and it cannot be made smaller."""
        plan = pruned_units(self.network.module, masks, self.splits.example)
        if not plan and not masks.is_full:
            name = type(self.network.module).__name__
            raise ConfigError(f"{name} cannot be made smaller by the units that are gone, so that there is no smaller "
                              "network to train from scratch; use reinit", "rewind")  # fmt: skip
        return plan

    def _train_missing(self, paths: list[Trajectory], step: int, via: Sequence[int]) -> dict[Trajectory, Replica]:
        """Train each run from its nearest stored state on; those that start at the same step in one call, where they
        can be, and in smaller ones where the GPU has too little memory for that."""
        nearest = {path: self._nearest(path, step) for path in paths}
        found: dict[Trajectory, Replica] = {}
        for first in {start for start, _ in nearest.values()}:
            for some in self._calls({path: replica for path, (start, replica) in nearest.items() if start == first}):
                try:
                    found |= self._train(some, [nearest[path][1] for path in some], first, step, via)
                    continue
                except torch.OutOfMemoryError:
                    if len(some) == 1:
                        raise
                self._most_in_a_call = len(some) // 2
                found |= self._train_missing(some, step, via)
        return found

    def _calls(self, starts: dict[Trajectory, Replica]) -> list[list[Trajectory]]:
        """Runs of the network itself go together; one that finds its masks goes alone, and so does one whose norms are
        over what is left of the channels."""
        paths = list(starts)
        gaps = any(has_gaps(self.network.module, replica.state.masks) for replica in starts.values())
        alone = paths[0].rule.finds or gaps
        most = 1 if alone else self._most_in_a_call
        return [paths[i : i + most] for i in range(0, len(paths), most)]

    @cached_property
    def _most_in_a_call(self) -> int:
        """Replicas that are trained together."""
        seeds = len(self.trial.seed_list)
        return seeds if seeds > 1 and self.runtime.batched and self.trainer.can_stack else 1

    def _train(
        self, paths: list[Trajectory], replicas: list[Replica], first: int, last: int, via: Sequence[int]
    ) -> dict[Trajectory, Replica]:
        """Train from `first` to `last`, storing what is wanted on the way."""
        wanted = {*via, *(self.runtime.snapshots if paths[0].parent is None else ())}
        for stop in sorted({*(step for step in wanted if first < step < last), last}):
            replicas = self.trainer.train(replicas, first, stop, paths[0].last, paths[0].rule)
            for path, replica in zip(paths, replicas, strict=True):
                self._publish(path, stop, replica)
                self.trained[path.seed] += stop - first
            first = stop
        return dict(zip(paths, replicas, strict=True))

    def _nearest(self, path: Trajectory, step: int) -> tuple[int, Replica]:
        """The last stored state before `step` that can be gone on from, else the start."""
        for earlier in reversed(self.store.steps(path.digest)):
            if earlier < step and (stored := self._stored(path, earlier, to_go_on=True)):
                return earlier, stored
        return path.first, self._start(path)

    def _start(self, path: Trajectory) -> Replica:
        state = self.at([path.parent], path.at)[0].state if path.parent else self.initial(path.seed)
        module = path.rule.module(self.network.module) if path.rule.finds else self.network.module
        return Replica(path.prepared(state, module, partial(self.initial, path.seed)), path.noise_seed)

    def _stored(self, path: Trajectory, step: int, to_go_on: bool = False) -> Replica | None:
        if step == path.first:
            return self._start(path)
        stage = self.store.load(path.digest, step)
        if stage is None or (to_go_on and not stage.facts["resumable"]):
            return None
        curve = tuple(map(CurvePoint.from_json, stage.facts["curve"]))
        loss, count = stage.facts["pending"]
        return Replica(State.from_tensors(stage.tensors), path.noise_seed, curve, (loss, count))

    def _publish(self, path: Trajectory, step: int, replica: Replica) -> None:
        """The last state of a ticket or a twin is stored without the optimizer's, two thirds of it: nothing goes on
        from there."""
        resumable = path.parent is None or step < path.last
        state = replica.state if resumable else replica.state.at_rest
        facts = {"curve": [point.to_json() for point in replica.curve], "pending": replica.pending}
        self.store.publish(path.digest, step, Stage(state.to_tensors(), {**facts, "resumable": resumable}))


@cache
def _loaded(data: Data, task: Task, model: Model) -> tuple[frozenset[str], str]:
    """What the constructor of a network of the user's own loads: the names, and a checksum of the content, for a file
    that it reads may change."""
    found = loaded(TrialConfig(data=data, task=task, model=model).build)
    return frozenset(found), checksum(found)


@cache
def _on_device(data: Data, device: str) -> tuple[Source, Source]:
    """The train and validation examples on a device, copied there once per process."""
    splits = load(data)
    return splits.train.to(device), splits.validation.to(device)
