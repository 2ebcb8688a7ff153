"""Writes the reference pages of this folder from the code: `python -m docs.reference`."""

import argparse
import dataclasses
import importlib
import inspect
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lth_sweep.cli import parser
from lth_sweep.lottery.data import ImportedData
from lth_sweep.lottery.experiments.stability import StabilityRecord
from lth_sweep.lottery.network.models import ImportedModel
from lth_sweep.lottery.recipe.trial import TrialConfig
from lth_sweep.lottery.records import CurvePoint, LevelRecord
from lth_sweep.lottery.task import Classification
from lth_sweep.orchestration.plan import Plan
from lth_sweep.search import answer, verdict
from lth_sweep.sweepfile import columns
from lth_sweep.sweepfile.decode import annotations, defaults, is_family
from lth_sweep.sweepfile.schema import Schema, field_docs, schema

FOLDER = Path(__file__).parent
IMPORTED = {"data": ImportedData, "model": ImportedModel}
OTHERS = [("metrics", "WholeMetric"), ("search.sampler", "Sampler"), ("stop.rules", "StopRule")]
"""Strategies that are no fields of the trial."""
NOTE = "Written by the code: `python -m docs.reference`."


def pages() -> dict[str, str]:
    """File name -> Markdown."""
    return {
        "sweep-file.md": sweep_file(),
        "axes.md": axes(),
        "commands.md": commands(),
        "records.md": records(),
    }


def sweep_file() -> str:
    """All sections and fields, with types and defaults."""
    whole = schema()
    parts = [f"# The sweep file\n\n{NOTE} What each kind of a strategy takes is in [axes.md](axes.md)."]
    for name, section in whole["properties"].items():
        if "$ref" not in section:
            continue
        cls = _name(section)
        parts += [f"## {name}\n\n{_words(section, whole['$defs'][cls])}", _fields(whole["$defs"][cls], whole, name)]
        for field, inner in whole["$defs"][cls]["properties"].items():
            if _is_object(inner, whole):
                parts.append(f"### {name}.{field}\n\n" + _words(whole["$defs"][_name(inner)], {}))
                parts.append(_fields(whole["$defs"][_name(inner)], whole, f"{name}.{field}"))
    parts.append(
        "## space\n\nThe fields of the trial that the sweep varies, by dotted path: see [axes.md](axes.md).\n\n"
        "## name\n\nOf the run folder and of MLflow's experiment: up to 100 letters, digits, `.`, `_` and `-`."
    )
    return "\n\n".join(parts) + "\n"


def axes() -> str:
    """How an axis is written, and every kind of every strategy with its options."""
    whole = schema()
    parts = [
        f"# What a sweep can vary\n\n{NOTE}",
        "An axis is a field of the trial, by dotted path, and either a range or a choice:\n\n```yaml\nspace:\n"
        "  rate: {between: [0.2, 0.6]}                       # numbers, both ends included\n"
        "  train.optimizer.lr: {between: [0.0001, 0.01], log: true}\n"
        "  rewind: {choice: {init: init, early: {kind: step, at: 50 steps}}}   # label: option\n"
        "  rewind.at: {between: [0 steps, 100 steps], when: {rewind: early}}   # exists under these labels only\n"
        "  granularity: {choice: [weight, unit]}\n```",
    ]
    axis = whole["$defs"]["axis"]["anyOf"]
    for title, one in (("A range", axis[0]), ("A choice", axis[1])):
        parts.append(f"**{title}**\n\n{_fields(one, whole)}")
    parts.append(
        "Where a strategy takes no options its name is enough: `granularity: unit`. Otherwise it is written "
        "`{kind: NAME, option: value}`. A class of your own is named by its import path, `package.module:Name`."
    )
    for path, family in [*_families(TrialConfig), *OTHERS]:
        found = whole["$defs"][family]
        parts.append(f"## {path}\n\n{found['description']}")
        for kind in found["anyOf"]:
            if "const" in kind.get("properties", {}).get("kind", {}):
                options = {name: option for name, option in kind["properties"].items() if name != "kind"}
                table = _fields({**kind, "properties": options}, whole) if options else "No options."
                parts.append(f"### {path}: {kind['properties']['kind']['const']}\n\n{kind['description']}\n\n{table}")
        if path in IMPORTED:
            parts.append(f"### {path}: package.module:Name\n\n{_imported(IMPORTED[path])}")
    return "\n\n".join(parts) + "\n"


