"""Plain data, as a file holds it, to the type that an annotation asks for."""

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from lth_sweep.lottery.common.duration import Duration
from lth_sweep.lottery.common.errors import ConfigError, unknown
from lth_sweep.lottery.common.registry import Strategy, find
from lth_sweep.lottery.common.user_code import guarded
from lth_sweep.sweepfile.mistakes import Mistakes, under

SCALARS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
WORDS = SCALARS | {Duration: "a duration", NoneType: "null"}


def decode(expected: Any, value: Any) -> Any:
    """The value of type `expected` (an annotation) that the plain `value` stands for.

    Nothing is guessed: "3" is no number, true is no 1. An int will do for a float, a list for a tuple, "adam" or
    {kind: adam, lr: 0.001} for a strategy, "20 epochs" for a duration. Raises ConfigError with the path of the field,
    or ConfigErrors with those of several.
    """
    origin, arguments = get_origin(expected), get_args(expected)
    if expected is Duration:
        return _duration(value)
    if is_family(expected):
        return _strategy(expected, value)
    if dataclasses.is_dataclass(expected):
        return _build(expected, value)
    if origin in (Union, UnionType):
        return _union(expected, arguments, value)
    if origin is tuple:
        return _tuple(expected, arguments, value)
    if origin in (dict, Mapping):
        return _items({key: (arguments[1], item) for key, item in _mapping(value).items()})
    return _leaf(expected, value)


def is_family(expected: Any) -> bool:
    return isinstance(expected, type) and issubclass(expected, Strategy)


def written(family: type[Strategy], value: Any) -> tuple[Any, dict[str, Any]]:
    """The class that "adam" or {kind: adam, ...} names, and its options."""
    if isinstance(value, str):
        return find(family, value), {}
    if not isinstance(value, Mapping):
        raise ConfigError(f"must be {_a(family.family)}, such as {_example(family)}, but got {show(value)}")
    if "kind" not in value:
        raise ConfigError(f"needs a kind, such as {_example(family)}; allowed: {', '.join(sorted(family.kinds))}")
    with under("kind"):
        found = find(family, _leaf(str, value["kind"]))
    return found, {key: option for key, option in value.items() if key != "kind"}


@cache
def annotations(cls: type) -> dict[str, Any]:
    """The types of a dataclass's fields."""
    if not dataclasses.is_dataclass(cls):
        raise ConfigError(f"{cls.__module__}:{cls.__qualname__} must be a frozen dataclass; its fields are its options")
    with guarded(cls.__qualname__, "reading the annotations"):
        hints = get_type_hints(cls)
    return {
        field.name: hints[field.name] for field in dataclasses.fields(cls) if field.metadata.get("written", field.init)
    }


def defaults(cls: Any) -> dict[str, Any]:
    """Of the fields of a dataclass that have one."""
    found = {}
    for field in dataclasses.fields(cls):
        if field.default_factory is not dataclasses.MISSING:
            found[field.name] = field.default_factory()
        elif field.default is not dataclasses.MISSING:
            found[field.name] = field.default
    return found


@cache
def needed(cls: Any) -> set[str]:
    """The fields of a dataclass that have no default."""
    return {field.name for field in dataclasses.fields(cls) if field.init} - defaults(cls).keys()


