"""JSON Schema of the sweep file, so that editors complete it and mark mistakes; from the types that decode it."""

import ast
import dataclasses
import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping
from itertools import pairwise
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import TypeAdapter

from lth_sweep.lottery.common.duration import Duration
from lth_sweep.lottery.common.identity import canonical
from lth_sweep.lottery.recipe.trial import TrialConfig
from lth_sweep.sweepfile.axis import Axis
from lth_sweep.sweepfile.decode import annotations, defaults, is_family, needed
from lth_sweep.sweepfile.load import NAME, SECTIONS
from lth_sweep.sweepfile.spec import SweepSpec

Schema = dict[str, Any]
IMPORT_PATH = "^[^:]+:[^:]+$"
DURATION = r"^\s*\d+(\.\d+)?\s*(steps?|epochs?|%)\s*$"


def schema() -> Schema:
    """The schema of a sweep file, JSON Schema draft 2020-12."""
    definitions: dict[str, Schema] = {"axis": _axis()}
    documented = field_docs(SweepSpec)
    properties: dict[str, Schema] = {
        "name": {"type": "string", "pattern": f"^{NAME}$", "description": "Of the run folder and MLflow's experiment."},
        "trial": {"$ref": _define(TrialConfig, definitions), "description": "The base recipe."},
        "space": {
            "type": "object",
            "description": "The fields of the trial that the sweep varies, by dotted path.",
            "minProperties": 1,
            "properties": {path: {"$ref": "#/$defs/axis"} for path in sorted(set(_paths(TrialConfig)))},
            "additionalProperties": {"$ref": "#/$defs/axis"},
        },
    }
    for name, section in SECTIONS.items():
        properties[name] = {"$ref": _define(section, definitions)} | documented.get(name, {})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A sweep of lth_sweep",
        "type": "object",
        "required": ["name", "space"],
        "additionalProperties": False,
        "properties": properties,
        "$defs": dict(sorted(definitions.items())),
    }


def text() -> str:
    """The schema as it is committed beside the sweep files."""
    return json.dumps(schema(), indent=2) + "\n"


def _of(expected: Any, definitions: dict[str, Schema]) -> Schema:
    """The schema of one annotation; `definitions` collects those of dataclasses and families."""
    origin, arguments = get_origin(expected), get_args(expected)
    if expected is Duration:
        return {"type": "string", "pattern": DURATION, "description": '"600 steps", "20 epochs" or "20%"'}
    if is_family(expected) or dataclasses.is_dataclass(expected):
        return {"$ref": _define(expected, definitions)}
    if expected is NoneType:
        return {"type": "null"}
    if origin in (Union, UnionType):
        return {"anyOf": [_of(member, definitions) for member in arguments]}
    if origin is tuple and arguments[-1] is Ellipsis:
        return {"type": "array", "items": _of(arguments[0], definitions)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _of(arguments[1], definitions)}
    return TypeAdapter(expected).json_schema()


def _define(cls: Any, definitions: dict[str, Schema]) -> str:
    if cls.__name__ not in definitions:
        definitions[cls.__name__] = {}  # so that a type that contains itself ends here
        definitions[cls.__name__] = _family(cls, definitions) if is_family(cls) else _object(cls, definitions)
    return f"#/$defs/{cls.__name__}"


def _object(cls: Any, definitions: dict[str, Schema], **first: Schema) -> Schema:
    """A mapping with a property for each field, after the `first` ones, which are required."""
    docs = field_docs(cls)
    properties = dict(first)
    known = defaults(cls)
    for name, expected in annotations(cls).items():
        default = {"default": canonical(known[name])} if name in known else {}
        properties[name] = _of(expected, definitions) | docs.get(name, {}) | default
    required = [*first, *(name for name in annotations(cls) if name not in known)]
    return {
        "type": "object",
        "description": _paragraph(cls.__doc__),
        "properties": properties,
        "additionalProperties": False,
        **({"required": required} if required else {}),
    }


def _family(family: Any, definitions: dict[str, Schema]) -> Schema:
    """A kind by name, with options, or a class of the user's own with options that only it knows."""
    alone = [kind for kind, member in family.kinds.items() if not needed(member)]
    return {
        "description": _paragraph(family.__doc__),
        "anyOf": [
            {"enum": alone},
            {"type": "string", "pattern": IMPORT_PATH, "description": "package.module:Name"},
            *(_object(member, definitions, kind={"const": kind}) for kind, member in family.kinds.items()),
            {
                "type": "object",
                "properties": {"kind": {"type": "string", "pattern": IMPORT_PATH}},
                "required": ["kind"],
            },
        ],
    }


def _axis() -> Schema:
    end = {"anyOf": [{"type": "number"}, {"type": "string", "pattern": DURATION}]}
    label = {"type": ["string", "number", "boolean", "null"]}
    labels = {"type": "object", "additionalProperties": {"anyOf": [label, {"type": "array", "items": label}]}}
    when = {"when": labels | field_docs(Axis)["when"]}
    between = {
        "between": {"type": "array", "items": end, "minItems": 2, "maxItems": 2, "description": "[low, high]"},
        "log": {"type": "boolean", "default": False, "description": "Draw evenly from the logarithm."},
        "integer": {"type": "boolean", "default": False, "description": "Whole numbers only; always so for steps."},
        **when,
    }
    options = [{"type": "array", "minItems": 1}, {"type": "object", "minProperties": 1}]
    choice = {"choice": {"anyOf": options, "description": "[option, ...] or {label: option, ...}"}, **when}
    change = {"type": "object", "description": "{dotted path of a field of the trial: value, ...}"}
    labelled = {"type": "object", "minProperties": 1, "additionalProperties": change}
    changes = {"changes": labelled | {"description": "{label: {field: value, ...}, ...}"}, **when}
    return {
        "description": "A range of numbers or durations, a choice of options, or one of changes of several fields.",
        "anyOf": [
            {"type": "object", "properties": between, "required": ["between"], "additionalProperties": False},
            {"type": "object", "properties": choice, "required": ["choice"], "additionalProperties": False},
            {"type": "object", "properties": changes, "required": ["changes"], "additionalProperties": False},
        ],
    }


def _paths(expected: Any) -> Iterator[str]:
    """The dotted paths of all fields, those of every kind of a strategy among them."""
    for cls in expected.kinds.values() if is_family(expected) else [expected]:
        for name, inner in annotations(cls).items():
            yield name
            if is_family(inner) or (dataclasses.is_dataclass(inner) and inner is not Duration):
                yield from (f"{name}.{path}" for path in _paths(inner))


def field_docs(cls: Any) -> Mapping[str, Schema]:
    """The descriptions of fields: the string literals that follow them in the class's source."""
    docs = {}
    for owner in reversed([owner for owner in cls.__mro__ if "__dataclass_fields__" in vars(owner)]):
        body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0].body  # type: ignore[attr-defined]
        for statement, following in pairwise(body):
            literal = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and literal:
                docs[statement.target.id] = {"description": _paragraph(following.value.value)}
    return docs


def _paragraph(doc: str | None) -> str:
    return " ".join(inspect.cleandoc(doc or "").split("\n\n")[0].split())
