"""Reading a sweep file."""

import importlib
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from lth_sweep.disk import write_whole
from lth_sweep.lottery.common.errors import ConfigError, require, unknown
from lth_sweep.lottery.task import Task
from lth_sweep.remote.run_folder import RunFolder
from lth_sweep.sweepfile import columns
from lth_sweep.sweepfile.axis import Changes, parse_space
from lth_sweep.sweepfile.check import check
from lth_sweep.sweepfile.decode import decode, show
from lth_sweep.sweepfile.document import parse, with_value
from lth_sweep.sweepfile.mistakes import Mistakes, SpecError, in_file
from lth_sweep.sweepfile.spec import Objective, RescueSection, Resources, Search, Stop, SweepSpec, Tracking, Verify

SECTIONS: dict[str, type] = {
    "objective": Objective,
    "search": Search,
    "stop": Stop,
    "verify": Verify,
    "rescue": RescueSection,
    "resources": Resources,
    "tracking": Tracking,
}
"""The sections that may be left out; each is the field of SweepSpec of the same name."""

LARGEST = 1_000_000
NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
TAKEN = {"stages", "mlflow.db", "mlflow.db.lock", "mlruns", "mlartifacts", "origin", "report.html"}
"""Names in the runs folder that are no sweeps."""


def load_spec(path: str | Path, name: str | None = None, *, checked: bool = False) -> SweepSpec:
    """Read a sweep file and check everything in it: every option of every axis, on the data and the network it is for.
    `name` replaces the name that it has.

    Classes named by import path ("my_project:Net") may lie beside the file, or, of the copy in a runs folder, beside
    the file that was run: that folder is on `sys.path` meanwhile. They are imported and run, so a sweep file is to be
    trusted like a program. Raises SpecError.

    `checked`: a sweep was run from this very file, which was checked then; data and network are left alone.
    """
    file = str(path)
    text = _read(file)
    if name is not None:
        text = with_value(text, "name", name)
    document = parse(text, file)
    source = _origin(Path(file).resolve())
    try:
        with imports_from(source.parent):
            return _spec(_beside(document.content, source.parent), source, text, checked)
    except ConfigError as error:
        raise in_file(error, file, document.line) from error


@contextmanager
def imports_from(folder: Path | None) -> Iterator[None]:
    """Let modules in `folder` be imported."""
    if folder is None:
        yield
        return
    importlib.invalidate_caches()
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        if str(folder) in sys.path:
            sys.path.remove(str(folder))


def note_origin(spec: SweepSpec, folder: Path) -> None:
    """Keep where the sweep's file is in `folder`, which has a copy of it as sweep.yaml."""
    if spec.source:
        write_whole(RunFolder(folder).source, os.fsencode(spec.source))


def _origin(file: Path) -> Path:
    """Of a copy the file that was copied, as long as its folder is there."""
    try:
        found = Path(os.fsdecode(RunFolder(file.parent).source.read_bytes()))
    except OSError:
        return file
    return found if found.is_absolute() and found.parent.is_dir() else file


def _beside(value: Any, folder: Path, is_path: bool = False) -> Any:
    """What the file says, with the path of each file of pretrained weights that lies beside it made absolute."""
    if isinstance(value, Mapping):
        trained = value.get("kind") == "pretrained"
        return {key: _beside(item, folder, is_path or key == "init.path" or (trained and key == "path"))
                for key, item in value.items()}  # fmt: skip
    if isinstance(value, list):
        found = [_beside(item, folder, is_path) for item in value]
        return dict(zip(value, found, strict=True)) if is_path and found != value else found  # labels stay as written
    return str(folder / value) if is_path and isinstance(value, str) and (folder / value).is_file() else value


def _read(file: str) -> str:
    try:
        with open(file, "rb") as stream:
            content = stream.read(LARGEST + 1)
    except FileNotFoundError:
        raise SpecError("there is no such file", file=file) from None
    except IsADirectoryError:
        raise SpecError("is a folder, not a sweep file", file=file) from None
    except (OSError, ValueError) as error:
        raise SpecError(f"cannot be read: {getattr(error, 'strerror', None) or error}", file=file) from error
    if len(content) > LARGEST:
        raise SpecError(f"is larger than {LARGEST:,} bytes: that is no sweep file", file=file)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SpecError("is not text in UTF-8; save it as UTF-8", file=file, line=line) from error


def _spec(content: Any, source: Path, text: str, checked: bool) -> SweepSpec:
    if not isinstance(content, Mapping):
        found = "the file is empty" if content is None else f"got {show(content)}"
        raise ConfigError(f"a sweep file is a mapping with `name`, `trial` and `space`, but {found}")
    mistakes = Mistakes()
    known = ["name", "trial", "space", *SECTIONS]
    strange = [key for key in content if key not in known]
    for key in strange:
        mistakes.add(ConfigError(unknown("section", key, known), key))
    # A section that is missing may be one that is misspelt.
    missing = {key for key in known if key not in content} if strange else set()
    name, space = "", content.get("space", {})
    if "name" not in missing:
        with mistakes.under("name"):
            name = _name(content)
    sections = {}
    for key, section in SECTIONS.items():
        if key in content:
            with mistakes.under(key):
                sections[key] = decode(section, content[key])
    base = content.get("trial", {})
    if not isinstance(base, Mapping):
        mistakes.add(ConfigError(f"must be a mapping, but got {show(base)}", "trial"))
        base = {}
    axes = () if "space" in missing else parse_space(space, mistakes)
    spec = SweepSpec(name, base, axes, source=source, text=text, **sections)
    if "trial" not in missing:
        with mistakes.under("trial.task"):
            task = decode(Task, base.get("task", "classification"))
            with mistakes.under("objective"):
                spec = replace(spec, objective=spec.objective.of(task))
            with mistakes.under("verify"):
                _check_seeds(spec)
            for metric in task.measured:
                require(metric.name not in columns.OWN, "metrics", f"{metric.name!r} is a column of every sweep's "
                        "tables (docs/records.md); choose another name")  # fmt: skip
            for axis in axes:
                if isinstance(axis.domain, Changes) and axis.path in {**columns.levels(task), **columns.trials(task)}:
                    mistakes.add(ConfigError(f"{axis.path!r} is a column of every sweep's tables (docs/records.md); "
                                             "choose another name", f"space.{axis.path}"))  # fmt: skip
        check(spec, space, mistakes, checked=checked)
    mistakes.refuse()
    return spec


def _check_seeds(spec: SweepSpec) -> None:
    """Without a value for each example, only several seeds tell how sure a difference is."""
    metric, verify = spec.objective.metric, spec.verify
    require(metric.per_example or verify.seeds >= 2 or verify.top == 0, "seeds", f"{metric.name} is known of a whole "
            "set alone, so that a single seed cannot tell how sure a difference is; take 2 or more")  # fmt: skip


def _name(content: Mapping[str, Any]) -> str:
    require("name" in content, "", "is missing: it names the run folder and the MLflow experiment")
    name = decode(str, content["name"])
    allowed = "it names a folder, so use up to 100 letters, digits, '.', '_' and '-', starting with a letter or digit"
    require(re.fullmatch(NAME, name) is not None, "", f"{allowed}, but got {show(name)}")
    require(name.lower() not in TAKEN, "", f"{name!r} is taken: the runs folder has something else of that name")
    return name
