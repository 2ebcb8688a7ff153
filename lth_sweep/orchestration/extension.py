"""A sweep whose file has changed since it was begun: what only extends it goes on, what would mix trials is refused.

Compared is what the files mean, with every default written out, and not their text: comments, the order of keys, and
`adam` or `{kind: adam}` make no difference. runs/NAME/sweep.json says what the sweep was last run as.
"""

import json
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lth_sweep.disk import write_whole
from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.common.identity import canonical, digest
from lth_sweep.lottery.recipe.trial import TrialConfig
from lth_sweep.remote.run_folder import RunFolder
from lth_sweep.sweepfile.axis import Axis, Between, Changes
from lth_sweep.sweepfile.decode import decode
from lth_sweep.sweepfile.document import mask
from lth_sweep.sweepfile.load import load_spec, note_origin
from lth_sweep.sweepfile.space import corners, place, with_parents
from lth_sweep.sweepfile.spec import Search, SweepSpec

FREE = ("search", "stop", "verify", "rescue", "resources", "tracking")
"""Sections that say how to search and where to run: trials that have ended mean the same whatever is in them."""
ABSENT = "(not there)"


@dataclass(frozen=True)
class Change:
    path: str
    old: Any
    new: Any
    extends: bool
    """Whether trials before and after it can be compared."""

    def __str__(self) -> str:
        return f"{self.path}: {_show(self.old)} -> {_show(self.new)}"


def check(folder: Path, spec: SweepSpec) -> list[Change]:
    """What has changed since the sweep in `folder`, which is runs/NAME and has trials on record, was last run.

    Raises ConfigError, with the difference path by path, where new trials could not be compared with those on record.
    """
    last, now = _last(folder), meaning(spec)
    if unknown := sorted(now["trial"].keys() - last["trial"].keys()):
        raise ConfigError(
            f"{folder} was begun by an earlier version of lth_sweep, whose recipes had no {', '.join(unknown)}; go on "
            "with that version, or run this as another sweep, with --as NEWNAME",
            "trial",
        )
    found = compare(last, now, ladder(spec))
    refused = [change for change in found if not change.extends]
    if refused:
        differences = "".join(f"\n  {change}" for change in refused)
        raise ConfigError(
            f"the trials of {spec.name!r} in {folder} were run with something else, and new ones could not be compared "
            f"with them:{differences}\nPut the old value back, or run this as another sweep, with --as NEWNAME: it "
            "trains nothing again that is the same. More trials, seeds, choices and wider ranges need no other name.",
            refused[0].path,
        )
    return found


def in_words(spec: SweepSpec, changes: Iterable[Change], reopened: int) -> str:
    """For who runs it. `reopened`: trials that had ended, and have not as it is now."""
    lines = [f"{spec.name} goes on, with its file changed:", *(f"  {change}" for change in changes)]
    if reopened:
        those = "1 trial that had ended gets what it lacks" if reopened == 1 else (
            f"{reopened} trials that had ended get what they lack")  # fmt: skip
        lines.append(f"{those} by it, from where the stages end")
    return "\n".join(lines)


def note(folder: Path, spec: SweepSpec) -> None:
    """Keep the file of a sweep, where it came from and what it means, each whole or not at all."""
    meant = meaning(spec)
    content = {"digest": digest(meant), "meaning": meant, "file": digest(spec.text)}
    run = RunFolder(folder)
    write_whole(run.file, spec.text)
    note_origin(spec, folder)
    write_whole(run.meaning, json.dumps(content, indent=1) + "\n")


def check_file(folder: Path) -> None:
    """Raise ConfigError where runs/NAME/sweep.yaml is not the file that the sweep was last run with."""
    try:
        expected = json.loads(RunFolder(folder).meaning.read_text())["file"]
    except (OSError, ValueError, TypeError, KeyError):  # nothing is known
        return
    file = RunFolder(folder).file
    if digest(file.read_bytes().decode(errors="replace")) != expected:
        raise ConfigError(
            f"{file} is not what the sweep was run with: it was edited, or is damaged; `lth-sweep run` with the sweep "
            "file of your own puts it right"
        )


def meaning(spec: SweepSpec) -> dict[str, Any]:
    """The sweep file as plain data in which only what matters differs."""
    base = decode(TrialConfig, spec.base)
    found = {
        "trial": canonical(base, source=True) | {"seeds": list(base.seed_list)},
        "space": {axis.path: _axis(spec, axis) for axis in spec.space},
        "objective": spec.objective.written | {"minimize": list(spec.objective.sizes)},
    }
    found |= {name: canonical(getattr(spec, name)) for name in FREE}
    if not spec.stop.rules:  # then it means what it did before there were any
        del found["stop"]["rules"]
    return found


def compare(old: Mapping[str, Any], new: Mapping[str, Any], ladder: bool) -> list[Change]:
    """The differences of two meanings. `ladder`: whether more levels leave those that there are as they are."""
    varied = [path for axis, meant in new["space"].items() if not meant["when"] for path in _always_set(axis, meant)]
    shared = old["space"].keys() & new["space"].keys()
    before, after = dict(_leaves(old, shared)), dict(_leaves(new, shared))
    pairs = [(path, before.get(path, ABSENT), after.get(path, ABSENT)) for path in {**before, **after}]
    return [
        Change(path.replace("/", "."), old, new, _extends(path, old, new, varied, ladder))
        for path, old, new in pairs
        if old != new
    ]


