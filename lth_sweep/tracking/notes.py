"""More about a sweep that has ended, on its own run in MLflow: tags, metrics and files."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from lth_sweep.sweepfile.spec import SweepSpec
from lth_sweep.tracking.listener import runs_of, to_stderr
from lth_sweep.tracking.trials import STATUS
from lth_sweep.tracking.update import Update


def note_on_sweep(
    spec: SweepSpec,
    folder: Path,
    ending: Literal["finished", "interrupted"],
    *,
    tags: Mapping[str, str],
    metrics: Mapping[str, float],
    files: Mapping[str, str],
    say: Callable[[str], None] = to_stderr,
) -> None:
    """Put these on the run of the sweep in `folder`, which is runs/NAME; `ending` is that of a run that has to be made.

    Where MLflow cannot be reached, or does not take something, `say` is told: what is noted is in the sweep's folder,
    too."""
    try:
        runs = runs_of(spec, folder)
        status = None if None in runs.open() else STATUS[ending]
        runs.apply(Update(None, spec.name, tags=dict(tags), summary=dict(metrics), files=dict(files), status=status))
        missing = runs.unsent
    except Exception as error:  # of any kind: the sweep itself is done
        missing = [f"{type(error).__name__}: {error}"]
    if missing:
        say(f"MLflow lacks parts of {spec.name}: {'; '.join(missing)}")
