"""A sweep's ticket as files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.loop import run
from lth_sweep.lottery.recipe.trial import Runtime
from lth_sweep.lottery.records import Level, LevelRecord
from lth_sweep.lottery.task import Metric
from lth_sweep.lottery.ticket.export import export
from lth_sweep.lottery.ticket.ticket import Ticket
from lth_sweep.orchestration.evidence import answer
from lth_sweep.orchestration.records import read
from lth_sweep.remote.run_folder import RunFolder
from lth_sweep.remote.stages import stages_at
from lth_sweep.search.answer import Answer
from lth_sweep.search.trial import TrialRecord
from lth_sweep.sweepfile.load import imports_from
from lth_sweep.sweepfile.spec import SweepSpec


@dataclass(frozen=True)
class Chosen:
    """One network of a sweep."""

    spec: SweepSpec
    stages: Path | str
    trial: TrialRecord
    record: LevelRecord

    def load(self) -> Ticket:
        """Where its stage was removed or is damaged, it is trained again, from the nearest that is left."""
        with imports_from(self.spec.import_folder):
            recipe, store = self.spec.recipe(self.trial.picks), stages_at(self.stages)
            if store.load(*self.record.place) is None:
                levels = run(replace(recipe, seeds=(self.record.seed,)), store, Runtime())
                next(level for level in levels if level.number == self.record.level)
            return Ticket.load(recipe, self.record, store)


@dataclass(frozen=True)
class Exported:
    """What was written, and of which ticket. Sizes are those of the exported network, which stores its zeros."""

    trial: int
    level: int
    seed: int
    masked: str
    """Why it is the masked network, at its full size; empty where it is a smaller one."""
    params: int
    flops: int
    bytes: int
    params_dense: int
    files: tuple[Path, ...]
    failed: Mapping[str, str]
    """Format -> why it was not written."""
    any_length: bool
    """Whether pt2 and onnx take inputs of any length, too, and not of any number alone."""

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "failed": dict(self.failed), "files": [str(path) for path in self.files]}


def export_ticket(
    spec: SweepSpec,
    runs: Path,
    trial: int | None = None,
    level: int | None = None,
    seed: int | None = None,
    out: Path | None = None,
    formats: Sequence[str] = ("safetensors", "pt2"),
) -> Exported:
    """Write a ticket of the sweep in `runs` into `out`, by default a folder in runs/NAME/tickets.

    By default it is the answer's, see `evidence.answer`, of the seed whose metric is best on validation. Raises
    ConfigError where there is none such.
    """
    chosen = choose(spec, runs, trial, level, seed)
    folder, number, record = RunFolder(runs / spec.name), chosen.trial.number, chosen.record
    with imports_from(spec.import_folder):
        ticket = chosen.load()
        out = out or folder.ticket(number, record.level, record.seed)
        files = export(ticket, out, formats)
    if out.is_relative_to(folder.path):
        folder.keep(*files.paths)
    dense = sum(parameter.numel() for parameter in ticket.module.parameters())
    return Exported(number, record.level, record.seed, ticket.why_masked, **ticket.exported_sizes, params_dense=dense,
                    files=files.paths, failed=files.failed, any_length=files.any_length)  # fmt: skip


def choose(
    spec: SweepSpec, runs: Path, trial: int | None = None, level: int | None = None, seed: int | None = None
) -> Chosen:
    """The network that `export_ticket` writes. Raises ConfigError where there is none such."""
    folder = RunFolder(runs / spec.name)
    recorded = read(folder.path)
    found = answer(spec, folder.path, recorded) if trial is None or level is None else None
    if trial is None:
        if found is None:
            raise ConfigError("no trial matches, so there is no answer to export; name a trial and a level", "trial")
        trial = found.trial
    trials = {one.number: one for one in recorded}
    if trial not in trials:
        raise ConfigError(f"there is no trial {trial}; the sweep has {len(trials)}, from 0", "trial")
    if level is None:
        level = found.ticket.level if found and found.trial == trial else trials[trial].outcome.level
    if level is None:
        raise ConfigError(f"no level of trial {trial} matches; name one", "level")
    levels = trials[trial].levels
    if level >= len(levels):
        raise ConfigError(f"trial {trial} has no level {level}; it has {len(levels)}, from 0", "level")
    return Chosen(spec, folder.stages, trials[trial], _of_seed(seed, levels[level], trial, spec.objective.metric))


def best_ticket(spec: SweepSpec, folder: Path) -> tuple[Answer, LevelRecord, Callable[[], Ticket]] | None:
    """The answer of the sweep in `folder`, which is runs/NAME, the record of its network, and what loads that."""
    found = answer(spec, folder)
    if found is None:
        return None
    chosen = choose(spec, folder.parent, found.trial, found.ticket.level)
    return found, chosen.record, chosen.load


def _of_seed(seed: int | None, level: Level, trial: int, metric: Metric) -> LevelRecord:
    """By default of the best one."""
    if seed is None:
        return max(level, key=lambda record: metric.gain(record.metrics[metric.name], 0.0))
    if seed not in level.seeds:
        raise ConfigError(f"trial {trial} has no seed {seed}; it has {', '.join(map(str, level.seeds))}", "seed")
    return next(record for record in level if record.seed == seed)
