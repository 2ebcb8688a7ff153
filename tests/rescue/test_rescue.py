"""Whole rescues of small patients on digits."""

import json
import re
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.orchestration.evidence import candidates
from lth_sweep.orchestration.records import read
from lth_sweep.orchestration.running import run_sweep
from lth_sweep.rescue.result import Rescue
from lth_sweep.rescue.run import rescue
from lth_sweep.rescue.text import describe
from lth_sweep.search.trial import Outcome, TrialRecord
from lth_sweep.sweepfile.load import load_spec
from lth_sweep.sweepfile.spec import SweepSpec
from tests.rescue.made import LADDER, LENGTH, PATIENT, SEEDS, spec_of


def second_sweep(done: Rescue) -> list[TrialRecord]:
    """On fresh seeds."""
    [folder] = done.folder.parent.glob(f"{done.patient.name}-together-*")
    return read(folder)


def test_it_says_what_was_found_and_what_was_tried(all_tried: tuple[SweepSpec, Path, Rescue]) -> None:
    _, runs, done = all_tried
    assert not done.matches
    assert done.patient.level == 2
    assert re.fullmatch("poor-rescue-base-level-2-[0-9a-f]{6}", done.patient.name)
    assert "no better than controls" in [finding.cause for finding in done.findings][:2]
    assert [row.word for row in done.rows if not row.tried] == []
    singles = [row for row in done.rows if row.trial is not None]
    assert [row.trial for row in singles] == list(range(1, len(singles) + 1))
    assert singles[0].remedy.name in ("original-weights", "longer")
    assert any("+" in row.remedy.name for row in done.rows)
    words = describe(done)
    for row in done.rows:
        assert row.remedy.name in words
    for finding in done.findings:
        assert finding.cause in words
    assert str(done.recipe) in words
    assert json.loads((runs / done.patient.name / "rescue.json").read_text()) == json.loads(json.dumps(done.to_json()))


def test_all_remedies_together_train_no_more_than_promised(all_tried: tuple[SweepSpec, Path, Rescue]) -> None:
    """And dense runs and common prefixes are trained once, whatever is tried."""
    _, runs, done = all_tried
    sweeps = [read(runs / done.patient.name), second_sweep(done)]
    tried = sum(row.tried for row in done.rows)
    assert sum(trial.steps_trained for trials in sweeps for trial in trials) <= (tried + 2) * LADDER
    assert sum(row.steps_trained for row in done.rows) <= (tried + 1) * LADDER
    for trials in sweeps:
        dense = {record.stage: [] for trial in trials for record in trial.levels[0]}
        for trial in trials:
            for record in trial.levels[0]:
                dense[record.stage].append(record.steps_trained)
        assert all(sorted(steps)[:-1] == [0] * (len(steps) - 1) for steps in dense.values())
    patient, *others = sweeps[0]
    assert patient.steps_trained == 0  # the examination has trained it
    assert all(record.steps_trained == 0 for trial in others for record in trial.levels[0]
               if record.stage in {one.stage for one in patient.levels[0]})  # fmt: skip
    later = [trial for trial in others if str(trial.picks["remedy"]).startswith("rewind-")]
    assert len(later) == 2
    for trial in later:  # from step k on, and not from 0
        start = trial.levels[1][0].steps_trained + trial.levels[1][0].steps_reused
        assert trial.levels[1][0].steps_trained == start < LENGTH
    [longer] = [trial for trial in others if trial.picks["remedy"] == "longer"]
    assert sum(record.steps_trained for record in longer.levels[0]) == 0  # the examination has trained that, too


def test_no_combination_is_tried_twice(all_tried: tuple[SweepSpec, Path, Rescue]) -> None:
    """The patient as it is, the best remedy alone and all together come first."""
    picks = [tuple(trial.picks.values()) for trial in second_sweep(all_tried[2])]
    together = len(picks[0])
    assert picks[:3] == [("off",) * together, ("on", *["off"] * (together - 1)), ("on",) * together]
    assert len(picks) == len(set(picks)) == {2: 4, 3: 6}[together]


def test_again_it_trains_nothing_and_says_the_same(all_tried: tuple[SweepSpec, Path, Rescue]) -> None:
    spec, runs, done = all_tried
    again = rescue(spec, runs, density=0.175, everything=True, serial=True)
    assert (again.steps_trained, again.seen.steps, again.steps_reused) == (0, 0, 0)
    unlike = {"steps_trained", "steps_reused", "steps_examination"}
    first, second = ({key: value for key, value in one.to_json().items() if key not in unlike} for one in (done, again))
    assert first == second


