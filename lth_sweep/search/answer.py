"""What people get from a sweep: the smallest matching network beside its dense one."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from lth_sweep.lottery.records import Level
from lth_sweep.search.events import Outcome
from lth_sweep.search.objective import difference
from lth_sweep.spec.sweep import Objective, Pick


@dataclass(frozen=True)
class Network:
    """One level of a trial, over its seeds."""

    level: int
    density: float
    sizes: Mapping[str, float]
    """Means over the seeds: params, flops, bytes."""
    metrics: Mapping[str, float]
    """Means over the seeds."""
    spread: Mapping[str, float]
    """Sample standard deviations over the seeds; NaN for one seed."""


@dataclass(frozen=True)
class Answer:
    """The smallest network of a trial that matches, and the dense one that it is compared with."""

    trial: int
    picks: Mapping[str, Pick]
    seeds: int
    dense: Network
    ticket: Network
    difference: float
    """Mean over the seeds of (ticket - dense), in the metric that has to match, on the validation split."""
    metric: str
    margin: float

    @classmethod
    def of(
        cls, number: int, picks: Mapping[str, Pick], levels: Sequence[Level], outcome: Outcome, objective: Objective
    ) -> "Answer | None":
        """None where no level matches."""
        if outcome.level is None:
            return None
        ticket = next(level for level in levels if level[0].level == outcome.level)
        return cls(
            number,
            dict(picks),
            len(ticket),
            _network(levels[0]),
            _network(ticket),
            difference(ticket, levels[0], objective),
            objective.match.metric,
            objective.match.margin,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain numbers under the names of the fields; NaN is null."""
        return {
            "trial": self.trial,
            "picks": dict(self.picks),
            "seeds": self.seeds,
            "metric": self.metric,
            "margin": self.margin,
            "difference": self.difference,
            "dense": _json(self.dense),
            "ticket": _json(self.ticket),
        }


def _network(level: Level) -> Network:
    sizes, metrics = level[0].sizes, level[0].metrics
    return Network(
        level[0].level,
        fmean(record.density for record in level),
        {name: fmean(record.sizes[name] for record in level) for name in sizes},
        {name: fmean(record.metrics[name] for record in level) for name in metrics},
        {name: _spread([record.metrics[name] for record in level]) for name in metrics},
    )


def _spread(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else math.nan


def _json(network: Network) -> dict[str, Any]:
    spread = {name: None if math.isnan(value) else value for name, value in network.spread.items()}
    return {**vars(network), "sizes": dict(network.sizes), "metrics": dict(network.metrics), "spread": spread}
