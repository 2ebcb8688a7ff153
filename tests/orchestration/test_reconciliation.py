from pathlib import Path

import pytest
from optuna.trial import TrialState

from lth_sweep.orchestration.reconciliation import reconcile
from lth_sweep.search.study import SweepStudy
from lth_sweep.search.trial import TrialRecord
from lth_sweep.sweepfile.axis import Axis, Between
from lth_sweep.sweepfile.samplers import SAMPLERS
from lth_sweep.sweepfile.spec import Search, SweepSpec


@pytest.mark.parametrize("sampler", ["frugal", "random", "tpe"])
def test_another_trial_takes_the_place_of_a_lost_one_and_no_number_moves(tmp_path: Path, sampler: str) -> None:
    spec = SweepSpec("s", {}, (Axis("rate", Between(0.2, 0.6)),), search=Search(SAMPLERS[sampler](), 12))
    ending = {0: None, 1: "failed", 2: None, 4: "failed", 5: None}
    trials = [TrialRecord(number, {"rate": 0.2 + number / 100}, ending=end) for number, end in ending.items()]
    ended = {trial.number: trial for trial in trials if trial.ending}
    study = SweepStudy(spec, tmp_path / "optuna.db", [trial.picks for trial in trials])
    unfinished = dict(reconcile(study, trials, ended, spec.objective))
    assert sorted(unfinished) == [0, 2, 3, 5]
    assert {number: picks for number, picks in unfinished.items() if number != 3} == {
        trial.number: trial.picks for trial in trials if not trial.ending
    }
    assert 0.2 <= unfinished[3]["rate"] <= 0.6
    stored = study.study.get_trials()
    assert [trial.state for trial in stored] == [
        TrialState.FAIL if ending.get(number) else TrialState.RUNNING for number in range(6)
    ]
    assert [stored[number].params for number in ended] == [trial.picks for trial in ended.values()]
    assert study.ask()[0] == 6
