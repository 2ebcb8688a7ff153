"""What is known about the candidates of a sweep from fresh seeds and the test split, and what follows from it.

    runs/NAME/verification.json     for each candidate its pairs on the test split, and its latency; never verdicts

Verdicts are drawn whenever somebody asks, since they depend on how many candidates were tested.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from lth_sweep.disk import write_whole
from lth_sweep.lottery.common.identity import digest
from lth_sweep.lottery.experiments.verification import Pair, Tested
from lth_sweep.lottery.recipe.trial import TrialConfig
from lth_sweep.orchestration.extension import is_ladder
from lth_sweep.orchestration.records import best, ranked, read, write_tables
from lth_sweep.remote.run_folder import RunFolder
from lth_sweep.search.answer import Answer, AsExported, Control, Latency, Tried, Verification
from lth_sweep.search.listener import Listener
from lth_sweep.search.objective import judge
from lth_sweep.search.trial import Outcome, TrialRecord
from lth_sweep.search.verdict import Verdict, of_differences, of_values, verdict
from lth_sweep.sweepfile.spec import SweepSpec

VERSION = 1


@dataclass(frozen=True)
class Candidate:
    """A ticket of the search that may be the answer."""

    trial: TrialRecord
    outcome: Outcome
    """The trial's, or that of an earlier level."""
    recipe: TrialConfig
    seeds: tuple[int, ...]
    """Fresh ones."""
    controls: tuple[str, ...]

    @property
    def level(self) -> int:
        assert self.outcome.level is not None, "a candidate matches"
        return self.outcome.level

    @property
    def key(self) -> str:
        """Of all that decides what is found out about it. The levels that may come after it do not."""
        levels = self.level if is_ladder(self.recipe) else self.recipe.levels
        recipe = replace(self.recipe, levels=levels, seeds=self.seeds, stability=False)
        return digest([recipe, self.level, list(self.controls)])[:16]


@dataclass(frozen=True)
class Evidence:
    """What was found out about a candidate."""

    tested: Tested
    latency: Latency | None = field(default=None, compare=False)
    exported: AsExported | None = field(default=None, compare=False)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "Evidence":
        tested, latency, exported = fields["tested"], fields["latency"], fields.get("exported")
        controls = {kind: _pairs(pairs) for kind, pairs in tested["controls"].items()}
        return cls(
            Tested(_pairs(tested["pairs"]), controls, tested["problem"], tested.get("left_out", {})),
            Latency(**latency) if latency else None,
            AsExported(**exported) if exported else None,
        )


def candidates(spec: SweepSpec, trials: Sequence[TrialRecord]) -> list[Candidate]:
    """The best tickets of different recipes, at most `verify.top`, the smallest first. The smallest ones are at the
    edge of the margin, some by luck, and a sweep should end with one that holds. So where there are several, one is the
    smallest that has lost nothing at all on validation, and from three on another the smallest that has lost nothing
    over all its seeds: what waits with its others is known by its first alone."""
    best_first = [(trial, trial.outcome) for trial in ranked(trials)]
    if not best_first or spec.verify.top == 0:
        return []
    first = 1 + max(seed for trial in trials for seed in spec.recipe(trial.picks).seed_list)
    seeds = tuple(range(first, first + spec.verify.seeds))
    lossless = replace(spec.objective, match=replace(spec.objective.match, margin=0.0))
    unharmed = [(trial, judge(trial.levels, lossless)) for trial, _ in best_first]
    unharmed = sorted((pair for pair in unharmed if pair[1].value is not None), key=_value)
    whole = [pair for pair in unharmed if len(pair[0].levels[0]) == len(spec.recipe(pair[0].picks).seed_list)]
    safe = [*unharmed[: spec.verify.top > 1], *whole[: spec.verify.top > 2]]
    found: dict[str, Candidate] = {}
    for trial, outcome in [best_first[0], *safe, *best_first[1:]]:
        if len(found) == spec.verify.top:
            break
        one = _candidate(spec, trial, outcome, seeds)
        found.setdefault(one.key, one)
    return sorted(found.values(), key=lambda one: _value((one.trial, one.outcome)))


def _candidate(spec: SweepSpec, trial: TrialRecord, outcome: Outcome, seeds: tuple[int, ...]) -> Candidate:
    return Candidate(trial, outcome, spec.recipe(trial.picks), seeds, spec.verify.controls)


def _value(found: tuple[TrialRecord, Outcome]) -> tuple[float, int]:
    assert found[1].value is not None, "of tickets that match"
    return found[1].value, found[0].number


