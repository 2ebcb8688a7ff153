"""What a remedy has changed: paired differences to the patient and to dense, and a word for it.

A remedy is compared on the patient's seeds first. That look chooses, and proves nothing: a patient is one because it
did badly on these very seeds, by bad luck as often as not, so that whatever is tried on them looks better than it is.
Only on fresh seeds, where the patient runs again beside the few that looked best, is a remedy said to have helped. The
error is divided between all that may be tried there (Bonferroni): of remedies that do nothing, any is said to have
helped in at most ERROR of rescues.
"""

import math
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

from lth_sweep.lottery.records import Level
from lth_sweep.rescue.paired import paired
from lth_sweep.search.objective import matches
from lth_sweep.search.verdict import Interval
from lth_sweep.sweepfile.spec import Objective

ERROR = 0.05

Word = Literal["helped", "better, unconfirmed", "worse", "no difference shown", "diverged"]


@dataclass(frozen=True)
class Effect:
    """Of one remedy, at the level nearest to the patient's density. Bounds are one-sided, each at `confidence`."""

    to_patient: Interval
    """Ticket minus the patient's ticket."""
    to_dense: Interval
    """Ticket minus the patient's dense network, which all remedies are compared with."""
    to_own_dense: Interval | None
    """Ticket minus the dense network of its own recipe; None where that is the patient's."""
    density: float
    seeds: tuple[int, ...]
    confidence: float
    word: Word
    matches: bool
    """Whether the mean difference to dense is at least -margin."""

    def to_json(self) -> dict[str, Any]:
        own = self.to_own_dense
        return {
            **vars(self),
            "to_patient": self.to_patient.to_json(),
            "to_dense": self.to_dense.to_json(),
            "to_own_dense": own and own.to_json(),
            "seeds": list(self.seeds),
        }


def effect(
    ticket: Level,
    own: Level,
    patient: Level,
    dense: Level,
    objective: Objective,
    examples: int,
    *,
    remedies: int,
    fresh: bool,
) -> Effect:
    """`own`: the dense network of the remedy's recipe; `remedies`: how many share the error; `fresh`: whether these are
    not the seeds that patient and remedy were chosen on."""
    confidence = 1 - ERROR / remedies
    to_patient = paired(ticket, patient, examples, confidence)
    diverged = any(math.isnan(record.metrics["loss"]) for record in ticket)
    word: Word = "no difference shown"
    if diverged:
        word = "diverged"
    elif to_patient.lower > 0:
        word = "helped" if fresh else "better, unconfirmed"
    elif to_patient.upper < 0:
        word = "worse"
    same = [record.stage for record in own] == [record.stage for record in dense]
    return Effect(
        to_patient,
        paired(ticket, dense, examples, confidence),
        None if same else paired(ticket, own, examples, confidence),
        fmean(record.density for record in ticket),
        tuple(record.seed for record in ticket),
        confidence,
        word,
        is_match(ticket, own, dense, objective),
    )


def is_match(ticket: Level, own: Level, dense: Level, objective: Objective) -> bool:
    """Against the patient's dense network; against its own where that one has learnt nothing."""
    broken = any(math.isnan(record.metrics["loss"]) or record.metrics.get("constant") for record in dense)
    return matches(ticket, own if broken else dense, objective)
