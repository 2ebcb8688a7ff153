"""What types cannot tell: whether durations fit the data, the network takes the inputs, patterns match a layer.

Everything that a sweep may run is tried out before anything starts.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from itertools import combinations, islice
from typing import Any

import torch
from torch import nn

from lth_sweep.lottery.common.errors import ConfigError, require
from lth_sweep.lottery.common.user_code import guarded
from lth_sweep.lottery.data import Data, Examples, Splits, load
from lth_sweep.lottery.data.batch import call, described, device_of, first, leaves
from lth_sweep.lottery.network.initial.drawing import trained
from lth_sweep.lottery.network.initial.initialization import Init, Pretrained
from lth_sweep.lottery.network.models import Model
from lth_sweep.lottery.network.tracing import copied
from lth_sweep.lottery.pruning.granularity import NothingToRemove
from lth_sweep.lottery.pruning.selection import check_layer_rates
from lth_sweep.lottery.recipe.trial import TrialConfig
from lth_sweep.lottery.task import Task
from lth_sweep.lottery.task.checking import check_modes, check_task
from lth_sweep.lottery.training.groups import check_lr_factors
from lth_sweep.sweepfile.axis import Axis, Between, Changes, Pick
from lth_sweep.sweepfile.decode import decode
from lth_sweep.sweepfile.mistakes import Mistakes, each, under
from lth_sweep.sweepfile.space import corners, place, recipes, with_parents
from lth_sweep.sweepfile.spec import SweepSpec

MOST_COMBINATIONS = 10_000
"""Of any two axes; a check takes about 0.1 ms."""
PRUNING = ("data", "task", "model", "prunable", "method", "criterion", "granularity", "scope", "rate", "layer_rates")
"""Options that decide what of a network is pruned."""
_pruning: dict[str, NothingToRemove | None] = {}
"""Those that go together, as they were found to, and, where that is so, why nothing can be removed."""
TRIED = 8
"""Examples that loss and metrics are tried on."""
LARGE = 10_000_000
"""Weights from which on a network is tried by its shapes alone. A smaller one is run: it takes milliseconds, and the
first run by shapes a second, for what PyTorch imports to do it."""


def check(spec: SweepSpec, written: Mapping[str, Any], mistakes: Mistakes, *, checked: bool = False) -> None:
    """Try the base, each option of each axis alone (both ends of a range), and all pairs of options of two axes; what
    does not fit goes to the `mistakes`.

    `written` is the `space` section as in the file. `checked`: it was all tried before; only decode it, so that every
    class that the file names is imported.
    """
    with mistakes.under("trial"):
        _try(spec.base, checked)
    known = [path.partition(".")[2] for path in mistakes.found if path.split(".")[0] == "trial"]
    alone = [*combinations(spec.space, 1)]
    tried: set[frozenset[tuple[str, Pick]]] = set()
    refused: list[frozenset[tuple[str, Pick]]] = []
    for some in alone if known or checked else [*alone, *combinations(spec.space, 2)]:
        axes = with_parents(spec.space, some)
        for picks in islice(corners(axes), MOST_COMBINATIONS):
            key = frozenset(picks.items())
            if key not in tried and not any(one <= key for one in refused):
                tried.add(key)
                found = list(_refusals(spec.base, axes, picks, written, known, checked))
                refused += [key] if found else []
                for error in found:
                    mistakes.add(error)
    if spec.space and not checked and not any(path.split(".")[0] in ("trial", "space") for path in mistakes.found):
        for index, point in enumerate(spec.search.first):
            with mistakes.under(f"search.first.{index}"):
                _try(place(spec.base, spec.space, point))
        with mistakes.under(""):
            _check_something(spec)
        with mistakes.under("verify.controls"):
            _check_scratch(spec)
        with mistakes.under("trial"):
            _check_device(spec)


def _try(raw: Mapping[str, Any], checked: bool = False) -> None:
    trial = decode(TrialConfig, raw)
    if not checked:
        check_trial(trial)


def _check_something(spec: SweepSpec) -> None:
    """Refuse a sweep whose recipes can all remove nothing. Where some can, the trials of the others end after the dense
    network, and `plan` says why."""
    some = recipes(spec.base, spec.space, "data", "model", "prunable", "granularity")
    found = [_check_pruning(recipe) for recipe in some]
    if nothing := all(found) and found[0]:
        axis = any("granularity" in axis.roots for axis in spec.space)
        raise nothing.under("space" if axis else "trial")


def _check_scratch(spec: SweepSpec) -> None:
    """Refuse the control scratch where no recipe of the space prunes units; tickets of others go without it."""
    units = any(recipe.granularity.removes_units for recipe in recipes(spec.base, spec.space, "granularity"))
    if "scratch" in spec.verify.controls and not units:
        raise ConfigError("scratch trains the smaller network that is left when whole units go, but no recipe here has "
                          "granularity unit; leave it out")  # fmt: skip


def _check_device(spec: SweepSpec) -> None:
    """Refuse what needs a GPU where trials get none."""
    for recipe in recipes(spec.base, spec.space, "train"):
        recipe.train.check_device("cuda" if spec.resources.gpu else "cpu")


def check_trial(trial: TrialConfig) -> None:
    """Whether this trial could run. Reads its data, but trains nothing."""
    mistakes = Mistakes()
    with under("data"), guarded(trial.data.kind, "loading"):
        splits = load(trial.data)
        _check_data(trial.data)
    with guarded(trial.task.kind, "looking at the targets"):
        trial.task.check(splits)
    with mistakes.under(""):
        trial.clock(len(splits.train))
    with mistakes.under("train.augment"):
        _check_augment(trial, splits)
    with mistakes.under("model"):
        _module(trial.data, trial.task, trial.model)
        with mistakes.under(""):
            _check_pruning(trial)
        with mistakes.under("task"):
            _check_task(trial.data, trial.task, trial.model)
        with mistakes.under(""):
            check_lr_factors(trial.train.lr_factors, trained(_module(trial.data, trial.task, trial.model)))
        with mistakes.under("init"):
            _check_init(trial.data, trial.task, trial.model, trial.init)
        if trial.train.batch == trial.train.accumulate:
            with mistakes.under("train.batch"):
                _check_alone(trial.data, trial.task, trial.model)
    mistakes.refuse()


@cache
def _check_data(data: Data) -> None:
    splits = load(data)
    for name, source in (("training", splits.train), ("validation", splits.validation)):
        require(len(source) > 0, "", f"the {name} split is empty")
        parts = leaves((source.x, source.y)) if isinstance(source, Examples) else []
        finite = all(bool(part.isfinite().all()) for part in parts)
        require(finite, "", f"the {name} split has values that are infinite or not a number")
    data.check(splits)


def _check_augment(trial: TrialConfig, splits: Splits) -> None:
    x, augment = splits.train.first(2).x, trial.train.augment
    inputs = described(x, whole=False)
    try:
        changed = described(augment(x, torch.Generator().manual_seed(0)), whole=False)
    except Exception as error:  # of any kind: it may be the user's own
        raise ConfigError(f"{augment.kind} cannot change inputs of shape {inputs}: {error}") from error
    require(changed == inputs, "", f"must keep the shape {inputs}, but makes it {changed}")


@cache
def _check_init(data: Data, task: Task, model: Model, init: Init) -> None:
    if isinstance(init, Pretrained):
        init.loaded(TrialConfig(data=data, task=task, model=model).build())


@cache
def _check_task(data: Data, task: Task, model: Model) -> None:
    """Whether the network's outputs are such that the task has a loss and metrics of them."""
    module = copied(_module(data, task, model))
    x, y = (first(part, TRIED, device_of(module)) for part in load(data).train.first(TRIED))
    with torch.random.fork_rng(devices=[]), guarded(task.kind, "the loss or a metric of the first examples"):
        check_task(task, module, x, y)


