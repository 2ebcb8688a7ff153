"""What the rules that spend less do to a whole sweep, run serially."""

import re

import optuna
import pytest
from optuna.trial import TrialState

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.orchestration.driver import Driver
from lth_sweep.orchestration.evidence import answer
from lth_sweep.orchestration.records import read
from lth_sweep.orchestration.running import run_sweep
from lth_sweep.reporting.answer import answer_section, describe
from lth_sweep.sweepfile.axis import Axis, Choice
from lth_sweep.sweepfile.spec import Stop
from tests.orchestration.simulated import GOOD
from tests.orchestration.specs import RATE, sweep
from tests.orchestration.test_sweep import RUN, Heard, optuna_trials, results

OFF = Stop(patience=None, race=None, hopeless=False, duplicates=False)


def test_the_race_spends_less_and_finds_the_same(tmp_path):
    without = run_sweep(sweep(12, stop=OFF), tmp_path / "without", work=RUN, serial=True)
    raced = run_sweep(sweep(12, stop=Stop(None, 0.02, False, False)), tmp_path / "raced", work=RUN, serial=True)
    assert without.best is not None
    assert raced.best is not None
    assert (raced.best.number, raced.best.outcome) == (without.best.number, without.best.outcome)
    assert raced.steps_trained < 0.8 * without.steps_trained == 0.8 * 12 * 9 * 200
    for trial in read(tmp_path / "raced/simulated"):
        missing = 9 * 2 - sum(map(len, trial.levels))
        assert trial.steps_saved == 150 * missing
        assert (trial.ending == "stopped") == (missing > 0)
        seeds = [len(level) for level in trial.levels]
        assert seeds == sorted(seeds, reverse=True)
        assert [record.seed for level in trial.levels for record in level] == [s for n in seeds for s in range(n)]
    assert raced.steps_saved == sum(trial.steps_saved for trial in read(tmp_path / "raced/simulated")) > 0
    assert raced.steps_trained == sum(trial.steps_trained for trial in read(tmp_path / "raced/simulated"))


def test_a_raced_sweep_that_is_interrupted_goes_on_to_the_same(tmp_path):
    run_sweep(sweep(6, stop=Stop()), tmp_path / "through", work=RUN, serial=True)
    for steps in (100, 1000, 2600):
        part = run_sweep(sweep(6, stop=Stop()), tmp_path / str(steps), work=RUN, serial=True, steps=steps)
        assert part.spent == "steps"
        assert steps <= part.steps_trained < steps + 200
        whole = run_sweep(sweep(6, stop=Stop()), tmp_path / str(steps), work=RUN, serial=True)
        assert whole.spent == ""
        assert results(tmp_path / str(steps)) == results(tmp_path / "through")


def test_trials_that_wait_come_last_and_end_whole_or_beaten(tmp_path):
    """Simulated seeds differ by nothing, so that a first seed keeps what it promises."""
    space = (Axis("rate", Choice({str(rate): rate for rate in (0.2, 0.3, 0.25, 0.4)})),)
    heard = Heard()
    spec = sweep(4, space=space, sampler="grid", stop=Stop(None, 0.02, False, False))
    result = run_sweep(spec, tmp_path, work=RUN, serial=True, listeners=[heard])
    trials = read(tmp_path / "simulated")
    assert result.best is not None
    assert result.counts.get("interrupted", 0) == 0
    assert len(result.best.levels[result.best.outcome.level]) == 2
    ends = [call[1] for call in heard.calls if call[0] == "trial_ended"]
    assert sorted(ends) == [0, 1, 2, 3]
    waited = [trial for trial in trials if b'"ending":null' in written(tmp_path, trial.number)]
    assert waited[0].number == 0  # the first has nothing to be better than
    assert sorted(call[1] for call in heard.calls if call[0] == "trial_waits") == [trial.number for trial in waited]
    went_on = [trial.number for trial in waited if len(trial.levels[0]) == 2]
    assert sorted(call[1] for call in heard.calls if call[0] == "trial_started") == sorted([0, 1, 2, 3, *went_on])
    for trial in waited:
        assert written(tmp_path, trial.number).count(b'"ending"') == 2
        assert len(trial.levels[0]) == 2 or trial.reason.startswith("its first seed alone")
    assert [trial.value for trial in optuna_trials(tmp_path)].count(None) == 0


