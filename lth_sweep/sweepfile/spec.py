"""The sweep file, decoded: what a sweep searches over, for what, and with what."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from lth_sweep.lottery.common.duration import Clock
from lth_sweep.lottery.common.errors import require
from lth_sweep.lottery.experiments.controls import Control
from lth_sweep.lottery.recipe.trial import MOST_SEEDS, TrialConfig
from lth_sweep.sweepfile.axis import Axis, Pick
from lth_sweep.sweepfile.decode import decode
from lth_sweep.sweepfile.objective import Objective
from lth_sweep.sweepfile.samplers import Frugal, Sampler
from lth_sweep.sweepfile.space import place, recipes
from lth_sweep.sweepfile.stopping import StopRule

POSTGRESQL_PASSWORD = "the environment variable PGPASSWORD or the file ~/.pgpass"


@dataclass(frozen=True)
class Search:
    """How recipes are chosen, and how many."""

    sampler: Sampler = field(default_factory=Frugal)
    trials: int = 12
    """Trials in all. The first is the base recipe, where it lies in the space."""
    seed: int = 0
    """Of the sampler. What a trial finds depends on its recipe alone."""
    steps: int | None = None
    """Optimizer steps in all, of all runs of the sweep together; when they are used up, the search ends. Those of the
    verification, which then follows, are on top."""
    hours: float | None = None
    """Of one run of the sweep; when they are over, it ends, and the same command goes on from there. Nothing is
    verified before the search has ended."""
    storage: str | None = None
    """The database of the Optuna study, postgresql://USER@HOST/DATABASE; by default what the environment variable
    LTH_SWEEP_STORAGE names, else a SQLite file in the sweep's folder."""
    first: tuple[dict[str, str | int | float], ...] = ()
    """Points that are tried before the sampler's own, {axis: label or number}, instead of the base recipe. Grid
    and qmc, which have a list of points of their own, leave them out."""

    def __post_init__(self) -> None:
        require(self.trials >= 1, "trials", f"must be 1 or more, but got {self.trials}")
        require(self.steps is None or self.steps >= 1, "steps", f"must be 1 or more, but got {self.steps}")
        require(self.hours is None or self.hours > 0, "hours", f"must be above 0, but got {self.hours}")
        if self.storage is not None:
            url = urlsplit(self.storage)
            require(url.scheme.partition("+")[0] == "postgresql", "storage", "must be a PostgreSQL database, such as "
                    f"postgresql://USER@HOST/DATABASE, but its scheme is {url.scheme!r}")  # fmt: skip
            _require_no_password(self.storage, "storage", POSTGRESQL_PASSWORD)


@dataclass(frozen=True)
class Stop:
    """Rules that spend less. With null or false, a rule is off."""

    patience: int | None = 2
    """Levels in a row below the margin before a trial gives up."""
    race: float | None = 0.01
    """A trial starts with its first seed alone. The others follow at once where that one matches at a smaller size than
    any trial before it; where it only might, as it misses the margin by no more than this, they wait until all trials
    have been tried, as do those of the first trial. They go down to the last such level."""
    hopeless: bool = True
    """A trial whose last level could not be smaller than the best so far stops, where that can be told exactly: not for
    latency, nor for flops or units that compete across layers."""
    duplicates: bool = True
    """A recipe that an earlier trial had is answered from that one's records."""
    rules: tuple[StopRule, ...] = ()
    """Further rules, of one's own: "package.module:Name" or {kind: package.module:Name, ...}."""

    def __post_init__(self) -> None:
        require(self.patience is None or self.patience >= 1, "patience", f"must be 1 or more, but got {self.patience}")
        require(self.race is None or 0 <= self.race < 1, "race", f"must be at least 0 and below 1, but got {self.race}")


@dataclass(frozen=True)
class Verify:
    """After the search: the best candidates run again on fresh seeds, and the test split is read once for each."""

    top: int = 2
    """Candidates, smallest first, that are tried until one matches; 0 verifies none. From 2 on, one is the smallest
    ticket that has lost nothing on validation, and from 3 on another the smallest that has lost nothing over all its
    seeds. The confidence holds for all of them together."""
    seeds: int = 3
    """Fresh ones, that no trial of the search has had."""
    controls: tuple[Control, ...] = ("reinit", "shuffle")
    """What is trained and tested beside a candidate, on the same seeds. scratch is for units alone."""
    confidence: float = 0.95
    """Of the verdict, and of all intervals that are shown."""

    def __post_init__(self) -> None:
        require(self.top >= 0, "top", f"must be 0 or more, but got {self.top}")
        require(1 <= self.seeds <= MOST_SEEDS, "seeds", f"must be from 1 to {MOST_SEEDS}, but got {self.seeds}")
        require(0.5 < self.confidence < 1, "confidence", "must be above 0.5 and below 1, such as 0.95, but got "
                f"{self.confidence:g}")  # fmt: skip
        require(len(set(self.controls)) == len(self.controls), "controls", "each can be named once only")