def _imported(cls: Any) -> str:
    """What an object of the user's own has to be, and what can be said of it beside its own options."""
    docs, known = field_docs(cls), defaults(cls)
    rows = [(f"`{name}`", f"`{json.dumps(known[name])}`", doc["description"])
            for name, doc in docs.items() if name != "options"]  # fmt: skip
    table = "\n\nOptions beside its own:\n\n" + _table(("field", "default", "meaning"), rows) if rows else ""
    return inspect.cleandoc(cls.__doc__ or "") + table


def commands() -> str:
    """Each command's usage, arguments, and what its module says."""
    parts = [
        f"# The commands\n\n{NOTE}\n\nExit codes: 0 done, 1 the work failed or was interrupted, 2 the input was wrong."
    ]
    [subparsers] = [action for action in parser()._actions if isinstance(action, argparse._SubParsersAction)]
    for name, command in subparsers.choices.items():
        module = importlib.import_module(f"lth_sweep.commands.{command.get_default('command')}")
        rows = [(_call(action), _help(command, action)) for action in command._actions if action.dest != "help"]
        text = inspect.cleandoc(module.__doc__ or "")
        parts.append(f"## lth-sweep {name}\n\n{text}\n\n{_table(('argument', 'meaning'), rows)}")
    return "\n\n".join(parts) + "\n"


def records() -> str:
    """The columns of the frames, and the keys of the JSON."""
    parts = [
        f"# Records, frames and JSON\n\n{NOTE}",
        "## Frames\n\n```python\nimport pandas as pd\n\n"
        'levels = pd.read_parquet("runs/NAME/levels.parquet")\n'
        'trials = pd.read_parquet("runs/NAME/trials.parquet")\n\n'
        'levels[levels.matches].groupby("granularity").density.min()  # smallest matching density of each\n'
        'levels.groupby(["trial", "level"]).accuracy.agg(["mean", "std"])  # over the seeds\n'
        "levels.steps_reused.sum()  # steps that sharing has spared\n```",
    ]
    task = Classification()
    for file, unit, found in (("levels", "trial, seed and level", columns.levels(task)),
                              ("trials", "trial", columns.trials(task))):  # fmt: skip
        rows = [(f"`{name}`", meaning) for name, meaning in found.items()]
        parts.append(f"### {file}.parquet: one row per {unit}\n\n{_table(('column', 'meaning'), rows)}")
    parts.append(
        "## The record files\n\n`runs/NAME/records/007.jsonl` has a line `{version, lth_sweep, number, picks}`, then a "
        "line `{level: [...]}` for each level, with a record for each seed, then `{ending, outcome, reason, "
        "steps_saved}`; `at` is when a line was written, in seconds since the epoch."
    )
    parts += [_keys(cls) for cls in (LevelRecord, CurvePoint)]
    parts.append(
        "## The answer\n\nWhat `lth-sweep best NAME --json` prints, and `best` in the JSON of other commands. NaN is "
        "null. An interval is `{mean, lower, upper}`. The verification has its `dense` and `ticket` under `test`; the "
        "verdict has its `sentence`, too; a control has its `value` under the name of the metric."
    )
    some = (answer.Answer, answer.LevelSummary, answer.Verification, verdict.Verdict, answer.Control, answer.Tried,
            answer.Latency)  # fmt: skip
    parts += [_keys(cls) for cls in some]
    parts.append(
        "## Other results\n\nOf `lth-sweep plan SPEC --json`, and of `records` in `lth-sweep stability --json`."
    )
    parts += [_keys(cls) for cls in (Plan, StabilityRecord)]
    return "\n\n".join(parts) + "\n"


