"""The search space: axes as written in the file, and trials made of picks."""

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_origin

from lth_sweep.lottery.common.duration import Duration
from lth_sweep.lottery.common.errors import ConfigError, unknown
from lth_sweep.lottery.common.identity import canonical
from lth_sweep.lottery.data import Data
from lth_sweep.lottery.recipe.trial import TrialConfig
from lth_sweep.sweepfile.columns import LEVELS, TRIALS
from lth_sweep.sweepfile.decode import annotations, decode, is_family, show, unknown_key, written
from lth_sweep.sweepfile.document import as_text
from lth_sweep.sweepfile.mistakes import Mistakes, under
from lth_sweep.sweepfile.spec import Axis, Between, Changes, Choice, Pick

RANGE_KEYS = {"between", "log", "integer", "when"}
CHOICE_KEYS = {"choice", "when"}
CHANGES_KEYS = {"changes", "when"}
EITHER = "must be a range, {between: [low, high]}, a choice, {choice: [a, b]}, or {changes: {label: {field: value}}}"


def parse_space(raw: Any, mistakes: Mistakes) -> tuple[Axis, ...]:
    """The axes in the order of the file, but each after those that its `when` names. Those that are wrong go to the
    `mistakes`, and those that depend on them are left out."""
    if not isinstance(raw, Mapping):
        mistakes.add(ConfigError(f"must be a mapping of fields of the trial to axes, but got {show(raw)}", "space"))
        return ()
    if not raw:
        mistakes.add(
            ConfigError("is empty: it needs at least one axis, such as `rate: {between: [0.2, 0.6]}`", "space")
        )
    axes = {}
    for path, axis in raw.items():
        with mistakes.under(f"space.{path}"):
            axes[path] = _axis(path, axis)
    right = {}
    for path, axis in axes.items():
        with mistakes.under(f"space.{path}.when"):
            _check_when(axis, axes, raw)
            right[path] = axis
    with mistakes.under("space"):
        return tuple(_parents_first(right))
    return ()


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
            values |= values_of(axis, picks[axis.path])
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


def values_of(axis: Axis, pick: Pick) -> dict[str, Any]:
    """Dotted path -> value of the fields that a pick sets."""
    value = value_of(axis, pick)
    return dict(value) if isinstance(axis.domain, Changes) else {axis.path: value}


def value_of(axis: Axis, pick: Pick) -> Any:
    """What a pick stands for, as one would write it."""
    domain = axis.domain
    if isinstance(domain, Choice):
        if pick not in domain.options:
            raise ConfigError(unknown("label", str(pick), domain.options))
        return domain.options[str(pick)]
    if isinstance(pick, str):
        raise ConfigError(f"must be a number between {domain.low:g} and {domain.high:g}, but got {show(pick)}")
    number = round(pick) if domain.integer else float(pick)
    return number if domain.unit is None else str(Duration(number, domain.unit))  # type: ignore[arg-type]


def extremes(axis: Axis) -> tuple[Pick, ...]:
    """All labels of a choice; both ends of a range."""
    if isinstance(axis.domain, Choice):
        return tuple(axis.domain.options)
    ends = (axis.domain.low, axis.domain.high)
    return tuple(int(end) for end in ends) if axis.domain.integer else ends


def corners(axes: Sequence[Axis], picks: Mapping[str, Pick] | None = None) -> Iterator[dict[str, Pick]]:
    """Every combination of extremes, without the picks of axes that do not exist in it. Axes come parents first."""
    picks = dict(picks or {})
    if not axes:
        yield picks
    elif not axes[0].exists(picks):
        yield from corners(axes[1:], picks)
    else:
        for pick in extremes(axes[0]):
            yield from corners(axes[1:], {**picks, axes[0].path: pick})


def data_sets(base: Mapping[str, Any], axes: Sequence[Axis]) -> Iterator[Data]:
    """All data sets that a trial can have; of a range, those at its ends."""
    some = with_parents(axes, [axis for axis in axes if "data" in {path.split(".")[0] for path in axis.fields}])
    for picks in corners(some):
        yield decode(TrialConfig, place(base, some, picks)).data


def with_parents(axes: Sequence[Axis], some: Iterable[Axis]) -> list[Axis]:
    """`some` of the axes and all that their `when` depends on, parents first."""
    wanted = {axis.path for axis in some}
    for axis in reversed(axes):
        if axis.path in wanted:
            wanted.update(axis.when)
    return [axis for axis in axes if axis.path in wanted]


def _axis(path: str, raw: Any) -> Axis:
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{EITHER}, but got {show(raw)}; a fixed value belongs under `trial`")
    kinds = {"between": RANGE_KEYS, "choice": CHOICE_KEYS, "changes": CHANGES_KEYS}
    kind = next((key for key in kinds if key in raw), None)
    allowed = kinds[kind] if kind else RANGE_KEYS | CHOICE_KEYS | CHANGES_KEYS
    for key in raw:
        if key not in allowed:
            raise ConfigError(unknown("key", key, allowed), key)
    if kind is None:
        raise ConfigError(f"{EITHER}, but got {show(raw)}")
    domain: Between | Choice
    if kind == "between":
        with under("between"):
            ends = _ends(raw["between"])
        options = {key: _boolean(key, raw[key]) for key in ("log", "integer") if key in raw}
        domain = _between(*ends, **options)
    elif kind == "changes":
        _check_name(path)
        with under("changes"):
            domain = _changes(raw["changes"])
    else:
        with under("choice"):
            domain = _choice(raw["choice"])
    with under("when"):
        axis = Axis(path, domain, _when(raw.get("when", {})))
    if any(field.split(".")[0] == "task" for field in axis.fields):
        raise ConfigError("the task cannot vary, as trials of several could not be compared; set it under `trial`")
    return axis