@cache
def _check_alone(data: Data, task: Task, model: Model) -> None:
    """Whether the network can be trained on batches of one example."""
    module = TrialConfig(data=data, task=task, model=model).build().train()
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            call(module, first(load(data).example, 1, device_of(module)))
    except ValueError as error:  # which BatchNorm raises
        raise ConfigError(f"the network cannot be trained on batches of 1 example, as BatchNorm needs several ({error})"
                          "; choose a larger batch") from error  # fmt: skip


def _check_pruning(trial: TrialConfig) -> NothingToRemove | None:
    """Whether the recipe can prune the network. One too large to be built is asked about its layers alone. Returns why
    nothing can be removed, where that is so."""
    key = repr([getattr(trial, name) for name in PRUNING])
    if key not in _pruning:
        with guarded(trial.model.kind, "watching what a forward pass does"):
            network = trial.network(_module(trial.data, trial.task, trial.model))
        nothing = None
        if device_of(network.module).type == "meta":
            check_layer_rates(trial.layer_rates, network.layers)
        else:
            try:
                trial.check(network)
            except NothingToRemove as error:
                nothing = error
        _pruning[key] = nothing
    return _pruning[key]


@lru_cache(maxsize=8)
def _module(data: Data, task: Task, model: Model) -> nn.Module:
    """The network, which is built and given a batch of two."""
    trial, splits = TrialConfig(data=data, task=task, model=model), load(data)
    try:
        with torch.device("meta"):  # shapes only, so that a network too large for this machine's memory does no harm
            module = trial.build()
            if sum(parameter.numel() for parameter in module.parameters()) > LARGE:
                trial.network(module)
                return _try_module(module, trial, splits)
    except Exception:  # a real error, or a module that looks at values, which meta tensors do not have
        pass
    shape = described(splits.example, whole=False)
    with torch.random.fork_rng(devices=[]), guarded(model.kind, f"a batch of inputs of shape {shape}"):
        try:
            return _try_module(trial.build(), trial, splits)
        except Exception as error:  # of any kind: it may be the user's own
            if not any(tensor.dtype == torch.uint8 for tensor in leaves(splits.example)):
                raise
            raise ConfigError(f"{error}; inputs are bytes (uint8), as the data set gives them: let it give tokens as "
                              "int64; images become numbers from 0 to 1 by its option `scale: true`"
                              ) from error  # fmt: skip