def ladder(spec: SweepSpec) -> bool:
    """Whether that is so of every trial's levels."""
    deciding = {"method", "mask_at"}
    some = [axis for axis in spec.space if deciding & {path.split(".")[0] for path in axis.fields}]
    axes = with_parents(spec.space, some)
    recipes = [decode(TrialConfig, place(spec.base, axes, picks)) for picks in corners(axes)]
    return all(map(is_ladder, recipes))


def is_ladder(recipe: TrialConfig) -> bool:
    """Whether its level 5 is the same, however many levels come after it."""
    return recipe.method.is_ladder and recipe.mask_at is None


def _always_set(axis: str, meant: Mapping[str, Any]) -> Iterable[str]:
    """The fields of the trial that an axis sets, whatever is picked."""
    return set.intersection(*map(set, meant["changes"].values())) if "changes" in meant else [axis]


def _extends(path: str, old: Any, new: Any, varied: Iterable[str], ladder: bool) -> bool:
    section, _, field = path.partition(".")
    if section in FREE:
        return True
    if section == "space":
        return _widens(field, old, new)
    if section != "trial":
        return False
    if any(f"{field}.".startswith(f"{axis}.") for axis in varied):  # no trial has the base's value
        return True
    if field == "seeds":  # the first one is the one that goes first and alone
        return bool(new[: len(old)] == old)
    return bool(field == "levels" and ladder and new > old)


def _widens(field: str, old: Any, new: Any) -> bool:
    """Of a field of an axis: whether all picks that it allowed are allowed, and mean what they did."""
    _, _, part = field.partition("/")
    if part == "between" and ABSENT not in (old, new):
        return bool(new[0] <= old[0] and new[1] >= old[1])
    return part == "log" or (part.startswith(("choice.", "changes.")) and old == ABSENT)


def _axis(spec: SweepSpec, axis: Axis) -> dict[str, Any]:
    domain, when = axis.domain, {path: sorted(labels) for path, labels in axis.when.items()}
    if isinstance(domain, Between):
        return canonical({"between": [domain.low, domain.high], "log": domain.log, "integer": domain.integer,
                          "unit": domain.unit, "when": when})  # fmt: skip
    kind = "changes" if isinstance(domain, Changes) else "choice"
    return {kind: {label: _option(spec, axis, label) for label in domain.options}, "when": when}


def _option(spec: SweepSpec, axis: Axis, label: str) -> Any:
    """What an option comes to in a trial: the value, or, of changes, the value of each field."""
    axes = with_parents(spec.space, [axis])
    parents = {path: labels[0] for child in axes for path, labels in child.when.items()}
    trial = canonical(decode(TrialConfig, place(spec.base, axes, parents | {axis.path: label})), source=True)
    values = {path: _value(trial, path, as_written) for path, as_written in axis.values(label).items()}
    return values if isinstance(axis.domain, Changes) else values[axis.path]


def _value(trial: Any, path: str, as_written: Any) -> Any:
    """In the trial; as written, where it becomes part of a user's own class."""
    for name in path.split("."):
        if not isinstance(trial, dict) or name not in trial:
            return canonical(as_written)
        trial = trial[name]
    return trial


def _leaves(meant: Mapping[str, Any], shared: Container[str]) -> Iterator[tuple[str, Any]]:
    """Path -> value; of axes that both have each part as "space.AXIS/PART", an option of a choice as one value."""
    for section, content in meant.items():
        if section != "space":
            yield from _inside(content, section)
            continue
        for path, axis in content.items():
            if path not in shared:
                yield f"space.{path}", axis
                continue
            for part, value in axis.items():
                if part in ("choice", "changes"):
                    yield from ((f"space.{path}/{part}.{label}", option) for label, option in value.items())
                else:
                    yield f"space.{path}/{part}", value


def _inside(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _inside(inner, f"{path}.{key}")
    else:
        yield path, value


def _show(value: Any) -> str:
    return mask(value) if isinstance(value, str) else json.dumps(value)


def as_run(spec: SweepSpec, folder: Path) -> SweepSpec:
    """The sweep of the file in `folder`, with the budgets that it was last run with: --trials 50 is not in the file."""
    noted = _noted(folder)
    return replace(spec, search=decode(Search, noted["search"])) if noted else spec


def _noted(folder: Path) -> dict[str, Any] | None:
    """What is in sweep.json; None where that is damaged."""
    try:
        found = json.loads(RunFolder(folder).meaning.read_text())
        return dict(found["meaning"]) if found["digest"] == digest(found["meaning"]) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _last(folder: Path) -> dict[str, Any]:
    """What the sweep was last run as; from its file, where that is damaged."""
    if noted := _noted(folder):
        return noted
    try:
        return meaning(load_spec(RunFolder(folder).file))
    except ConfigError as error:
        raise ConfigError(
            f"{folder} has trials and does not say any more what they were run with: sweep.json is damaged, and "
            f"{error}; put one of the two back, or run this as another sweep with --as NEWNAME"
        ) from error
