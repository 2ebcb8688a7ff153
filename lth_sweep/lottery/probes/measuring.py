"""The records of a level: what its networks are like, and what they cost."""

import math
import time
from collections.abc import Sequence
from dataclasses import replace

from lth_sweep.lottery.network.masks import Masks
from lth_sweep.lottery.network.sizes import density, sizes
from lth_sweep.lottery.network.state import State
from lth_sweep.lottery.probes.activity import activity, counted
from lth_sweep.lottery.probes.twins import StabilityRecord
from lth_sweep.lottery.recipe.trial import trial_digest
from lth_sweep.lottery.records import Level, LevelRecord
from lth_sweep.lottery.runs.states import States
from lth_sweep.lottery.runs.tree import Trajectory
from lth_sweep.lottery.task import LOSS
from lth_sweep.lottery.training import memory
from lth_sweep.lottery.training.evaluation import TRAIN_LIMIT, evaluate, is_constant
from lth_sweep.lottery.training.trainer import Replica


class Measuring:
    """From when it is made, what getting the networks of a level takes."""

    def __init__(self, states: States) -> None:
        self._states = states
        self._trained = dict(states.trained)
        self._started = time.monotonic()
        memory.reset(states.runtime.device)

    def level(
        self, number: int, paths: Sequence[Trajectory], replicas: Sequence[Replica], step: int,
        twins: Sequence[StabilityRecord] = (),
    ) -> Level:  # fmt: skip
        """The records of runs that were trained to `step`, and of what lies between them and their twins, where those
        were trained, too."""
        seconds = (time.monotonic() - self._started) / len(paths)
        records = [
            self._record(number, path, replica.state, replica, step, seconds, twins[i] if twins else None)
            for i, (path, replica) in enumerate(zip(paths, replicas, strict=True))
        ]
        peak = memory.peak(self._states.runtime.device)
        return Level(replace(record, memory=peak) for record in records)

    def _record(
        self, number: int, path: Trajectory, state: State, replica: Replica, step: int, seconds: float,
        twin: StabilityRecord | None,
    ) -> LevelRecord:  # fmt: skip
        states, network = self._states, self._states.network
        masks = network.full.replace(state.masks.tensors)
        steps_trained = states.trained[path.seed] - self._trained[path.seed]
        steps_needed = step - path.first + (step - twin.step if twin else 0)
        return LevelRecord(
            trial=trial_digest(states.trial),
            level=number,
            seed=path.seed,
            density=masks.density,
            layer_density=density(network, masks),
            sizes=sizes(network, masks),
            metrics=_metrics(states, state, masks) | (twin.metrics if twin else {}),
            curve=replica.curve,
            stage=f"{path.digest}/{step}",
            steps_trained=steps_trained,
            steps_reused=max(0, steps_needed - steps_trained),
            seconds=seconds,
            finished=step == path.last,
        )


def _metrics(states: States, state: State, masks: Masks) -> dict[str, float]:
    trainer, task = states.trainer, states.trial.task
    module = trainer.module.to(trainer.device)
    state.averaged.load(module)
    found = evaluate(module, task, trainer.validation)
    diverged = math.isnan(found[LOSS.name])
    with counted(states.network) as counts:
        train = evaluate(module, task, trainer.train_split, TRAIN_LIMIT)
    found |= {f"train_{name}": value for name, value in train.items()}
    if diverged:
        return found
    found["constant"] = float(is_constant(module, task, trainer.validation))
    return found | activity(states.network, masks, counts).metrics
