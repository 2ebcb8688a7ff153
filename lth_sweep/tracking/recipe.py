"""A recipe as MLflow params, and as a name that people can read in a list."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from lth_sweep.lottery.common.registry import Strategy

LONGEST_VALUE = 6000
"""Characters of a param's value that MLflow keeps; so that a cut is seen, it is made here."""


def params(recipe: Any, picks: Mapping[str, Any]) -> dict[str, str]:
    """Dotted path -> value of every field; and the label of a choice under its axis, unless a field has that name."""
    flat = dict(_fields(recipe, ""))
    for path, pick in picks.items():
        flat.setdefault(path, show(pick))
    return {key(path): cut(value, LONGEST_VALUE) for path, value in flat.items()}


def _fields(value: Any, path: str) -> list[tuple[str, str]]:
    """(dotted path, value) of the leaves below `value`."""
    inner: list[tuple[str, Any]] = []
    if isinstance(value, Strategy):
        inner = [("kind", value.kind)]
    if isinstance(value, Mapping):
        inner += [(str(name), part) for name, part in value.items()]
    elif dataclasses.is_dataclass(value) and type(value).__str__ is object.__str__:  # a Duration is one word
        inner += [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    if not inner:
        return [(path, show(value))]
    return [leaf for name, part in inner for leaf in _fields(part, f"{path}.{name}" if path else name)]


def show(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(show, value))}]"
    if isinstance(value, Mapping) and not value:
        return "{}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def key(name: str) -> str:
    """`name` as MLflow allows it: no characters but letters, digits and "_.-:/ ", at most 250, and a clean path."""
    name = re.sub(r"[^\w.\-: /]", "_", name)
    return re.sub(r"/{2,}", "/", name).strip("/ ")[:250] or "_"


def cut(text: str, length: int) -> str:
    """At most `length` characters, saying how many there were."""
    note = f"... ({len(text)} characters)"
    return text if len(text) <= length else text[: length - len(note)] + note


def run_name(number: int, picks: Mapping[str, Any]) -> str:
    """The trial in a list: "007 rate=0.36 early unit"."""
    words = [pick if isinstance(pick, str) and pick[:1].isalpha() else
             f"{path.rpartition('.')[2]}={pick if isinstance(pick, (str, int)) else format(pick, '.3g')}"
             for path, pick in picks.items()]  # fmt: skip
    return cut(" ".join([f"{number:03d}", *words]), 200)


def renamed(current: str, name: str, found: str) -> str:
    """The trial's name with what it found after the number, as the list shows the first words only: "007 4.28%
    rate=0.36 early unit". Nothing for a `current` name that somebody else has given."""
    number, _, recipe = name.partition(" ")
    ours = current.startswith(number) and current.endswith(recipe)
    return " ".join(filter(None, [number, found, recipe])) if ours else ""