def test_the_recommended_recipe_runs(all_tried: tuple[SweepSpec, Path, Rescue]) -> None:
    """On the seeds that it was last looked at on, it is found in the stages, and is what the rescue says."""
    _, runs, done = all_tried
    assert done.best
    found = done.best.effect
    assert found
    spec = load_spec(done.recipe)
    taken = {record.seed for trial in (*read(runs / done.patient.name), *second_sweep(done)) for level in trial.levels
             for record in level}  # fmt: skip
    assert taken == {0, 1, *found.seeds}
    assert (spec.name, spec.verify.top) == ("poor-rescued", 0)
    result = run_sweep(replace(spec, base={**spec.base, "seeds": list(found.seeds)}), runs, serial=True)
    assert (result.steps_trained, result.counts) == (0, {"finished": 1})
    [trial] = read(runs / "poor-rescued")
    assert fmean(record.density for record in trial.levels[-1]) == found.density
    for verify in (replace(spec.verify, top=1), replace(spec.verify, top=1, seeds=1000)):
        matching = replace(trial, outcome=Outcome(1.0, 0.0, trial.levels[-1][0].level))
        [candidate] = candidates(replace(spec, verify=verify), [matching])
        assert len(candidate.seeds) == verify.seeds
        assert not taken & set(candidate.seeds)


def test_it_stops_with_the_first_that_matches_and_goes_on_with_all(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, PATIENT.replace("margin: 0.005", "margin: 0.03"))
    done = rescue(spec, tmp_path / "runs", density=0.175, serial=True)
    tried = [row for row in done.rows if row.tried]
    assert [row.matches for row in tried if row.first and row.first.matches] == [True]
    assert len(tried) < len(done.rows)
    assert tried[-1].fresh
    assert tried[-1].fresh.seeds == (1002, 1003)  # after 0, 1 and the 1,000 that a verification can take
    assert "Not tried: " in describe(done)
    whole = rescue(spec, tmp_path / "runs", density=0.175, everything=True, serial=True)
    assert [row for row in whole.rows if not row.tried] == []
    assert len(list((tmp_path / "runs").glob(f"{done.patient.name}-together-*"))) == 2


@pytest.mark.parametrize(
    ("old", "new"), [(f"seeds: {SEEDS}", f"seeds: {SEEDS + 1}"), ("rewind: reinit", "rewind: shuffle")]
)
def test_a_changed_recipe_is_another_patient(tmp_path: Path, old: str, new: str) -> None:
    """As where the answer is that more seeds would tell. What it shares with the one before is not trained again."""
    before = rescue(spec_of(tmp_path), tmp_path / "runs", density=0.175, steps=LADDER, serial=True)
    other = spec_of(tmp_path, PATIENT.replace(old, new))
    after = rescue(other, tmp_path / "runs", density=0.175, steps=LADDER, serial=True)
    assert after.patient.name != before.patient.name
    dense = [record.steps_trained for record in after.seen.dense]
    assert dense[:SEEDS] == [0] * SEEDS


def test_budgets_and_going_on(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    some = rescue(spec, tmp_path / "runs", density=0.175, steps=2 * LADDER, serial=True)
    assert some.spent == "steps"
    trained = some.steps_trained - some.seen.steps
    assert 2 * LADDER <= trained < 2 * LADDER + SEEDS * 2 * LENGTH
    assert "budget of steps is used up" in describe(some)
    more = rescue(spec, tmp_path / "runs", density=0.175, steps=3 * LADDER, serial=True)
    assert more.seen.steps == 0
    assert sum(row.tried for row in more.rows) >= sum(row.tried for row in some.rows)


def test_a_budget_that_looking_uses_up(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    done = rescue(spec, tmp_path / "runs", density=0.175, hours=1e-9, serial=True)
    assert (done.spent, done.best) == ("hours", None)
    assert done.findings
    assert {row.word for row in done.rows} == {"not tried"}
    assert "budget of hours is used up" in describe(done)


def test_a_recipe_that_matches_is_left_alone(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, PATIENT.replace("margin: 0.005", "margin: 0.9"))
    done = rescue(spec, tmp_path / "runs", density=0.175, serial=True)
    assert done.matches
    assert (done.findings, done.rows, done.best) == ((), (), None)
    assert done.steps_trained == LADDER
    assert describe(done).endswith("It matches: nothing is wrong, and nothing was tried.")
    assert not (tmp_path / "runs" / done.patient.name / "sweep.yaml").exists()


def test_the_patient_is_a_trial_of_a_sweep(tmp_path: Path) -> None:
    """By default the one that is best at the density; what the sweep has trained is not trained again."""
    text = PATIENT.replace("choice: [0.6]", "choice: [0.6, 0.7]").replace("rewind: reinit", "rewind: init")
    spec = spec_of(tmp_path, text.replace("margin: 0.005", "margin: 0.9"))
    run_sweep(spec, tmp_path / "runs", serial=True, trials=2)
    done = rescue(spec, tmp_path / "runs", density=0.175, serial=True)
    assert done.matches
    assert done.steps_trained == 0
    trials = {trial.picks["rate"]: trial.number for trial in read(tmp_path / "runs/poor")}
    assert set(trials) == {"0.6", "0.7"}
    named = rescue(spec, tmp_path / "runs", trial=trials["0.7"], density=0.175, serial=True)
    assert (named.patient.trial, named.patient.level) == (trials["0.7"], 1)
    with pytest.raises(ConfigError, match="there is no trial 7 on record; there are: 0, 1"):
        rescue(spec, tmp_path / "runs", trial=7, serial=True)
