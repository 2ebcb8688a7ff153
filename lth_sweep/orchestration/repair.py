"""What a killed run has left of a sweep, put right. Only for a sweep that nobody is running."""

import shutil
from pathlib import Path

from lth_sweep.disk import UNFINISHED
from lth_sweep.orchestration.records import damaged, read
from lth_sweep.remote.run_folder import RunFolder
from lth_sweep.remote.stages import stages_at
from lth_sweep.search.study import SweepStudy, server_of
from lth_sweep.sweepfile.spec import SweepSpec


def repair(spec: SweepSpec, folder: Path) -> list[str]:
    """Put right what is in the sweep's folder, which is runs/NAME, and say what was done."""
    run, done = RunFolder(folder), []
    if run.study.exists() or server_of(spec):
        study = SweepStudy(spec, run.study, [trial.picks for trial in read(folder)])
        released = study.release()
        study.close()
        if released:
            done.append(f"Optuna had trials {', '.join(map(str, released))} RUNNING; they wait to be gone on with")
    left = [path for path in folder.iterdir() if UNFINISHED.fullmatch(path.name)]
    for path in left:
        path.unlink()
    if run.tune.exists():
        shutil.rmtree(run.tune)
        left.append(run.tune)
    if left:
        done.append(f"removed {len(left)} files or folders that were not finished")
    if unfinished := stages_at(run.stages).tidy():
        done.append(f"removed {unfinished} stages that were not finished")
    if torn := damaged(folder):
        done.append(
            f"records/{', '.join(torn)} are damaged; the next run sets them aside and runs again what they lack"
        )
    return done
