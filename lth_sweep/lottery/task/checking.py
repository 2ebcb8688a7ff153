"""Whether a task and the output of a network go together, tried on a few examples before anything is trained."""

import inspect
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lth_sweep.lottery.common.errors import ConfigError, require, unknown
from lth_sweep.lottery.data.batch import examples_of, leaves
from lth_sweep.lottery.task.base import Task, output_of
from lth_sweep.lottery.task.metric import Meter
from lth_sweep.lottery.task.reading import Own, parts_of


def check_modes(task: Task, module: nn.Module, x: Any, y: Any) -> None:
    """Raise ConfigError where a network gives something else while it trains, and nobody has said what to do. Changes
    the module, as training does."""
    taken = inspect.signature(module.forward).parameters
    free = task.targets is None or any(one.kind is one.VAR_KEYWORD for one in taken.values())
    require(
        free or task.targets in taken, "", f"task.targets: {unknown('parameter of forward', str(task.targets), taken)}"
    )
    if task.output is not None or type(task).read is not Task.read:
        return
    positional, named = task.arguments(x, y)
    judged, trained = (parts_of(module.train(mode).forward(*positional, **named)) for mode in (False, True))
    require(judged == trained, "", f"the network gives {judged or 'a tensor'} when it is judged and "
            f"{trained or 'a tensor'} while it trains: say which part is the output, task: {{kind: {task.kind}, "
            "output: 0}, or write a task of your own whose `read` and `loss` know what to do with all")  # fmt: skip


def check_task(task: Task, module: nn.Module, x: Any, y: Any) -> None:
    """Raise ConfigError where what a task makes of a network's output for these examples cannot be what it says."""
    positional, named = task.arguments(x, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of metrics, about so few examples
        for training in (True, False):
            with torch.set_grad_enabled(training):
                given = module.train(training)(*positional, **named)
                own = isinstance(given, Own) or task.targets is None
                require(own, "targets", "the network is given the targets, but gives no loss: neither what is called "
                        "loss, nor a single number")  # fmt: skip
                _check_loss(task, task.losses(given, y), y, training)
        with torch.no_grad():
            _check_metrics(task, output_of(given), y)


def _check_loss(task: Task, loss: Tensor, target: Any, training: bool) -> None:
    _require_each(task, "loss", loss, target)
    require(loss.requires_grad or not training, "", f"the loss of task {task.kind} does not depend on what is trained: "
            "compute it of the network's output, without detach(), item() or no_grad()")  # fmt: skip
    require(loss.is_floating_point(), "", f"the loss of task {task.kind} must be float, but is {loss.dtype}")
    require(loss.is_meta or bool(loss.isfinite().all()), "", f"the loss of task {task.kind} is not a number for the "
            "network as it starts and the first examples; look at the scale of inputs and targets")  # fmt: skip


def _check_metrics(task: Task, output: Any, target: Any) -> None:
    values, meters = task.values(output, target), dict(task.meters())
    _same(task, values, [metric.name for metric in task.own if metric.per_example], "values")
    _same(task, meters, [metric.name for metric in task.own if not metric.per_example], "meters")
    for name, each in values.items():
        _require_each(task, f"metric {name}", each, target)
    if (weights := task.weights(target)) is not None:
        _require_each(task, "weight", weights, target)
    meters |= {one.metric.name: one.make() for one in task.metrics}
    for name, meter in meters.items() if not leaves(output)[0].is_meta else ():
        _try(name, meter, *task.for_meters(output, target))


def _require_each(task: Task, what: str, each: Any, target: Any) -> None:
    n = examples_of(target)
    found = list(each.shape) if isinstance(each, Tensor) else type(each).__name__
    require(found == [n], "", f"the {what} of task {task.kind} must be one number for each example, so of shape [{n}] "
            f"for {n} examples, but is {found}")  # fmt: skip


def _same(task: Task, found: Mapping[str, Any], wanted: Sequence[str], method: str) -> None:
    require(set(found) == set(wanted), "", f"task {task.kind} declares the metrics {', '.join(wanted) or 'none'}, but "
            f"its {method} are {', '.join(found) or 'none'}")  # fmt: skip


def _try(name: str, meter: Meter, output: Any, target: Any) -> None:
    try:
        meter.update(output, target)
        value = torch.as_tensor(meter.compute())
    except ConfigError:
        raise
    except Exception as error:  # of any kind: it is not ours
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(f"the metric {name} cannot be computed of the network's output and the targets: {reason}",
                          "metrics") from error  # fmt: skip
    require(value.numel() == 1, "metrics", f"the metric {name} must be one number, but gives {value.numel()}; set the "
            "option that averages them, such as `average: macro`")  # fmt: skip