def judged(spec: SweepSpec, evidence: Mapping[str, Evidence], one: Candidate) -> Verdict:
    """A sweep that is extended may come to other candidates: all that were ever tested share the error."""
    tested, objective = evidence[one.key].tested, spec.objective
    chances = max(spec.verify.top, len(evidence))
    margin = objective.margin(fmean(pair.reference for pair in tested.pairs) if tested.pairs else math.nan)
    return verdict(tested.pairs, margin, spec.verify.confidence, chances, tested.problem, objective.metric)


def open_candidates(
    spec: SweepSpec, trials: Sequence[TrialRecord], evidence: Mapping[str, Evidence]
) -> Iterator[Candidate]:
    """Those to find out about, one after the other, until one matches by the evidence as it is then."""
    for one in candidates(spec, trials):
        if one.key not in evidence:
            yield one
        if one.key in evidence and judged(spec, evidence, one).word == "matches":
            return


def is_verified(spec: SweepSpec, folder: Path) -> bool:
    """Whether there is nothing left to find out about the sweep in `folder`, which is runs/NAME."""
    return next(open_candidates(spec, read(folder), load(folder)), None) is None


def answer(spec: SweepSpec, folder: Path, trials: Sequence[TrialRecord] | None = None) -> Answer | None:
    """What the sweep in `folder` has found, as it stands; None where no trial matches. `trials` are its records, where
    the caller has read them already.

    The first candidate that was verified and matches; where none does and all were verified, the most favourable;
    else the smallest by the search alone.
    """
    trials, evidence = read(folder) if trials is None else trials, load(folder)
    found = candidates(spec, trials)
    verdicts = [(one, judged(spec, evidence, one)) for one in found if one.key in evidence]
    chosen = next((one for one, word in verdicts if word.word == "matches"), None)
    if chosen is None and verdicts and len(verdicts) == len(found):
        chosen = max(verdicts, key=lambda pair: _favour(pair[1]))[0]
    trial = chosen.trial if chosen else best(trials)
    if trial is None:
        return None
    outcome = chosen.outcome if chosen else trial.outcome
    result = Answer.of(trial.number, trial.picks, trial.levels, outcome, spec.objective, spec.verify.confidence)
    if result is None or chosen is None:
        return result
    tried = [Tried(one.trial.number, one.level, word.word) for one, word in verdicts]
    return replace(result, verification=_verification(spec, evidence, chosen, tried))


def conclude(spec: SweepSpec, folder: Path, listeners: Sequence[Listener]) -> None:
    """Tell the answer of the sweep in `folder`, and write its tables."""
    trials = read(folder)
    found = answer(spec, folder, trials)
    for listener in listeners:
        listener.answered(found)
    write_tables(folder, trials, spec.objective)


def load(folder: Path) -> dict[str, Evidence]:
    """What is known about candidates, by their keys; nothing where the file is damaged."""
    try:
        content = json.loads(RunFolder(folder).verification.read_text())
        if content["version"] != VERSION or content["sum"] != digest(content["candidates"]):
            return {}
        return {key: Evidence.from_json(fields) for key, fields in content["candidates"].items()}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return {}


def save(folder: Path, evidence: Mapping[str, Evidence]) -> None:
    """Write the file, whole or not at all."""
    found = {key: asdict(one) for key, one in sorted(evidence.items())}
    content = {"version": VERSION, "sum": digest(found), "candidates": found}
    run = RunFolder(folder)
    write_whole(run.verification, json.dumps(content, indent=1) + "\n")
    run.keep(run.verification)


def _favour(found: Verdict) -> tuple[bool, bool, float]:
    gains = [found.metric.gain(bound, 0.0) for bound in (found.lower, found.upper)]
    least = found.metric.gain(found.difference, 0.0) if found.problem else min(gains)
    return found.word == "undecided", not found.problem, least


def _verification(
    spec: SweepSpec, evidence: Mapping[str, Evidence], one: Candidate, tried: Sequence[Tried]
) -> Verification:
    tested, confidence = evidence[one.key].tested, spec.verify.confidence
    return Verification(
        verdict=judged(spec, evidence, one),
        seeds=one.seeds,
        examples=tested.pairs[0].examples if tested.pairs else 0,
        dense=of_values([pair.reference for pair in tested.pairs], confidence),
        ticket=of_values([pair.value for pair in tested.pairs], confidence),
        controls={
            kind: Control(
                of_values([pair.value for pair in pairs], confidence),
                of_differences(pairs, confidence, spec.objective.metric),
            )
            for kind, pairs in tested.controls.items()
        },
        left_out=tested.left_out,
        tried=tuple(tried),
        latency=evidence[one.key].latency,
        exported=evidence[one.key].exported,
    )


def _pairs(found: Sequence[Mapping[str, Any]]) -> tuple[Pair, ...]:
    return tuple(Pair(**fields) for fields in found)