def test_a_budget_that_ends_while_a_trial_waits_leaves_its_first_seed_as_the_answer(tmp_path):
    stop = Stop(None, 0.02, False, False)
    part = run_sweep(sweep(1, stop=stop), tmp_path, work=RUN, serial=True, steps=900)
    assert part.spent == "steps"
    assert part.counts == {"interrupted": 1}
    assert part.best is not None
    assert [len(level) for level in part.best.levels] == [1] * 9
    whole = run_sweep(sweep(1, stop=stop), tmp_path, work=RUN, serial=True)
    assert whole.counts == {"finished": 1} or whole.counts == {"stopped": 1}
    assert whole.best is not None
    assert len(whole.best.levels[whole.best.outcome.level]) == 2
    assert whole.steps_trained <= 900


def test_a_trial_that_waited_is_no_answer_while_it_is_half_through_its_other_seeds(tmp_path):
    stop = Stop(None, 0.02, False, False)
    spec = sweep(1, stop=stop)
    part = run_sweep(spec, tmp_path, work=RUN, serial=True, steps=1000)
    (trial,) = read(tmp_path / "simulated")
    assert [len(level) for level in trial.levels] == [2] + [1] * 8
    assert part.counts == {"interrupted": 1}
    assert part.best is None
    assert answer(spec, tmp_path / "simulated") is None
    whole = run_sweep(spec, tmp_path, work=RUN, serial=True)
    assert whole.best is not None
    through = run_sweep(spec, tmp_path / "through", work=RUN, serial=True)
    assert through.best is not None
    assert (whole.best.outcome, whole.best.reason) == (through.best.outcome, through.best.reason)


@pytest.mark.usefixtures("cluster")
def test_trials_that_wait_come_last_on_ray_too(tmp_path):
    result = run_sweep(sweep(3, stop=Stop(None, 0.02, False, False)), tmp_path, work=RUN)
    assert sum(result.counts.values()) == 3
    assert "interrupted" not in result.counts
    assert result.best is not None
    assert len(result.best.levels[result.best.outcome.level]) == 2


def written(runs, number):
    return (runs / "simulated" / "records" / f"{number:03d}.jsonl").read_bytes()


