"""The sweeps of a rescue, and the recipe that it recommends, as sweep files."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import yaml

from lth_sweep.lottery.common.identity import canonical, digest
from lth_sweep.lottery.recipe.trial import TrialConfig
from lth_sweep.rescue.patient import Patient, changed_recipe
from lth_sweep.rescue.remedies import Remedy
from lth_sweep.sweepfile.decode import decode
from lth_sweep.sweepfile.load import load_spec
from lth_sweep.sweepfile.space import changed
from lth_sweep.sweepfile.spec import SweepSpec

AS_IT_IS = "as-it-is"
OFF, ON = "off", "on"
TOGETHER = 3
"""As many remedies, at most, are tried in combination."""
TRIALS = {1: 2, 2: 4, 3: 6}
"""By how many remedies there are: trials on fresh seeds, the patient among them."""
ALL_LEVELS = {"patience": None, "race": None, "hopeless": False}


def one_at_a_time(patient: Patient, remedies: Sequence[Remedy], runs: Path) -> SweepSpec:
    """The patient as it is, then each remedy alone, in this order."""
    changes = {AS_IT_IS: {}, **{remedy.name: dict(remedy.change) for remedy in remedies}}
    search = {"sampler": {"kind": "grid", "shuffle": False}, "trials": len(changes)}
    return _sweep(patient, patient.written, {"remedy": {"changes": changes}}, search, runs / patient.name)


def together(patient: Patient, remedies: Sequence[Remedy], seeds: Sequence[int], runs: Path) -> SweepSpec:
    """On other seeds: the patient as it is, the first of the remedies alone, all together, and then what the search
    picks of the combinations. `frugal` picks none twice, as the others may. Other remedies, or other seeds, are another
    sweep."""
    written = {**patient.written, "seeds": list(seeds)}
    space = {one.name: {"changes": {OFF: {}, ON: dict(one.change)}} for one in remedies}
    best = {one.name: ON if one is remedies[0] else OFF for one in remedies}
    first = [dict.fromkeys(space, OFF), best, dict.fromkeys(space, ON)][: 1 + min(2, len(remedies))]
    search = {"sampler": {"kind": "frugal", "startup": len(first)}, "trials": TRIALS[len(remedies)], "first": first}
    folder = runs / f"{patient.name}-together-{digest([space, list(seeds)])[:6]}"
    return _sweep(patient, written, space, search, folder)


def compatible(patient: Patient, remedies: Sequence[Remedy]) -> list[Remedy]:
    """The first of them, and those after it that change other fields and go with those before; at most TOGETHER."""
    chosen: list[Remedy] = []
    for one in remedies:
        paths = {path.split(".")[0] for other in chosen for path in other.change}
        if len(chosen) < TOGETHER and not paths & {path.split(".")[0] for path in one.change}:
            several = [some for n in range(len(chosen) + 1) for some in combinations(chosen, n)]
            if all(changed_recipe(patient.written, merged([*some, one])) for some in several):
                chosen.append(one)
    return chosen


def merged(remedies: Sequence[Remedy]) -> dict[str, Any]:
    """All their changes."""
    return {path: value for remedy in remedies for path, value in remedy.change.items()}


def recipe(patient: Patient, change: Mapping[str, Any], words: str) -> str:
    """The changed recipe as a sweep file of a single trial, which ends with a verification as the patient's sweep has
    it: on fresh seeds, which the rescue has not had either, and on the test split."""
    trial = changed(patient.written, change)
    changed_to, spec = decode(TrialConfig, trial), patient.spec
    controls = [kind for kind in spec.verify.controls if kind != "scratch" or changed_to.granularity.removes_units]
    about = (f"{spec.name}, {patient.which}, changed by its rescue: {words}.",
             "The space is this one recipe; vary more of it to search on from here.")  # fmt: skip
    header = "".join(textwrap.indent(textwrap.fill(line, 108), "# ") + "\n" for line in about)
    verify = replace(spec.verify, controls=tuple(controls))
    sections = {"search": {"sampler": "grid", "trials": 1}, "verify": canonical(verify)}
    return header + _text(f"{spec.name[:92]}-rescued", trial, {"rate": {"choice": [changed_to.rate]}}, spec, sections)


def _sweep(
    patient: Patient, written: Mapping[str, Any], space: Mapping[str, Any], search: Mapping[str, Any], folder: Path
) -> SweepSpec:
    """Write the file into the sweep's folder, and read it."""
    sections = {"search": search, "stop": ALL_LEVELS, "verify": {"top": 0}}
    text = _text(folder.name, written, space, patient.spec, sections)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sweep.yaml").write_text(text)
    return replace(load_spec(folder / "sweep.yaml"), source=patient.spec.source)


def _text(
    name: str, written: Mapping[str, Any], space: Mapping[str, Any], spec: SweepSpec, sections: Mapping[str, Any]
) -> str:
    content = {
        "name": name,
        "trial": canonical(dict(written)),
        "space": canonical(dict(space)),
        "objective": spec.objective.written,
        **canonical(dict(sections)),
        "resources": canonical(spec.resources),
        "tracking": canonical(spec.tracking),
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)
