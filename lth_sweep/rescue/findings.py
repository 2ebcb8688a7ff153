"""What may ail a ticket: findings from the patient's records and a few cheap runs, each with its evidence.

A finding says what was seen, not what causes what: whether something is the cause, only a remedy that addresses it can
tell. The score, 0 to 1, orders them; the thresholds were set on the patients of benchmarks/rescue.py.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, Literal

from lth_sweep.lottery.common.identity import plain
from lth_sweep.lottery.experiments.stability import STABLE
from lth_sweep.rescue.effects import Difference, diverged, number, unit_of
from lth_sweep.rescue.examine import Examination

Cause = Literal[
    "learns nothing", "under-trained", "cut off", "unstable", "does not fit", "does not generalise", "dead units",
    "no better than controls", "within noise",
]  # fmt: skip


@dataclass(frozen=True)
class Finding:
    cause: Cause
    score: float
    evidence: str
    """A sentence with the numbers."""
    figures: Mapping[str, float | None]
    """The numbers, by name."""

    def to_json(self) -> dict[str, Any]:
        return {"cause": self.cause, "score": round(self.score, 3), "evidence": self.evidence,
                "figures": plain(self.figures)}  # fmt: skip


def findings(seen: Examination) -> list[Finding]:
    """The strongest first."""
    found = [finding for finder in FINDERS for finding in [finder(seen)] if finding]
    return sorted(found, key=lambda finding: -finding.score)


def learns_nothing(seen: Examination) -> Finding | None:
    """A level where training diverged, or all examples get one class."""
    for level in seen.levels:
        ended = sum(map(diverged, level))
        same = sum(bool(record.metrics.get("constant")) and not diverged(record) for record in level)
        if ended or same:
            what = "the dense network" if level is seen.dense else f"level {level.number}"
            how = f"diverged on {ended} and gave all examples the same {seen.said} on {same}"
            return Finding("learns nothing", 1.0 if level is seen.dense else 0.9,
                           f"Training of {what} {how} of {len(level)} seeds.",
                           {"level": level.number, "seeds": len(level), "broken": ended + same})  # fmt: skip
    return None


def under_trained(seen: Examination) -> Finding | None:
    """The dense network gains where it is trained twice as long."""
    if not seen.longer:
        return None
    gain = seen.paired(seen.longer, seen.dense)
    if not gain.mean >= max(seen.margin, seen.scale / seen.examples):
        return None
    evidence = f"Trained twice as long, the dense network gains {gain}, n = {len(seen.dense)}."
    score = min(1.0, gain.mean / max(4 * seen.margin, 0.01 * seen.scale))
    return Finding("under-trained", score, evidence, _figures("gain", gain))


def cut_off(seen: Examination) -> Finding | None:
    """Layers that are empty, and weights that no path leads through."""
    ticket, density = seen.ticket, seen.ticket.density
    connected = fmean(seen.connected) if seen.connected else density
    layers = {layer: fmean(record.layer_density[layer] for record in ticket) for layer in seen.weights}
    thin = min(layers, key=lambda layer: layers[layer] * seen.weights[layer])
    kept = layers[thin] * seen.weights[thin]
    wasted = 1 - connected / density if density else 1.0
    if kept >= 1 and wasted < 0.1:
        return None
    evidence = (
        f"Layer {thin} keeps {kept:.1f} of its {seen.weights[thin]:,} weights ({layers[thin]:.2%}), the network "
        f"{density:.2%}; no path from the input to the output leads through {wasted:.0%} of the kept weights "
        f"(means of {len(ticket)} seeds)."
    )
    score = 1.0 if kept < 1 else min(0.95, 0.1 + wasted)
    return Finding("cut off", score, evidence, {"thinnest_kept": kept, "density": density, "connected": connected})


def unstable(seen: Examination) -> Finding | None:
    """A barrier between twins that part at the rewind point."""
    barriers = {step: fmean(twin.barriers["validation"] for twin in seen.twins if twin.step == step)
                for step in sorted({twin.step for twin in seen.twins})}  # fmt: skip
    if not barriers:
        return None
    (start, barrier), *others = barriers.items()
    if barrier < STABLE:
        return None
    seeds = sum(twin.step == start for twin in seen.twins)
    later = ", ".join(f"{found:.1%} at step {step}" for step, found in others)
    stable = seen.stable_from
    word = f"it is stable from step {stable} on" if stable is not None else "no later step that was tried is stable"
    evidence = (
        f"Twins that part at step {start}, where its levels start, have {barrier:.1%} more error on the line "
        f"between them ({STABLE:.0%} is the limit, n = {seeds}){f'; {later}' if later else ''}: {word}."
    )
    score = 1.0 if math.isnan(barrier) else min(1.0, 0.4 + 3 * barrier)
    return Finding("unstable", score, evidence, {"barrier": barrier, "stable_from": stable})


def symptom(seen: Examination) -> Finding | None:
    """Does the ticket not fit the training data, or fit and not generalise?"""
    train = seen.paired(seen.ticket, seen.dense, replace(seen.metric, name=f"train_{seen.metric.name}"))
    validation = seen.difference
    if not train.mean > validation.mean / 2:
        evidence = f"It does not fit the training data as dense does: {train} there, n = {len(seen.dense)}."
        return Finding("does not fit", 0.3, evidence, _figures("train_difference", train))
    evidence = (f"It fits the training data ({train} to dense there) and does not generalise: "
                f"{validation} on validation, n = {len(seen.dense)}.")  # fmt: skip
    return Finding("does not generalise", 0.25, evidence, _figures("train_difference", train))


def dead_units(seen: Examination) -> Finding | None:
    """ReLU units that are active on no training example."""
    dead = [record.metrics.get("dead_units", math.nan) for record in seen.ticket]
    cut = fmean(record.metrics.get("cut_units", 0.0) for record in seen.ticket)
    if any(map(math.isnan, dead)) or seen.units - cut < 1:
        return None
    share = fmean(dead) / (seen.units - cut)
    if share < 0.2:
        return None
    dense = fmean(record.metrics.get("dead_units", math.nan) for record in seen.dense)
    evidence = (
        f"{fmean(dead):.0f} of the {seen.units - cut:.0f} hidden units that pruning has left are active on no training "
        f"example ({share:.0%}); in the dense network {dense:.0f} of {seen.units} (means of {len(dead)} seeds)."
    )
    return Finding("dead units", min(0.8, share), evidence, {"dead": fmean(dead), "share": share, "dense": dense})


def no_better_than_controls(seen: Examination) -> Finding | None:
    """The same masks from another draw, or as many weights elsewhere, do as well."""
    words = {"reinit": "its masks with another draw of the weights", "shuffle": "masks shuffled within its layers"}
    differences = {kind: seen.paired(seen.ticket, level) for kind, level in seen.controls.items()}
    as_good = {kind: found for kind, found in differences.items() if found.mean <= seen.margin / 2}
    if not as_good:
        return None
    parts = "; ".join(f"{words.get(kind, kind)}: {found}" for kind, found in as_good.items())
    evidence = f"It is no better than its controls. Ticket minus control, n = {len(seen.dense)}: {parts}."
    figures = {name: value for kind, found in as_good.items() for name, value in _figures(kind, found).items()}
    return Finding("no better than controls", 0.6 if "reinit" in as_good else 0.45, evidence, figures)


def within_noise(seen: Examination) -> Finding | None:
    """The margin lies inside the interval of the difference to dense: more seeds, not more remedies."""
    found, margin = seen.difference, seen.margin
    if not found.upper >= -margin > found.mean:  # as where there is a single seed
        return None
    share = (-margin - found.mean) / (found.upper - found.mean)
    evidence = (f"The difference to dense is {found}, and the margin of {number(margin, seen.metric)[1:]} "
                f"{unit_of(seen.metric)} lies inside: {len(seen.dense)} seeds cannot tell. More seeds come before more "
                "remedies.")  # fmt: skip
    return Finding("within noise", 0.7 * (1 - share), evidence, _figures("difference", found))


FINDERS: Sequence[Callable[[Examination], Finding | None]] = (
    learns_nothing, under_trained, cut_off, unstable, symptom, dead_units, no_better_than_controls, within_noise,
)  # fmt: skip


def _figures(name: str, found: Difference) -> dict[str, float | None]:
    return {name: found.mean, f"{name}_lower": found.lower, f"{name}_upper": found.upper}