def show(value: Any) -> str:
    """A value in a message, as it would be written in a file."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def unknown_key(what: str, key: str, allowed: Iterable[str]) -> str:
    return unknown(what, key, allowed) if allowed else f"unknown {what} {key!r}; there is nothing to set here"


def _example(family: type[Strategy]) -> str:
    kind = next(iter(family.kinds), "package.module:Name")
    return f"{kind!r} or {{kind: {kind}, ...}}"


def _items(pairs: Mapping[str, tuple[Any, Any]]) -> dict[str, Any]:
    """Name -> value decoded, of name -> (type, value)."""
    found, mistakes = {}, Mistakes()
    for name, (expected, value) in pairs.items():
        with mistakes.under(name):
            found[name] = decode(expected, value)
    mistakes.refuse()
    return found


def _duration(value: Any) -> Duration:
    if not isinstance(value, str):
        hint = f'; write "{value} steps" or "{value} epochs"' if isinstance(value, int | float) else ""
        raise ConfigError(f'expected a duration such as "600 steps", "20 epochs" or "20%", but got {show(value)}{hint}')
    try:
        duration = Duration.parse(value)
    except OverflowError:
        duration = None
    if duration is None or not math.isfinite(duration.amount):
        raise ConfigError(f"this duration is too long: {show(value)}")
    return duration


def _strategy(family: type[Strategy], value: Any) -> Strategy:
    found, options = written(family, value)
    if isinstance(found, type) and issubclass(found, family):
        return _build(found, options)
    kind = value if isinstance(value, str) else value["kind"]
    with guarded(kind, "taking it over"):
        return family.adopt(kind, found, options)


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"must be a mapping (key: value), but got {show(value)}")
    for key in value:
        if not isinstance(key, str):
            raise ConfigError(f"keys must be text, but got {show(key)}")
    return value


def _build(cls: Any, value: Any) -> Any:
    expected, given, fields, mistakes = annotations(cls), _mapping(value), {}, Mistakes()
    strange = [key for key in given if key not in expected]
    for key in strange:
        mistakes.add(ConfigError(unknown_key("key", key, expected), key))
    for name in needed(cls) - given.keys():
        if not strange:  # else it may be there, misspelt
            mistakes.add(ConfigError(f"is missing: it must be {describe(expected[name])}", name))
    for name in filter(expected.__contains__, given):
        with mistakes.under(name):
            fields[name] = decode(expected[name], given[name])
    made = _make(cls, fields, given, mistakes)
    mistakes.refuse()
    return made


def _make(cls: Any, fields: dict[str, Any], given: Mapping[str, Any], mistakes: Mistakes) -> Any:
    """The object of those of the `given` fields that are right. It may refuse more, one by one: they are left out in
    turn. Where it names a field that is left out, it speaks of a default, which is not in the file."""
    while needed(cls) <= fields.keys():
        try:
            with guarded(cls.__qualname__, "making it"):
                return cls(**fields)
        except ConfigError as error:
            refused = error.path.partition(".")[0]
            if not any(re.search(rf"\b{re.escape(key)}\b", error.message) for key in given.keys() - fields.keys()):
                mistakes.add(error)
            if refused not in fields:
                break
            del fields[refused]
    return None


def _union(expected: Any, members: tuple[Any, ...], value: Any) -> Any:
    if value is None and NoneType in members:
        return None
    others = [member for member in members if member is not NoneType]
    if len(others) == 1 and others[0] not in SCALARS:
        return decode(others[0], value)
    inner = None
    for member in others:
        try:
            return decode(member, value)
        except ConfigError as error:
            # An error inside a value says more than that the value as a whole does not fit.
            inner = inner or (error if error.path else None)
    raise inner or _misfit(expected, value)


def _tuple(expected: Any, arguments: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _misfit(expected, value)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        arguments = (arguments[0],) * len(value)
    if len(value) != len(arguments):
        raise ConfigError(f"must have {len(arguments)} entries, but got {len(value)}")
    pairs = zip(arguments, value, strict=True)
    return tuple(_items({str(i): pair for i, pair in enumerate(pairs)}).values())


@cache
def _adapter(expected: Any) -> TypeAdapter[Any]:
    return TypeAdapter(expected, config=ConfigDict(strict=expected in SCALARS, allow_inf_nan=False))


def _leaf(expected: Any, value: Any) -> Any:
    try:
        return _adapter(expected).validate_python(value)
    except ValidationError as error:
        if get_origin(expected) is Literal:
            raise ConfigError(unknown("value", str(value), map(str, get_args(expected)))) from error
        if expected in SCALARS:
            raise _misfit(expected, value) from error
        raise ConfigError(f"{error.errors()[0]['msg'].lower()}, but got {show(value)}") from error


def describe(expected: Any) -> str:
    """A type in words."""
    origin, arguments = get_origin(expected), get_args(expected)
    if origin is Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin in (Union, UnionType):
        return " or ".join(map(describe, arguments))
    if origin is tuple:
        return f"a list of {describe(arguments[0]).removeprefix('a ')}s"
    if is_family(expected):
        return _a(expected.family)
    return WORDS.get(expected) or "a mapping"


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def _misfit(expected: Any, value: Any) -> ConfigError:
    hint = ""
    if expected is str and isinstance(value, int | float):
        hint = "; put it in quotes"
    elif expected in (int, float) and isinstance(value, str) and re.fullmatch(r"[-+]?[\d.]+", value):
        hint = "; write it without quotes"
    finite = " finite" if isinstance(value, float) and not math.isfinite(value) else ""
    return ConfigError(f"must be {describe(expected).replace('a ', f'a{finite} ', 1)}, but got {show(value)}{hint}")
