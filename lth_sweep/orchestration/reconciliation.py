"""A sweep that goes on: its study is brought in line with its records, which are the truth."""

from collections.abc import Mapping, Sequence

from optuna.trial import TrialState

from lth_sweep.lottery.recipe.trial import trial_digest
from lth_sweep.search.objective import measured
from lth_sweep.search.study import SweepStudy, unmeasured
from lth_sweep.search.trial import TrialRecord
from lth_sweep.sweepfile.axis import Pick
from lth_sweep.sweepfile.spec import Objective, SweepSpec


def has_ended(trial: TrialRecord, spec: SweepSpec) -> bool:
    """Of a trial on record: it has, and with the seeds and levels that it has now. A failed one is left alone."""
    return trial.ending == "failed" or (
        trial.ending is not None and trial.recipe == trial_digest(spec.recipe(trial.picks))
    )


def reconcile(
    study: SweepStudy, trials: Sequence[TrialRecord], ended: Mapping[int, TrialRecord], objective: Objective
) -> list[tuple[int, dict[str, Pick]]]:
    """Of the `trials` on record, by number, those have ended that are in `ended`. Gives the others, and those that the
    study alone knows, by number and picks, to be run."""
    recorded, picked = {trial.number: trial for trial in trials}, study.picks()
    if not study.agrees({number: (trial.picks, number in ended) for number, trial in recorded.items()}):
        study.clear()
    for number in range(study.count, 1 + max([*recorded, *picked], default=-1)):
        if number in ended:
            found = measured(ended[number], objective)
            state = TrialState.COMPLETE if found else unmeasured(ended[number])
            study.restore(recorded[number].picks, state, found)
        elif number in recorded:
            study.restore(recorded[number].picks, TrialState.WAITING)
        elif number in picked:  # its record is lost, and most of its stages are not
            study.restore(picked[number], TrialState.WAITING)
        else:  # that is lost, too, and another trial takes its place
            study.add()
    unfinished = []
    for number, picks in study.unfinished():
        if number in ended:
            study.tell(number, measured(ended[number], objective), unmeasured(ended[number]))
        else:
            unfinished.append((number, picks))
    return unfinished
