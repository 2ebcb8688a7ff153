"""News of a run, and a run as MLflow has it."""

import math
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from lth_sweep.lottery.data import Data
from lth_sweep.tracking.model import Best

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]


class Sample(NamedTuple):
    """A value of a metric that has a history."""

    key: str
    value: float
    step: int
    timestamp: int
    """Milliseconds. Kept when a sample is sent again, so that MLflow knows it for the same one."""


@dataclass(eq=False)
class Update:
    """News of one run, to be sent in one go."""

    trial: int | None
    """None is the sweep's own run, the parent."""
    name: str = ""
    found: str = ""
    """Put into the name, unless somebody has renamed the run."""
    samples: list[Sample] = field(default_factory=list)
    summary: dict[str, float] = field(default_factory=dict)
    """Metrics without a history: the last value counts."""
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    """Artifact name -> text."""
    data: Data | None = None
    best: Best | None = None
    """The ticket that becomes a model."""
    status: Status | None = "RUNNING"
    """None leaves it as it is."""
    whole: bool = False
    """Whether it has all that the run is to have, and not only what is new."""

    @property
    def whose(self) -> str:
        return "the sweep's own run" if self.trial is None else f"trial {self.trial}"

    def merged(self, later: "Update") -> "Update":
        return replace(self, found=later.found or self.found, samples=self.samples + later.samples,
                       summary=self.summary | later.summary, params=self.params | later.params,
                       tags=self.tags | later.tags, files=self.files | later.files, data=later.data or self.data,
                       best=later.best or self.best, status=later.status or self.status)  # fmt: skip


@dataclass
class LoggedRun:
    """A run as MLflow has it."""

    id: str
    status: str
    params: dict[str, str]
    tags: dict[str, str]
    metrics: dict[str, float]
    steps: dict[str, int]
    """The last step of each metric. Steps only ever rise, so that what is not above it is there already."""
    clock: int
    """No metric or start of it is later; in milliseconds since the epoch."""
    data: set[str] = field(default_factory=set)
    """Digests of its data sets."""

    def contradicts(self, update: Update) -> bool:
        """Whether it says something that is not in an update with all that it is to say. What it lacks is none."""
        if self.tags.get("lth.recipe") != update.tags.get("lth.recipe"):
            return True
        last = {sample.key: sample for sample in update.samples}
        if self.metrics.keys() - last.keys() - update.summary.keys():
            return True
        return any(
            self.steps[key] > last[key].step
            or (self.steps[key] == last[key].step and not _same(value, last[key].value))
            for key, value in self.metrics.items()
            if key in last
        )


def _same(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-9) or (math.isnan(one) and math.isnan(other))