def _keys(cls: Any) -> str:
    docs = field_docs(cls)
    rows = [
        (f"`{field.name}`", f"`{_annotation(field.type)}`", str(docs.get(field.name, {}).get("description", "")))
        for field in dataclasses.fields(cls)
        if field.metadata.get("json", True)
    ]
    first = " ".join(inspect.cleandoc(cls.__doc__).split("\n\n")[0].split())
    return f"### {cls.__name__}\n\n{first}\n\n{_table(('key', 'type', 'meaning'), rows)}"


def _annotation(found: Any) -> str:
    return inspect.formatannotation(found).replace("collections.abc.", "").replace("lth_sweep.search.", "")


def _families(cls: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """(dotted path, name) of each strategy of the trial."""
    for name, expected in annotations(cls).items():
        if is_family(expected):
            yield prefix + name, expected.__name__
        elif dataclasses.is_dataclass(expected) and dataclasses.fields(expected) and name == "train":
            yield from _families(expected, f"{name}.")


def _fields(cls: Schema, whole: Schema, path: str = "") -> str:
    rows = []
    for name, field in cls["properties"].items():
        default = "required" if name in cls.get("required", ()) else ""
        if "default" in field and not _is_object(field, whole):
            default = _default(field["default"])
        inner = whole["$defs"][_name(field)] if "$ref" in field else {}
        rows.append((f"`{name}`", _type(field, whole, f"{path}.{name}"), default, _words(field, inner)))
    return _table(("field", "type", "default", "meaning"), rows)


def _words(*found: Mapping[str, Any]) -> str:
    return next((str(one["description"]) for one in found if one.get("description")), "")


def _name(field: Schema) -> str:
    return str(field["$ref"]).rpartition("/")[2]


def _is_object(field: Schema, whole: Schema) -> bool:
    return "$ref" in field and "properties" in whole["$defs"][_name(field)]


def _type(field: Schema, whole: Schema, path: str) -> str:
    """In words, with links."""
    if "$ref" in field:
        if _is_object(field, whole):
            return f"[a mapping](#{path.replace('.', '')})"
        anchor = path.removeprefix("trial.").replace(".", "")
        return f"[{path.rpartition('.')[2]}](axes.md#{anchor})"
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_type(one, whole, path) for one in field["anyOf"]))
    if "enum" in field or "const" in field:
        return ", ".join(f"`{option}`" for option in field.get("enum", [field.get("const")]))
    if field.get("type") == "array":
        return f"list of {_type(field['items'], whole, path)}" if "items" in field else "list"
    if field.get("type") == "object":
        inner = field.get("additionalProperties")
        return f"mapping to {_type(inner, whole, path)}" if isinstance(inner, dict) else "mapping"
    if "pattern" in field:
        return "duration"
    kinds = {"integer": "whole number", "null": "null", "string": "text", "boolean": "true or false"}
    found = field.get("type", "anything")
    return kinds.get(found, found) if isinstance(found, str) else "label"


def _default(value: Any) -> str:
    if isinstance(value, Mapping) and "kind" in value:
        value = value["kind"]
    elif isinstance(value, Mapping) and set(value) == {"amount", "unit"}:
        value = f"{value['amount']:g} {value['unit']}"
    return f"`{_plain(value)}`"


def _plain(value: Any) -> str:
    """As it is written in YAML."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{name}: {_plain(inner)}' for name, inner in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_plain, value))}]"
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def _call(action: argparse.Action) -> str:
    if not action.option_strings:
        return f"`{action.metavar or ' or '.join(map(str, action.choices or [action.dest]))}`"
    value = action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper())
    return f"`{action.option_strings[-1]}{f' {value}' if action.nargs != 0 else ''}`"


def _help(command: argparse.ArgumentParser, action: argparse.Action) -> str:
    return command._get_formatter()._expand_help(action) if action.help else ""


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *(tuple(cell.replace("|", "\\|") for cell in row) for row in rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


if __name__ == "__main__":
    for name, text in pages().items():
        (FOLDER / name).write_text(text)
