"""YAML text to plain data that remembers the line of every key."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from lth_sweep.sweepfile.mistakes import SpecError

DEEPEST = 50


@dataclass(frozen=True)
class Document:
    """The content of a file, and the line of each key and list item by dotted path ("trial.train.batch")."""

    content: Any
    lines: Mapping[str, int]

    def line(self, path: str) -> int:
        """The line of `path`, or of the nearest thing around it that is in the file."""
        while path and path not in self.lines:
            path = path.rpartition(".")[0]
        return self.lines.get(path, 1)


class _Loader(yaml.SafeLoader):
    """Only used to compose nodes. Scalars are those of YAML 1.2: 1e-3 is a number; on, off, yes and no are text."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # PyYAML's own attribute
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.MarkedYAMLError(problem=f"the alias *{event.anchor} is not supported: write the value out",
                                       problem_mark=event.start_mark)  # fmt: skip
        self.depth += 1
        if self.depth > DEEPEST:
            raise yaml.MarkedYAMLError(problem=f"nested more than {DEEPEST} deep",
                                       problem_mark=self.peek_event().start_mark)  # fmt: skip
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


for _tag, _pattern in {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?[0-9]{1,18}",
    "float": r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
}.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), None)


def parse(text: str, file: str) -> Document:
    """Read one YAML document. Raises SpecError for anything that is not plain data: syntax, tags, duplicate keys."""
    lines: dict[str, int] = {}
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
        return Document(_plain(node, "", lines) if node else None, lines)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise SpecError(f"not text: character #x{error.character:04x} is not allowed", "", file, line) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        hint = "; indent with spaces, not tabs" if r"\t" in problem else ""
        raise SpecError(f"not valid YAML: {problem}{hint}", "", file, mark.line + 1 if mark else None) from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # such as the escape "\UFFFFFFFF"
        raise SpecError(f"not valid YAML: {error}", "", file) from error


def with_value(text: str, key: str, value: str) -> str:
    """The text with `value` for what it says of `key`, which is a key of the whole; else as it is."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
    except yaml.YAMLError:
        return text
    finally:
        loader.dispose()
    for key_node, value_node in node.value if isinstance(node, yaml.MappingNode) else []:
        if key_node.value == key:
            return text[: value_node.start_mark.index] + json.dumps(value) + text[value_node.end_mark.index :]
    return text


def as_text(scalar: Any) -> str:
    """A scalar as one would write it: the text of keys and of labels."""
    if scalar is None or isinstance(scalar, bool):
        return {None: "null", True: "true", False: "false"}[scalar]
    return str(scalar)


def mask(text: str) -> str:
    """Without the user names and passwords of its URIs."""
    return re.sub(r"\b(password=)[^&\s]*", r"\1***", re.sub(r"://[^/@\s]*@", "://***@", text))


def _plain(node: yaml.Node, path: str, lines: dict[str, int]) -> Any:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node)
    if node.tag not in ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
        raise yaml.MarkedYAMLError(problem=f"the tag {node.tag} is not supported", problem_mark=node.start_mark)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, f"{path}.{i}".lstrip("."), lines) for i, item in enumerate(node.value)]
    mapping: dict[str, Any] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise yaml.MarkedYAMLError(problem="a key must be plain text", problem_mark=key_node.start_mark)
        key = as_text(_scalar(key_node))
        inner = f"{path}.{key}".lstrip(".")
        if key in mapping:
            raise yaml.MarkedYAMLError(problem=f"duplicate key {key!r}, first on line {lines[inner]}: remove one",
                                       problem_mark=key_node.start_mark)  # fmt: skip
        lines[inner] = key_node.start_mark.line + 1
        mapping[key] = _plain(value_node, inner, lines)
    return mapping


def _scalar(node: yaml.ScalarNode) -> Any:
    kind = node.tag.removeprefix("tag:yaml.org,2002:")
    if kind not in SCALARS:
        raise yaml.MarkedYAMLError(problem=f"the tag {node.tag} is not supported", problem_mark=node.start_mark)
    try:
        node.value.encode()  # an escape can make a lone surrogate, which no terminal and no file takes
        return SCALARS[kind](node.value)
    except ValueError as error:
        raise yaml.MarkedYAMLError(problem=f"{node.value!a} is not of the kind {kind}",
                                   problem_mark=node.start_mark) from error  # fmt: skip


SCALARS: dict[str, Callable[[str], Any]] = {
    "null": lambda text: None,
    "bool": lambda text: text.lower() == "true",
    "int": int,
    "float": lambda text: float(re.sub(r"\.(inf|nan)\Z", r"\1", text.lower())),
    "str": str,
}
