"""Real sweeps of simulated trials, on a real local Ray cluster of two CPUs, and serially."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from rich.console import Console

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.recipe.methods import OneShot
from lth_sweep.lottery.recipe.trial import TrialConfig
from lth_sweep.orchestration.progress import Progress
from lth_sweep.orchestration.records import read
from lth_sweep.orchestration.running import run_sweep
from lth_sweep.search.trial import Outcome, Proposal
from lth_sweep.sweepfile.axis import Axis, Between
from lth_sweep.sweepfile.spec import Stop
from tests.orchestration.specs import TROUBLE, sweep

pytestmark = pytest.mark.usefixtures("cluster")
RUN = "tests.orchestration.simulated:run"
REPOSITORY = Path(__file__).parents[2]


def optuna_trials(runs: Path):
    return optuna.load_study(study_name="simulated", storage=f"sqlite:///{runs / 'simulated/optuna.db'}").get_trials()


def results(runs: Path):
    return [
        (trial.number, dict(trial.picks), trial.ending, trial.outcome, trial.reason,
         [record.result() for level in trial.levels for record in level])
        for trial in read(runs / "simulated")
    ]  # fmt: skip


class Heard:
    """A listener that notes what it is told."""

    def __init__(self):
        self.calls = []

    def sweep_started(self, spec, folder):
        self.calls.append(("sweep_started", spec.name))

    def trial_recorded(self, proposal, levels, ending, outcome, reason="", steps_saved=0):
        self.calls.append(("trial_recorded", proposal.number, len(levels), ending))

    def trial_started(self, proposal):
        self.calls.append(("trial_started", proposal.number))

    def trial_waits(self, proposal):
        self.calls.append(("trial_waits", proposal.number))

    def level_done(self, proposal, level):
        self.calls.append(("level_done", proposal.number, level[0].level))

    def trial_ended(self, proposal, ending, outcome, reason="", steps_saved=0):
        self.calls.append(("trial_ended", proposal.number, ending))

    def answered(self, answer):
        self.calls.append(("answered", answer and answer.trial))

    def sweep_ended(self, ending):
        self.calls.append(("sweep_ended", ending))


def test_ray_with_two_trials_at_a_time_or_one_and_the_serial_twin_give_the_same_records(tmp_path):
    two = run_sweep(sweep(8), tmp_path / "two", work=RUN)
    run_sweep(sweep(8, cpu=2), tmp_path / "one", work=RUN)
    run_sweep(sweep(8), tmp_path / "serial", work=RUN, serial=True)
    assert results(tmp_path / "two") == results(tmp_path / "one") == results(tmp_path / "serial")
    assert len(results(tmp_path / "two")) == 8
    assert two.best is not None
    assert 75 <= two.best.outcome.value <= 150  # accuracy is lost below 9%
    assert not (tmp_path / "two/simulated/ray").exists()


def test_trials_that_diverge_raise_or_kill_their_worker_do_not_stop_the_sweep(tmp_path):
    result = run_sweep(sweep(40, space=(TROUBLE,), sampler="grid"), tmp_path, work=RUN)
    trials = read(tmp_path / "simulated")
    assert len(trials) == 40
    for trial, told in zip(trials, optuna_trials(tmp_path), strict=True):
        kind = trial.picks["train.batch"]
        log = tmp_path / f"simulated/logs/{trial.number:03d}.txt"
        if kind == "raises":
            assert (trial.ending, trial.reason, told.state) == ("failed", "RuntimeError: broken layer", TrialState.FAIL)
            assert log.read_text().count("RuntimeError: broken layer") == 3
        elif kind == "dies":
            assert (trial.ending, told.state) == ("failed", TrialState.FAIL)
            assert "worker process died" in trial.reason
        elif kind == "diverges":
            assert trial.ending == "stopped"
            assert "diverged at level 2" in trial.reason
            assert len(trial.levels) == 3
        else:
            assert (trial.ending, told.state) == ("finished", TrialState.COMPLETE)
            assert not log.exists()
        if kind in ("raises", "dies"):
            assert [level[0].level for level in trial.levels] == [0, 1]
    assert result.counts == {"finished": 37, "stopped": 1, "failed": 2}


def test_a_trial_that_fails_twice_is_tried_a_third_time_and_reports_each_level_once(tmp_path):
    for serial in (True, False):
        heard = Heard()
        runs = tmp_path / str(serial)
        result = run_sweep(
            sweep(1), runs, work="tests.orchestration.simulated:fails_twice", serial=serial, listeners=[heard]
        )
        (trial,) = read(runs / "simulated")
        assert trial.ending in ("finished", "stopped")
        levels = [call[2] for call in heard.calls if call[0] == "level_done"]
        assert levels == list(range(len(trial.levels)))
        assert result.steps_trained == trial.steps_trained == 200 * len(levels)
        assert (runs / "simulated/logs/000.txt").read_text().count("OSError: the disk was away") == 2


def test_a_finished_sweep_runs_nothing_again_and_more_trials_extend_it(tmp_path):
    first = run_sweep(sweep(4), tmp_path, work=RUN, serial=True)
    before = results(tmp_path)
    ran = (tmp_path / "stages/levels").stat().st_size
    again = run_sweep(sweep(4), tmp_path, work=RUN)
    assert (tmp_path / "stages/levels").stat().st_size == ran
    assert results(tmp_path) == before
    assert (again.steps_trained, again.best, again.counts) == (0, first.best, first.counts)
    run_sweep(sweep(4), tmp_path, work=RUN, serial=True, trials=6)
    assert results(tmp_path)[:4] == before
    run_sweep(sweep(6), tmp_path / "through", work=RUN, serial=True)
    assert results(tmp_path) == results(tmp_path / "through")


def test_the_study_is_rebuilt_from_the_records(tmp_path):
    run_sweep(sweep(5), tmp_path, work=RUN, serial=True)
    before = [(trial.number, trial.params, trial.value, trial.state) for trial in optuna_trials(tmp_path)]
    (tmp_path / "simulated/optuna.db").unlink()
    assert run_sweep(sweep(5), tmp_path, work=RUN, serial=True).steps_trained == 0
    assert [(trial.number, trial.params, trial.value, trial.state) for trial in optuna_trials(tmp_path)] == before


def test_the_grid_runs_each_point_once_and_ends(tmp_path):
    result = run_sweep(sweep(100, sampler="grid"), tmp_path, work=RUN, serial=True)
    assert sum(result.counts.values()) == 5
    assert sorted(trial.picks["rate"] for trial in read(tmp_path / "simulated")) == pytest.approx(
        [0.2, 0.3, 0.4, 0.5, 0.6]
    )


def test_another_sweep_under_the_same_name_is_refused(tmp_path):
    run_sweep(sweep(2), tmp_path, work=RUN, serial=True)
    with pytest.raises(ConfigError, match="--as NEWNAME") as refused:
        run_sweep(sweep(4, space=(Axis("rate", Between(0.3, 0.6)),)), tmp_path, work=RUN, serial=True)
    assert refused.value.path == "space.rate.between"


def test_too_few_resources_are_said_before_a_trial_is_run(tmp_path):
    with pytest.raises(ConfigError, match="asks for 3, but no node of the cluster has more than 2"):
        run_sweep(sweep(2, cpu=3), tmp_path, work=RUN)


def test_what_listeners_hear(tmp_path):
    heard = Heard()
    run_sweep(sweep(1), tmp_path, work=RUN, serial=True, listeners=[heard])
    (trial,) = read(tmp_path / "simulated")
    assert heard.calls == [
        ("sweep_started", "simulated"),
        ("trial_started", 0),
        *(("level_done", 0, level) for level in range(len(trial.levels))),
        ("trial_ended", 0, trial.ending),
        ("answered", 0),
        ("sweep_ended", "finished"),
    ]


@pytest.mark.parametrize("how", ["serial", "ray", "killed"])
def test_an_interrupted_sweep_goes_on_to_the_records_of_an_unbroken_one(tmp_path, how):
    script = (
        "import sys; from pathlib import Path; from tests.orchestration.specs import sweep\n"
        "from lth_sweep.orchestration.running import run_sweep\n"
        "result = run_sweep(sweep(4), Path(sys.argv[1]), work='tests.orchestration.simulated:slow',"
        f" serial={how != 'ray'})\n"
        "print(result.ending)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    levels = tmp_path / "stages/levels"
    while process.poll() is None and not (levels.exists() and levels.stat().st_size >= 14):
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL if how == "killed" else signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    if how != "killed":
        assert output == "interrupted\n"
        assert TrialState.RUNNING not in [trial.state for trial in optuna_trials(tmp_path)]
        assert all(trial.ending != "failed" for trial in read(tmp_path / "simulated"))
    started = read(tmp_path / "simulated")
    assert any(trial.ending is None and trial.levels for trial in started)

    result = run_sweep(sweep(4), tmp_path, work=RUN, serial=True)
    assert result.ending == "finished"
    run_sweep(sweep(4), tmp_path / "unbroken", work=RUN, serial=True)
    assert results(tmp_path) == results(tmp_path / "unbroken")
    assert {trial.state for trial in optuna_trials(tmp_path)} == {TrialState.COMPLETE}


def test_a_second_signal_is_not_waited_for_and_the_sweep_goes_on_after_it(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from tests.orchestration.specs import sweep\n"
        "from lth_sweep.commands.run import _exit; from lth_sweep.orchestration.running import run_sweep\n"
        "class Slow:\n"
        "    def sweep_ended(self, ending):\n"
        "        print(ending, flush=True); time.sleep(600)\n"
        "    def level_done(self, proposal, level):\n"
        "        print('level', flush=True)\n"
        "    def __getattr__(self, name):\n"
        "        return lambda *arguments: None\n"
        "run_sweep(sweep(4), Path(sys.argv[1]), work='tests.orchestration.simulated:slow', serial=True,\n"
        "          listeners=[Slow()], at_second_signal=_exit)"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=REPOSITORY, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    assert process.stdout.readline() == "level\n"
    process.send_signal(signal.SIGTERM)
    while (line := process.stdout.readline()) == "level\n":
        pass
    assert line == "interrupted\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "stopped at once; the same command goes on from here\n")
    assert run_sweep(sweep(4), tmp_path, work=RUN, serial=True).ending == "finished"
    run_sweep(sweep(4), tmp_path / "unbroken", work=RUN, serial=True)
    assert results(tmp_path) == results(tmp_path / "unbroken")


def test_progress_prints_a_line_per_trial_where_it_is_piped(tmp_path):
    console = Console(width=80, record=True, force_terminal=False, file=open(os.devnull, "w"))  # noqa: SIM115
    run_sweep(sweep(3), tmp_path, work=RUN, serial=True, listeners=[Progress(console)])
    lines = console.export_text().splitlines()
    assert len(lines) == 3
    trials = read(tmp_path / "simulated")
    for line, trial in zip(lines, trials, strict=True):
        assert line.startswith(f"[{trial.number + 1}/3] trial {trial.number}: ")
        assert f"{trial.steps_trained:,} steps trained" in line


def test_the_view_on_a_terminal_fits_80_columns(tmp_path):
    console = Console(width=80, force_terminal=True, file=open(os.devnull, "w"))  # noqa: SIM115
    progress, widths = Progress(console), []

    class Look(Heard):
        def level_done(self, proposal, level):
            plain = Console(width=200, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
            plain.print(progress._view())
            text = plain.export_text()
            assert f"trial {proposal.number}  level {level[0].level} of 8" in text
            widths.append(max(len(line.rstrip()) for line in text.splitlines()))

    result = run_sweep(sweep(3), tmp_path, work=RUN, serial=True, listeners=[progress, Look()])
    assert 0 < max(widths) <= 80
    assert (progress.trained, progress.reused) == (result.steps_trained, result.steps_reused)
    assert progress.saved == result.steps_saved > 0


def test_trials_that_wait_are_counted_and_not_shown_as_running(tmp_path):
    console = Console(width=80, force_terminal=True, file=open(os.devnull, "w"))  # noqa: SIM115
    progress, views = Progress(console), []

    def lines() -> list[str]:
        plain = Console(width=200, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
        plain.print(progress._view())
        return [line.rstrip() for line in plain.export_text().splitlines() if line.strip()]

    class Look(Heard):
        def trial_waits(self, proposal):
            views.append(lines()[0])

        def trial_ended(self, proposal, ending, outcome, reason="", steps_saved=0):
            super().trial_ended(proposal, ending, outcome, reason, steps_saved)
            views.append(lines()[0])

        def level_done(self, proposal, level):
            assert lines()[0].startswith(f"trial {proposal.number}  level {level[0].level} of 8")

    stop = Stop(patience=None, race=0.02, hopeless=False)
    result = run_sweep(sweep(1, stop=stop), tmp_path, work=RUN, serial=True, listeners=[progress, Look()])
    assert result.best is not None
    found = result.best.outcome.value
    assert views == ["waiting with their other seeds until all trials have been tried: 1",
                     f"1 of 1 trials   smallest that matches: {found:.0f} params ({found / 1000:.1%})"]  # fmt: skip


def test_a_trial_that_goes_on_with_its_other_seeds_does_not_count_what_its_first_has_cost_again(tmp_path):
    spec = sweep(1, stop=Stop(patience=None, race=0.02, hopeless=False))
    assert run_sweep(spec, tmp_path, work=RUN, serial=True, steps=1000).steps_trained == 1000
    console = Console(width=80, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    progress = Progress(console)
    result = run_sweep(spec, tmp_path, work=RUN, serial=True, listeners=[progress])
    assert (progress.trained, progress.reused) == (result.steps_trained, result.steps_reused)
    (trial,) = read(tmp_path / "simulated")
    assert trial.steps_trained == 1000 + result.steps_trained > 1000
    assert f"{trial.steps_trained:,} steps trained, {trial.steps_reused:,} reused" in console.export_text()


def test_the_view_knows_how_many_levels_a_method_has_and_what_ended_before(tmp_path):
    console = Console(width=80, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    progress = Progress(console)
    progress.sweep_started(sweep(4), tmp_path)
    for number, (ending, size) in enumerate([("failed", 100), ("stopped", 300), ("interrupted", 200)]):
        progress.trial_recorded(Proposal(number, {}, TrialConfig()), [], ending, Outcome(size, 0.0, 1))
    progress.trial_started(Proposal(3, {}, TrialConfig(method=OneShot(0.1), levels=12)))
    console.print(progress._view())
    trial, trials, *_ = console.export_text().splitlines()
    assert trial.strip() == "trial 3  level 0 of 1"
    assert trials == "2 of 4 trials   smallest that matches: 300 params"


def test_the_view_of_many_trials_is_no_longer_than_a_terminal(tmp_path):
    console = Console(width=80, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    progress = Progress(console)
    progress.sweep_started(sweep(10_000), tmp_path)
    for number in range(1000):
        progress.trial_started(Proposal(number, {}, TrialConfig(levels=12)))
    progress.trained = progress.reused = progress.saved = 999_999_999
    progress.best, progress.dense = 12_345_678, 123_456_789
    console.print(progress._view())
    lines = console.export_text().splitlines()
    assert len(lines) == 16
    assert lines[11].split() == ["trial", "11", "level", "0", "of", "12"]
    assert lines[12] == "and 988 more trials"
    assert max(map(len, lines)) <= 80
