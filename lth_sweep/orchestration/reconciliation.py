"""A sweep that goes on: which of its trials have ended, and its study in line with its records, which are the truth."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from optuna.trial import TrialState

from lth_sweep.lottery.recipe.trial import TrialConfig, trial_digest
from lth_sweep.search.listener import Listener
from lth_sweep.search.objective import judge, measured
from lth_sweep.search.policy import Policy
from lth_sweep.search.study import SweepStudy, unmeasured
from lth_sweep.search.trial import Proposal, TrialRecord
from lth_sweep.sweepfile.axis import Pick
from lth_sweep.sweepfile.spec import Objective, SweepSpec
from lth_sweep.sweepfile.stopping import View


def have_ended(
    recorded: Sequence[TrialRecord], spec: SweepSpec, policy: Policy, bound: Callable[[TrialConfig, str], float]
) -> dict[int, TrialRecord]:
    """By number, the trials on record that have ended: with the seeds and levels that they have now, and, where they
    were stopped, by the rules that there are now. Failed ones are left alone."""

    def has_ended(trial: TrialRecord) -> bool:
        if trial.ending is None or trial.ending == "failed":
            return trial.ending == "failed"
        recipe = spec.recipe(trial.picks)
        if trial.recipe != trial_digest(recipe) or trial.ending != "stopped":
            return trial.recipe == trial_digest(recipe)
        return would_stop(trial, recipe)

    def would_stop(trial: TrialRecord, recipe: TrialConfig) -> bool:
        """It may be stopped because of trials that have ended after it."""
        others = [one.outcome.value for one in recorded if one.answers and one.recipe != trial.recipe]
        best = min((value for value in others if value is not None), default=None)
        view = View(recipe, (), spec.objective, best, recorded=trial.levels)
        if policy.would_stop(view) or not spec.stop.hopeless or best is None:
            return policy.would_stop(view)
        return policy.would_stop(replace(view, bound=bound(recipe, spec.objective.first)))

    return {trial.number: trial for trial in recorded if has_ended(trial)}


def recall(recorded: Iterable[TrialRecord], ended: Mapping[int, TrialRecord], spec: SweepSpec, told: Listener) -> None:
    """Tell a listener of the trials on record."""
    for trial in recorded:
        proposal = Proposal(trial.number, trial.picks, spec.recipe(trial.picks))
        if trial.number in ended and trial.ending:
            known = trial.levels, trial.ending, trial.outcome, trial.reason, trial.steps_saved
            told.trial_recorded(proposal, *known)
        else:
            told.trial_recorded(proposal, trial.levels, "interrupted", judge(trial.levels, spec.objective))


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
