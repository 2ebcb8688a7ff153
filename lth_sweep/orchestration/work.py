"""One trial's work, the same in a Ray worker and in this process."""

import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.common.user_code import import_object
from lth_sweep.lottery.data import Data, Splits, provide
from lth_sweep.lottery.network.sizes import latency
from lth_sweep.lottery.recipe.forecast import Forecast
from lth_sweep.lottery.recipe.trial import Runtime, TrialConfig, trial_digest
from lth_sweep.lottery.records import Level
from lth_sweep.lottery.runs.stages import Stages
from lth_sweep.lottery.ticket.ticket import Ticket
from lth_sweep.remote.stages import on_this_machine, stages_at
from lth_sweep.search.policy import is_last, policy_of
from lth_sweep.sweepfile.axis import Pick
from lth_sweep.sweepfile.spec import SweepSpec

LOOP = "lth_sweep.lottery.loop:run"


def go_to(folder: Path) -> None:
    """Relative paths in a recipe, such as the data's, start where the command was run: `folder`."""
    if on_this_machine(folder).is_dir():
        os.chdir(on_this_machine(folder))


@dataclass(frozen=True)
class Work:
    """What a worker needs to run any trial. Plain data: the user's modules are imported where they are used."""

    spec: SweepSpec
    stages: Path | str
    """A URI, or a folder: absolute, and on a file system that every machine of a cluster has."""
    run: str = LOOP
    """What yields a trial's levels, as "module:function": simulated trials put their own here."""
    data: Mapping[str, Callable[[Data], Splits]] = field(default_factory=dict, compare=False)
    """Where data sets come from, by their digest, that are not to be read in each process."""

    def levels(self, picks: Mapping[str, Pick]) -> Iterator[Level]:
        """Run the trial of these picks. Nothing happens, and nothing fails, before the first level is pulled."""
        recipe, store, runtime = self.prepare(picks)
        run, policy = import_object(self.run), policy_of(self.spec.stop, self.spec.objective)
        yield from policy.levels(
            recipe, lambda trial: (self._finish(level, recipe, store) for level in run(trial, store, runtime))
        )

    def is_last(self, level: Level, picks: Mapping[str, Pick]) -> bool:
        """Whether no other level comes after this one."""
        recipe = self.spec.recipe(picks)
        return is_last(level, recipe) and len(level) == len(recipe.seed_list)

    def _finish(self, level: Level, recipe: TrialConfig, store: Stages) -> Level:
        """With the whole recipe's name, and with the latency, where that is to be small."""
        name = trial_digest(recipe)
        level = Level(replace(record, trial=name) for record in level)
        if "latency" not in self.spec.objective.sizes:
            return level
        tickets = [Ticket.load(recipe, record, store) for record in level]
        threads = max(1, int(self.spec.resources.cpu))
        return Level(
            replace(record, latency=latency(ticket.exported, ticket.splits.example, threads=threads))
            for record, ticket in zip(level, tickets, strict=True)
        )

    def prepare(self, picks: Mapping[str, Pick]) -> tuple[TrialConfig, Stages, Runtime]:
        """What runs the trial of these picks, with the user's modules within reach."""
        folder = self.spec.import_folder
        if folder and str(on_this_machine(folder)) not in sys.path:
            sys.path.insert(0, str(on_this_machine(folder)))
        recipe = self.spec.recipe(picks)
        for key, source in self.data.items():
            provide(key, source)
        resources = self.spec.resources
        runtime = Runtime(
            device=assigned(resources.gpu),
            threads=max(1, int(resources.cpu)),
            batched=resources.gpu > 0 if resources.batched is None else resources.batched,
            compile=resources.compile,
            snapshots=self._snapshots(recipe),
        )
        return recipe, stages_at(self.stages), runtime

    def _snapshots(self, recipe: TrialConfig) -> tuple[int, ...]:
        fields = {*self.spec.base, *(path.split(".")[0] for axis in self.spec.space for path in axis.fields)}
        if not fields & {"rewind", "mask_at"}:
            return ()
        return self.spec.snapshots(Forecast(recipe).clock)


def assigned(gpu: float) -> str:
    """The PyTorch device for a trial that asks for `gpu` GPUs: "cpu" for none; else the GPU that Ray has assigned to
    this process, or, without Ray, the first that there is. A share of a GPU is also one of its memory.

    Raises ConfigError where PyTorch sees no GPU.
    """
    if not gpu:
        return "cpu"
    if not torch.cuda.is_available():
        raise ConfigError(
            f"a trial asks for {gpu:g} of a GPU, but PyTorch {torch.__version__} sees none on {socket.gethostname()}; "
            "install its build for CUDA and the driver there, or ask for none",
            "resources.gpu",
        )
    index = position(_assigned_ids(), os.environ.get("CUDA_VISIBLE_DEVICES"))
    if gpu < 1:
        torch.cuda.set_per_process_memory_fraction(gpu, index)
    return f"cuda:{index}"


def position(assigned: Sequence[str], visible: str | None) -> int:
    """PyTorch's number of the first assigned GPU: it counts those that CUDA_VISIBLE_DEVICES leaves visible."""
    if not assigned:
        return 0
    return visible.split(",").index(assigned[0]) if visible else int(assigned[0])


def _assigned_ids() -> list[str]:
    """Of this worker's GPUs; none outside of Ray, which is not imported for this."""
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return []
    return [str(one) for one in ray.get_runtime_context().get_accelerator_ids().get("GPU", [])]