def test_a_recipe_that_was_had_is_answered_from_its_records(tmp_path):
    space = (Axis("train.batch", Choice({"one": GOOD, "the same": GOOD})),)
    heard = Heard()
    for duplicates in (True, False):
        runs = tmp_path / str(duplicates)
        stop = Stop(2, None, False, duplicates)
        run_sweep(sweep(2, space=space, sampler="grid", stop=stop), runs, work=RUN, serial=True, listeners=[heard])
        first, second = read(runs / "simulated")
        assert first.outcome == second.outcome
        assert (second.reason == "the same recipe as trial 0, whose records answer it") == duplicates
        assert second.steps_trained == (0 if duplicates else first.steps_trained)
        assert second.steps_reused == (1 if duplicates else 0) * first.steps_trained + first.steps_reused
        assert (runs / "stages/levels").stat().st_size == (1 if duplicates else 2) * len(first.levels)
        assert optuna_trials(runs)[0].value == optuna_trials(runs)[1].value
    level_calls = [call for call in heard.calls if call[0] == "level_done"]
    assert level_calls[: len(level_calls) // 2] == level_calls[len(level_calls) // 2 :]


def test_a_hopeless_trial_stops_after_the_dense_level_and_optuna_hears_no_number_of_it(tmp_path):
    def bound(trial, size):
        return 1000 * (1 - trial.rate) ** trial.levels

    spec = sweep(2, space=(Axis("rate", Choice({"0.2": 0.2, "0.1": 0.1})),), sampler="grid", stop=Stop(None, None))
    for known in (False, True):
        driver = Driver(spec, tmp_path / str(known), bound=bound if known else lambda trial, size: 0.0)
        serially(driver, tmp_path)
        good, poor = read(tmp_path / str(known))
        assert good.outcome.value == 168
        if known:
            assert (poor.ending, len(poor.levels), poor.steps_saved) == ("stopped", 1, 100 * 17 - 100)
            assert poor.reason == "no level of it could be smaller than the best, 168 params"
            assert poor.outcome.bound == pytest.approx(1000 * 0.9**8)
            for _ in range(2):  # told, and then restored from the records
                url = f"sqlite:///{tmp_path / 'True/optuna.db'}"
                told = optuna.load_study(study_name="simulated", storage=url).get_trials()[1]
                assert (told.state, told.values, told.constraints) == (TrialState.PRUNED, None, {})
                (tmp_path / "True/optuna.db").unlink()
                Driver(spec, tmp_path / "True", bound=bound).close("finished")
        else:
            assert (poor.ending, poor.outcome.value) == ("finished", 430)


@pytest.mark.parametrize(
    ("before", "after", "reopened"),
    [
        (Stop(1, None, False, False), Stop(3, None, False, False), True),
        (Stop(1, None, False, False), OFF, True),
        (Stop(None, 0.0, False, False), OFF, True),
        (Stop(1, None, False, False), Stop(1, 0.02, False, False), False),  # this rule has not changed
        (Stop(None, 0.02, False, False), Stop(2, 0.02, False, False), False),
    ],
)
def test_trials_that_a_rule_has_ended_go_on_where_it_is_loosened(tmp_path, before, after, reopened):
    """To what they would have come to without it."""
    said = []
    run_sweep(sweep(6, stop=before), tmp_path, work=RUN, serial=True)
    stopped = {trial.number for trial in read(tmp_path / "simulated") if trial.ending == "stopped"}
    assert stopped
    driver = Driver(sweep(6, stop=after), tmp_path / "simulated", say=said.append)
    going_on = driver.has_more
    serially(driver, tmp_path)
    assert going_on == reopened
    assert ("that had ended get what they lack" in said[0]) == reopened
    if after == OFF:
        run_sweep(sweep(6, stop=OFF), tmp_path / "through", work=RUN, serial=True)
        assert results(tmp_path) == results(tmp_path / "through")
        assert {trial.state for trial in optuna_trials(tmp_path)} == {TrialState.COMPLETE}


def serially(driver, folder):
    from lth_sweep.orchestration.executor import InProcess
    from lth_sweep.orchestration.work import Work

    InProcess().search(driver, Work(driver.spec, folder / "stages", RUN))
    driver.close("finished")


@pytest.mark.parametrize("serial", [True, False])
@pytest.mark.usefixtures("cluster")
def test_what_cannot_be_run_is_not_tried_again(tmp_path, serial):
    result = run_sweep(sweep(1), tmp_path, work="tests.orchestration.test_rules:refuses", serial=serial)
    (trial,) = read(tmp_path / "simulated")
    assert result.counts == {"failed": 1}
    assert trial.reason == "ConfigError: rate: too bold"
    assert (tmp_path / "simulated/logs/000.txt").read_text().count("Traceback") == 1


def refuses(trial, store, runtime):
    raise ConfigError("too bold", "rate")
    yield


def test_hours_that_are_over_leave_the_rest_for_the_next_run(tmp_path):
    none = run_sweep(sweep(3), tmp_path, work=RUN, serial=True, hours=1e-9)
    assert (none.spent, none.counts, none.ending) == ("hours", {}, "finished")
    assert run_sweep(sweep(3), tmp_path, work=RUN, serial=True, hours=1).spent == ""
    assert len(read(tmp_path / "simulated")) == 3


@pytest.mark.usefixtures("cluster")
def test_steps_that_are_used_up_end_a_sweep_on_ray(tmp_path):
    part = run_sweep(sweep(4), tmp_path, work=RUN, steps=1000)
    assert part.spent == "steps"
    assert 1000 <= part.steps_trained <= 1400  # of two trials at a time
    assert part.counts["interrupted"] >= 1
    assert run_sweep(sweep(4), tmp_path, work=RUN, serial=True).spent == ""
    run_sweep(sweep(4), tmp_path / "through", work=RUN, serial=True)
    assert results(tmp_path) == results(tmp_path / "through")


def test_listeners_hear_of_the_trials_on_record(tmp_path):
    run_sweep(sweep(3), tmp_path, work=RUN, serial=True, steps=3000)
    heard = Heard()
    run_sweep(sweep(3), tmp_path, work=RUN, serial=True, listeners=[heard])
    trials = read(tmp_path / "simulated")
    assert heard.calls[:3] == [
        ("sweep_started", "simulated"),
        ("trial_recorded", 0, len(trials[0].levels), trials[0].ending),
        ("trial_recorded", 1, 6, "interrupted"),
    ]
    assert heard.calls[3] == ("trial_started", 1)
    assert heard.calls[4] == ("level_done", 1, 6)


def test_two_sizes_give_optuna_both(tmp_path):
    spec = sweep(4, space=(RATE,), minimize=("flops", "bytes"))
    result = run_sweep(spec, tmp_path, work=RUN, serial=True)
    assert result.best is not None
    for trial, told in zip(read(tmp_path / "simulated"), optuna_trials(tmp_path), strict=True):
        level = trial.levels[trial.outcome.level][0]
        assert told.values == [level.sizes["flops"], level.sizes["bytes"]]
        assert trial.outcome.value == level.sizes["flops"]


def test_the_latency_is_measured_where_it_is_to_be_small(tmp_path):
    from lth_sweep.sweepfile.load import load_spec

    (tmp_path / "sweep.yaml").write_text("""
name: fast
trial: {model: {kind: mlp, hidden: [64]}, train: {length: 10 steps}, levels: 2, seeds: 1, granularity: unit}
space: {rate: {between: [0.4, 0.6]}}
objective: {minimize: [latency, params], match: {margin: 0.9}}
search: {trials: 1}
verify: {top: 0}
""")
    result = run_sweep(load_spec(tmp_path / "sweep.yaml"), tmp_path, serial=True)
    assert result.best is not None
    for (record,) in result.best.levels:
        assert 0.001 < record.latency < 100
    assert result.best.outcome.value == min(level[0].latency for level in result.best.levels[1:])
    spec = load_spec(tmp_path / "sweep.yaml")
    found = answer(spec, result.folder)
    assert (found.dense.latency, found.ticket.latency) == (result.best.levels[0][0].latency, result.best.outcome.value)
    factor = f"{found.dense.latency / found.ticket.latency:.1f} times lower latency"
    text = describe(found, spec, "lth-sweep export fast")
    assert f"% of the weights, {factor}: " in text
    shown = [f"{network.latency:.3f}" for network in (found.dense, found.ticket)]
    assert re.search(r"ms for 1 input \(the search\) +(\S+) +(\S+)\n", text).groups() == tuple(shown)
    assert re.sub("<[^>]*>", "", answer_section(found, spec)).count(factor) == 1


def test_a_sweep_ends_with_a_trial_of_which_until_holds(tmp_path):
    def second(trial):
        return trial.number == 1

    for trained in (2 * 9 * 200, 0):
        part = run_sweep(sweep(6, stop=OFF), tmp_path, work=RUN, serial=True, until=second)
        assert [trial.number for trial in read(tmp_path / "simulated")] == [0, 1]
        assert (part.ending, part.steps_trained) == ("finished", trained)
    whole = run_sweep(sweep(6, stop=OFF), tmp_path, work=RUN, serial=True)
    assert (whole.counts, whole.steps_trained) == ({"finished": 6}, 4 * 9 * 200)
