"""The axes of a sweep: what it varies, and how that is written in the file."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lth_sweep.lottery.common.duration import Duration
from lth_sweep.lottery.common.errors import ConfigError, unknown
from lth_sweep.sweepfile.decode import decode, show
from lth_sweep.sweepfile.document import as_text
from lth_sweep.sweepfile.mistakes import Mistakes, under

Pick = str | int | float
"""The label of a choice, or a number of a range: all that a sampler ever sees."""

KEYS = {"between": {"between", "log", "integer", "when"}, "choice": {"choice", "when"}, "changes": {"changes", "when"}}
EITHER = "must be a range, {between: [low, high]}, a choice, {choice: [a, b]}, or {changes: {label: {field: value}}}"


@dataclass(frozen=True)
class Between:
    """All numbers from low to high, both included. `unit` makes them durations ("steps", "epochs", "%")."""

    low: float
    high: float
    log: bool = False
    integer: bool = False
    unit: str | None = None

    @property
    def extremes(self) -> tuple[Pick, ...]:
        ends = (self.low, self.high)
        return tuple(int(end) for end in ends) if self.integer else ends

    def value(self, pick: Pick) -> Any:
        """What a pick stands for, as one would write it."""
        if isinstance(pick, str):
            raise ConfigError(f"must be a number between {self.low:g} and {self.high:g}, but got {show(pick)}")
        number = round(pick) if self.integer else float(pick)
        return number if self.unit is None else str(Duration(number, self.unit))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Choice:
    """One of several options: label -> value, as written in the file."""

    options: Mapping[str, Any]

    @property
    def extremes(self) -> tuple[Pick, ...]:
        return tuple(self.options)

    def value(self, pick: Pick) -> Any:
        """What a label stands for, as one would write it."""
        if pick not in self.options:
            raise ConfigError(unknown("label", str(pick), self.options))
        return self.options[str(pick)]


@dataclass(frozen=True)
class Changes(Choice):
    """One of several changes, each of any number of fields: label -> {dotted path: value}, as written in the file."""


@dataclass(frozen=True)
class Axis:
    """A field of the trial that the sweep varies, or several that it varies together (`Changes`)."""

    path: str
    """Dotted: "train.optimizer.lr"; of several fields, a name for them."""
    domain: Between | Choice
    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Other axes (choices) and their labels for which this one exists; where it does not, the base's value stands."""

    def exists(self, picks: Mapping[str, Pick]) -> bool:
        """Whether this axis exists under the picks of the axes that exist. `SweepSpec.space` has parents first."""
        return all(picks.get(path) in labels for path, labels in self.when.items())

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that it varies, as dotted paths."""
        if isinstance(self.domain, Changes):
            return tuple(dict.fromkeys(path for change in self.domain.options.values() for path in change))
        return (self.path,)

    @property
    def roots(self) -> set[str]:
        """The fields of the trial that it varies, or varies something in."""
        return {path.split(".")[0] for path in self.fields}

    def values(self, pick: Pick) -> dict[str, Any]:
        """Dotted path -> value of the fields that a pick sets."""
        value = self.domain.value(pick)
        return dict(value) if isinstance(self.domain, Changes) else {self.path: value}


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


def _axis(path: str, raw: Any) -> Axis:
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{EITHER}, but got {show(raw)}; a fixed value belongs under `trial`")
    kind = next((key for key in KEYS if key in raw), None)
    allowed = KEYS[kind] if kind else set().union(*KEYS.values())
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
    if "task" in axis.roots:
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