@dataclass(frozen=True)
class RescueSection:
    """At the end of a sweep that found nothing: find out what ails its best ticket, and try what should help."""

    when: Literal["no-match"] = "no-match"
    """no-match: where no trial matches at the density."""
    density: float = 0.05
    """At the last level of at least this density."""
    steps: int | None = None
    """Optimizer steps of all remedies together, at most."""
    hours: float | None = None
    """Of one run of the rescue, at most."""
    all: bool = False
    """Try every remedy, also after one that matches."""

    def __post_init__(self) -> None:
        require(0 < self.density < 1, "density", f"must be between 0 and 1 exclusive, but got {self.density:g}")
        require(self.steps is None or self.steps >= 1, "steps", f"must be 1 or more, but got {self.steps}")
        require(self.hours is None or self.hours > 0, "hours", f"must be above 0, but got {self.hours}")


@dataclass(frozen=True)
class Resources:
    """What a trial gets of the machine or the cluster."""

    cpu: float = 1
    """CPUs a trial; PyTorch uses as many threads."""
    gpu: float = 0
    """GPUs a trial: 0, 1, or a share such as 0.25, of which as many trials run on one GPU, each with its part of the
    memory."""
    compile: bool = False
    """Networks go through torch.compile, which needs a C compiler on each machine."""
    batched: bool | None = None
    """Whether a trial's replicas are trained in one call, as far as memory allows; by default they are on a GPU. The
    results are the same but for float rounding."""
    max_concurrent: int | None = None
    """Trials at a time, waiting ones included: set it to where an autoscaler may grow to. By default as many as the
    cluster has room for, and on one that is joined another one that waits, for an autoscaler to see."""

    def __post_init__(self) -> None:
        require(self.cpu > 0, "cpu", f"must be above 0, but got {self.cpu:g}")
        require(0 <= self.gpu <= 1, "gpu", f"must be from 0 to 1, since a trial runs on one GPU, but got {self.gpu:g}")
        require(self.max_concurrent is None or self.max_concurrent >= 1, "max_concurrent",
                f"must be 1 or more, but got {self.max_concurrent}")  # fmt: skip


@dataclass(frozen=True)
class Tracking:
    """Where MLflow keeps the sweep."""

    uri: str | None = None
    """Of the MLflow store or server; by default what the environment variable LTH_SWEEP_TRACKING_URI names, else a
    SQLite file in the runs folder."""
    system_metrics: bool = False
    """Log what the machine of `lth-sweep run` does (CPU, memory, disk, network, GPU), every 10 seconds, on the sweep's
    own run."""

    def __post_init__(self) -> None:
        if self.uri is not None:
            instead = "MLFLOW_TRACKING_USERNAME and _PASSWORD" if self.uri.startswith("http") else POSTGRESQL_PASSWORD
            _require_no_password(self.uri, "uri", instead)


@dataclass(frozen=True)
class SweepSpec:
    """A whole sweep file. Made by `load_spec`, which has checked every option of every axis."""

    name: str
    base: Mapping[str, Any]
    """The `trial` section as written."""
    space: tuple[Axis, ...]
    """In the order of the file, but each axis after those that its `when` names."""
    objective: Objective = field(default_factory=Objective)
    search: Search = field(default_factory=Search)
    stop: Stop = field(default_factory=Stop)
    verify: Verify = field(default_factory=Verify)
    rescue: RescueSection | None = None
    """None: a sweep that found nothing ends."""
    resources: Resources = field(default_factory=Resources)
    tracking: Tracking = field(default_factory=Tracking)
    source: Path | None = None
    text: str = ""
    """The file, word for word."""

    @property
    def import_folder(self) -> Path | None:
        """The folder of the sweep file. It is on `sys.path` while the file is read, and has to be in workers, too."""
        return self.source.parent if self.source else None

    def recipe(self, picks: Mapping[str, Pick]) -> TrialConfig:
        """The trial that these picks (axis path -> label or number) make of the base."""
        return decode(TrialConfig, place(self.base, self.space, picks))

    def snapshots(self, clock: Clock) -> tuple[int, ...]:
        """The steps, after 0, that the space can rewind to, or draw masks at, in a run of this clock: all choices, both
        ends of ranges.

        A dense run that stores them in passing spares later trials from training up to them again.
        """
        trials = list(recipes(self.base, self.space, "rewind", "mask_at"))
        steps = {trial.rewind.start(clock).first for trial in trials}
        steps |= {clock.steps(trial.mask_at) for trial in trials if trial.mask_at}
        return tuple(sorted(step for step in steps if 0 < step < clock.length))


def _require_no_password(uri: str, field: str, instead: str) -> None:
    """Raise ConfigError for `field` where a URI in a sweep file has a password. `instead`: where it belongs."""
    url = urlsplit(uri)
    without = url.password is None and "password" not in parse_qs(url.query, keep_blank_values=True)
    require(without, field, f"has a password, which would be kept with the results; leave it to {instead}")