def _boolean(key: str, raw: Any) -> bool:
    with under(key):
        return decode(bool, raw)


def _ends(raw: Any) -> tuple[float | Duration, float | Duration]:
    if not isinstance(raw, list) or len(raw) != 2:
        raise ConfigError(f"must be two numbers or two durations, [low, high], but got {show(raw)}")
    low, high = (decode(Duration if isinstance(end, str) else float, end) for end in raw)
    return low, high


def _between(low: float | Duration, high: float | Duration, log: bool = False, integer: bool = False) -> Between:
    units = {end.unit if isinstance(end, Duration) else None for end in (low, high)}
    if len(units) != 1:
        raise ConfigError("both ends must have the same unit", "between")
    unit = units.pop()
    low, high = (end.amount if isinstance(end, Duration) else end for end in (low, high))
    integer = integer or unit == "steps"
    if not low < high:
        raise ConfigError(f"the low end must be below the high end, but got {low:g} and {high:g}", "between")
    if log and low <= 0:
        raise ConfigError(f"a range with log needs a low end above 0, but got {low:g}", "between")
    if integer and not (low.is_integer() and high.is_integer()):
        raise ConfigError(f"a range of integers needs whole ends, but got {low:g} and {high:g}", "between")
    return Between(low, high, log, integer, unit)


def _choice(raw: Any) -> Choice:
    if not isinstance(raw, list | Mapping) or not raw:
        raise ConfigError(f"must be a list of options or a mapping of labels to options, but got {show(raw)}")
    if isinstance(raw, Mapping):
        return Choice(dict(raw))
    options: dict[str, Any] = {}
    for i, option in enumerate(raw):
        label = _label(option)
        if label in options:
            raise ConfigError(f"duplicate label {label!r}: remove one, or write {{label: value}}", str(i))
        options[label] = option
    return Choice(options)


def _changes(raw: Any) -> Changes:
    if not isinstance(raw, Mapping) or not raw:
        raise ConfigError(f"must be a mapping of labels to changes, {{label: {{field: value}}}}, but got {show(raw)}")
    for label, change in raw.items():
        if not isinstance(change, Mapping):
            raise ConfigError(f"must be a mapping of fields of the trial to values, such as {{rate: 0.2}}, or {{}} for "
                              f"no change, but got {show(change)}", label)  # fmt: skip
    return Changes(dict(raw))


def _check_name(name: str) -> None:
    """Of an axis of changes, which is no field of the trial: it is a column of the tables, and a part of paths."""
    if not re.fullmatch(r"[\w .-]+", name):
        raise ConfigError("the name of an axis of changes may have letters, digits, spaces, `.`, `_` and `-`, but got "
                          f"{show(name)}")  # fmt: skip
    if name in LEVELS or name in TRIALS:
        raise ConfigError(f"{name!r} is a column of every sweep's tables (docs/records.md); choose another name")


def _label(option: Any) -> str:
    """Of the option alone, so that it stays when others are added: "unit", "[300, 100]", "step(at=50 steps)"."""
    if isinstance(option, list):
        return f"[{', '.join(map(_label, option))}]"
    if isinstance(option, Mapping):
        options = ", ".join(f"{key}={_label(value)}" for key, value in option.items() if key != "kind")
        return _label(option.get("kind", "")) + (f"({options})" if options else "")
    return as_text(option)


def _when(raw: Any) -> dict[str, tuple[str, ...]]:
    if not isinstance(raw, Mapping):
        raise ConfigError(f"must be a mapping of axes to labels, such as {{granularity: unit}}, but got {show(raw)}")
    return {path: tuple(map(_label, labels if isinstance(labels, list) else [labels])) for path, labels in raw.items()}


def _check_when(axis: Axis, axes: Mapping[str, Axis], written: Iterable[str]) -> None:
    for path, labels in axis.when.items():
        if path not in written:
            raise ConfigError(unknown("axis", path, written), path)
        if path in axes:
            domain = axes[path].domain
            if not isinstance(domain, Choice):
                raise ConfigError("must be an axis with a choice, but it is a range", path)
            if not labels:
                raise ConfigError("needs at least one label", path)
            for label in labels:
                if label not in domain.options:
                    raise ConfigError(unknown("label", label, domain.options), path)


def _parents_first(axes: Mapping[str, Axis]) -> list[Axis]:
    """Without those that depend on axes that are not there."""
    ordered: dict[str, Axis] = {}
    while ready := [axis for path, axis in axes.items() if path not in ordered and axis.when.keys() <= ordered.keys()]:
        ordered[ready[0].path] = ready[0]
    stuck = [path for path in axes if path not in ordered]
    if stuck and all(axes[path].when.keys() <= axes.keys() for path in stuck):
        raise ConfigError(f"axes depend on each other in a circle: {', '.join(stuck)}", f"{stuck[0]}.when")
    return list(ordered.values())


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
        inner = given[name] if name in given else _default(expected, name) if rest else None
        return {**raw, name: _put(fields[name], inner, rest, value)}


def _default(cls: Any, name: str) -> Any:
    field = next(field for field in dataclasses.fields(cls) if field.name == name)
    if field.default is not dataclasses.MISSING:
        return canonical(field.default)
    if field.default_factory is not dataclasses.MISSING:
        return canonical(field.default_factory())
    raise ConfigError("is missing in the trial")
