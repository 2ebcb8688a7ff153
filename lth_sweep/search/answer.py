"""What people get from a sweep: the smallest matching network beside its dense one, and how sure that is."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any

from lth_sweep.lottery.common.identity import plain
from lth_sweep.lottery.records import Level
from lth_sweep.search.trial import Outcome
from lth_sweep.search.verdict import Interval, Verdict, Word, of_values
from lth_sweep.sweepfile.axis import Pick
from lth_sweep.sweepfile.spec import Objective


@dataclass(frozen=True)
class LevelSummary:
    """One level of a trial, over its seeds."""

    level: int
    density: float
    sizes: Mapping[str, float]
    """Means over the seeds: params, flops, bytes."""
    metrics: Mapping[str, float]
    """Means over the seeds."""
    spread: Mapping[str, float]
    """Sample standard deviations over the seeds; NaN for one seed."""
    interval: Interval
    """Of the mean of the metric that has to match, over the seeds; two-sided, at the confidence of the sweep."""
    latency: float | None
    """Milliseconds of the compact network on one input, mean over the seeds; None where the search did not measure."""


@dataclass(frozen=True)
class Control:
    """What was trained beside the ticket, on test data."""

    value: Interval
    """Of the metric that has to match."""
    difference: Interval
    """Control - ticket, by pairs, with one-sided bounds at the confidence of the sweep."""


@dataclass(frozen=True)
class Latency:
    """Median milliseconds of a forward pass, measured once, of the networks of the first fresh seed."""

    dense: float
    ticket: float
    """Of the network that is exported."""
    batch: int
    device: str
    threads: int


@dataclass(frozen=True)
class AsExported:
    """The ticket of the first fresh seed as `lth-sweep export` writes it: a file stores the zeros that are left."""

    masked: str
    """Why it is the masked network, at its full size; empty where it is a smaller one."""
    params: int
    flops: int
    """Of one input."""
    bytes: int


@dataclass(frozen=True)
class Tried:
    """A candidate that was verified."""

    trial: int
    level: int
    word: Word


@dataclass(frozen=True)
class Verification:
    """What fresh seeds and the test split say about the answer. Intervals are at the confidence of the sweep."""

    verdict: Verdict
    seeds: tuple[int, ...]
    examples: int
    """Of the test split; 0 where training diverged, and it was not read."""
    dense: Interval
    """The metric on test data, as is `ticket`; two-sided."""
    ticket: Interval
    controls: Mapping[str, Control]
    left_out: Mapping[str, str]
    """Kinds of controls that were asked for and that this ticket does not have, and why."""
    tried: tuple[Tried, ...]
    """In the order tried, up to the first that matches; the answer is among them."""
    latency: Latency | None
    """None in the records of early versions, where the network could not be compacted; as is `exported`, in all."""
    exported: AsExported | None

    def to_json(self) -> dict[str, Any]:
        found = plain(self) | {"verdict": self.verdict.to_json()}
        found["test"] = {kind: found.pop(kind) for kind in ("dense", "ticket")}
        for control in found["controls"].values():
            control[self.verdict.metric.name] = control.pop("value")
        return dict(found)


@dataclass(frozen=True)
class Answer:
    """The smallest network that matches, and the dense one that it is compared with: the first verified candidate that
    matches, or the most favourable one; before the verification, the smallest by the search alone."""

    trial: int
    picks: Mapping[str, Pick]
    seeds: int
    dense: LevelSummary
    ticket: LevelSummary
    difference: float
    """Mean over the seeds of (ticket - dense), in the metric that has to match, on the validation split."""
    metric: str
    margin: float
    minimize: str
    """The first size that was to be small."""
    verification: Verification | None = field(default=None, kw_only=True)
    """None before it, and where the sweep has none."""

    @property
    def size(self) -> float:
        """What was to be small, of the ticket."""
        return self.ticket.latency or math.nan if self.minimize == "latency" else self.ticket.sizes[self.minimize]

    @classmethod
    def of(
        cls,
        number: int,
        picks: Mapping[str, Pick],
        levels: Sequence[Level],
        outcome: Outcome,
        objective: Objective,
        confidence: float = 0.95,
    ) -> "Answer | None":
        """None where no level matches."""
        if outcome.level is None:
            return None
        ticket, metric = levels[outcome.level], objective.metric
        gain = objective.gain(ticket, levels[0])
        return cls(
            number,
            dict(picks),
            len(ticket),
            _summary(levels[0], metric.name, confidence),
            _summary(ticket, metric.name, confidence),
            metric.gain(gain, 0.0),
            metric.name,
            objective.margin(levels[0].mean(metric.name)),
            objective.first,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain numbers under the names of the fields; NaN is null."""
        return {**plain(self), "verification": self.verification and self.verification.to_json()}


def _summary(level: Level, metric: str, confidence: float) -> LevelSummary:
    values = {name: [record.metrics[name] for record in level] for name in level[0].metrics}
    return LevelSummary(
        level.number,
        level.density,
        {name: level.size(name) for name in level[0].sizes},
        {name: fmean(some) for name, some in values.items()},
        {name: _spread(some) for name, some in values.items()},
        of_values(values[metric], confidence),
        level.latency,
    )


def _spread(values: Sequence[float]) -> float:
    """Sample standard deviation; NaN of fewer than two, and where one is not finite."""
    return stdev(values) if len(values) > 1 and all(map(math.isfinite, values)) else math.nan