def _try_module(module: nn.Module, trial: TrialConfig, splits: Splits) -> nn.Module:
    x, y = (first(part, 2, device_of(module)) for part in splits.train.first(2))
    with torch.no_grad():
        check_modes(trial.task, copied(module), x, y)
        output = call(module.eval(), x)
        trial.task.check_output(output, y, trial.task.outputs(splits))
    return module


def _refusals(
    base: Mapping[str, Any],
    axes: Sequence[Axis],
    picks: Mapping[str, Pick],
    written: Mapping[str, Any],
    known: Sequence[str],
    checked: bool,
) -> Iterator[ConfigError]:
    """What is wrong with these picks, each at the option that causes it, but for what is `known` to be wrong with the
    base."""
    try:
        raw = place(base, axes, picks)
    except ConfigError as error:  # the path of an axis does not exist
        if not any(_is_in(error.path, path) for path in known):
            set_ = [(axis, path) for axis in reversed(axes) for path in _set(axis, picks)]
            axis, path = next((axis, path) for axis, path in set_ if _is_in(path, error.path))
            where = f"{_where(axis, picks, written)}.{path}" if isinstance(axis.domain, Changes) else ""
            yield ConfigError(error.message, f"space.{axis.path}{where}")
        return
    try:
        _try(raw, checked)
    except ConfigError as error:
        existing = [axis for axis in axes if axis.path in picks]
        for one in each(error):
            own = [axis for axis in existing if any(_is_in(one.path, path) for path in _set(axis, picks))]
            if own or not any(_is_in(one.path, path) for path in known):
                yield _blame(one, existing, own, picks, written)


def _blame(
    error: ConfigError, axes: Sequence[Axis], own: Sequence[Axis], picks: Mapping[str, Pick], written: Mapping[str, Any]
) -> ConfigError:
    """The error at the option that caused it, saying which other options it does not go with."""
    axis = max(own, key=lambda axis: max(map(len, axis.fields))) if own else axes[-1]
    others = [f"{other.path} = {picks[other.path]}" for other in axes if other is not axis or not own]
    message = error.message if own else f"trial.{error}"
    if others:
        message = f"with {' and '.join(others)}: {message}"
    if isinstance(axis.domain, Between) and not axis.domain.integer and "must be a whole number" in message:
        message += "; add `integer: true` to the range"
    inside = f".{error.path}" if isinstance(axis.domain, Changes) else error.path.removeprefix(axis.path)
    return ConfigError(message, f"space.{axis.path}{_where(axis, picks, written)}{inside if own else ''}")


def _where(axis: Axis, picks: Mapping[str, Pick], written: Mapping[str, Any]) -> str:
    """The place of the pick in the file, after that of the axis."""
    if isinstance(axis.domain, Between):
        return ".between"
    if isinstance(axis.domain, Changes):
        return f".changes.{picks[axis.path]}"
    listed = isinstance(written[axis.path]["choice"], list)
    return f".choice.{list(axis.domain.options).index(str(picks[axis.path])) if listed else picks[axis.path]}"


def _set(axis: Axis, picks: Mapping[str, Pick]) -> list[str]:
    """The fields that an axis sets under these picks."""
    return list(axis.values(picks[axis.path])) if axis.path in picks else []


def _is_in(path: str, outer: str) -> bool:
    return not outer or f"{path}.".startswith(f"{outer}.")
