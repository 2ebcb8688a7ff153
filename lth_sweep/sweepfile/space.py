"""From picks to trials: the points of a space, put into the base."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_origin

from lth_sweep.lottery.common.duration import Duration
from lth_sweep.lottery.common.errors import ConfigError, unknown
from lth_sweep.lottery.common.identity import canonical
from lth_sweep.lottery.data import Data
from lth_sweep.lottery.recipe.trial import TrialConfig
from lth_sweep.sweepfile.axis import Axis, Pick
from lth_sweep.sweepfile.decode import annotations, decode, defaults, is_family, needed, unknown_key, written
from lth_sweep.sweepfile.mistakes import under


def place(base: Mapping[str, Any], axes: Sequence[Axis], picks: Mapping[str, Pick]) -> dict[str, Any]:
    """The trial, as one would write it, that the picks make of the base.

    Axes that do not exist under these picks (`when`) leave the base as it is. Raises ConfigError for a pick that is
    missing, unknown, or does not fit the trial.
    """
    for path in picks:
        if path not in {axis.path for axis in axes}:
            raise ConfigError(unknown("axis", path, [axis.path for axis in axes]))
    values: dict[str, Any] = {}
    for axis in existing(axes, picks):
        if axis.path not in picks:
            raise ConfigError("there is no pick for this axis", axis.path)
        with under(axis.path):
            values |= axis.values(picks[axis.path])
    return changed(base, values)


def changed(trial: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The trial, as one would write it, with these values at these dotted paths."""
    result: Any = trial
    for path in sorted(values, key=lambda path: path.count(".")):  # an optimizer before its learning rate
        result = _put(TrialConfig, result, path.split("."), values[path])
    return dict(result)


def existing(axes: Sequence[Axis], picks: Mapping[str, Pick]) -> Iterator[Axis]:
    """The axes that exist under these picks, given parents first. Picks of axes that do not exist count for nothing."""
    valid: dict[str, Pick] = {}
    for axis in axes:
        if axis.exists(valid):
            if axis.path in picks:
                valid[axis.path] = picks[axis.path]
            yield axis


def corners(axes: Sequence[Axis], picks: Mapping[str, Pick] | None = None) -> Iterator[dict[str, Pick]]:
    """Every combination of extremes, without the picks of axes that do not exist in it. Axes come parents first."""
    picks = dict(picks or {})
    if not axes:
        yield picks
    elif not axes[0].exists(picks):
        yield from corners(axes[1:], picks)
    else:
        for pick in axes[0].domain.extremes:
            yield from corners(axes[1:], {**picks, axes[0].path: pick})


def recipes(base: Mapping[str, Any], axes: Sequence[Axis], *fields: str) -> Iterator[TrialConfig]:
    """The trials that differ in these fields of theirs: all choices, both ends of ranges."""
    some = with_parents(axes, [axis for axis in axes if axis.roots & {*fields}])
    for picks in corners(some):
        yield decode(TrialConfig, place(base, some, picks))


def data_sets(base: Mapping[str, Any], axes: Sequence[Axis]) -> Iterator[Data]:
    """All data sets that a trial can have; of a range, those at its ends."""
    return (recipe.data for recipe in recipes(base, axes, "data"))


def with_parents(axes: Sequence[Axis], some: Iterable[Axis]) -> list[Axis]:
    """`some` of the axes and all that their `when` depends on, parents first."""
    wanted = {axis.path for axis in some}
    for axis in reversed(axes):
        if axis.path in wanted:
            wanted.update(axis.when)
    return [axis for axis in axes if axis.path in wanted]


def _put(expected: Any, raw: Any, parts: Sequence[str], value: Any) -> Any:
    """`raw`, as written for the type `expected`, with `value` at the path `parts`. What is not written is a default."""
    if not parts:
        return value
    name, *rest = parts
    if get_origin(expected) is dict:
        return {**raw, ".".join(parts): value}
    if is_family(expected):
        found, options = written(expected, raw)
        raw = {"kind": raw} if isinstance(raw, str) else raw
        if not (isinstance(found, type) and issubclass(found, expected)):  # a user's own, with options of its own
            return {**raw, ".".join(parts): value}
        expected, given = found, options
    elif dataclasses.is_dataclass(expected) and expected is not Duration and isinstance(raw, Mapping):
        given = dict(raw)
    else:
        raise ConfigError(f"has no fields, so there is no {'.'.join(parts)!r} in it")
    fields = annotations(expected)
    if name not in fields:
        raise ConfigError(unknown_key("field", name, fields), name)
    with under(name):
        if rest and name not in given and name in needed(expected):
            raise ConfigError("is missing in the trial")
        inner = given[name] if name in given else canonical(defaults(expected)[name]) if rest else None
        return {**raw, name: _put(fields[name], inner, rest, value)}
