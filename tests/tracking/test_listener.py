"""On a real SQLite store."""

import csv
import dataclasses
import io
import json
import math
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.data import Digits, load
from lth_sweep.lottery.recipe.trial import Train, TrialConfig, trial_digest
from lth_sweep.lottery.records import CurvePoint, Level
from lth_sweep.lottery.task import Metric
from lth_sweep.search.answer import Answer, Tried
from lth_sweep.search.trial import Outcome
from lth_sweep.sweepfile.spec import Tracking
from lth_sweep.tracking import MlflowListener, note_on_sweep
from lth_sweep.tracking.origin import environment
from lth_sweep.tracking.store import locate
from lth_sweep.tracking.ui import command
from tests.tracking.sweeps import (
    MATCHED,
    NAME,
    NO_MATCH,
    fail,
    found,
    history,
    level,
    logged,
    proposal,
    run_trial,
    spec,
    start,
    store,
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """A sweep of two trials: the first matches at level 1, the second nowhere."""
    runs = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_RUN_ID", "0" * 32)
        patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        patch.setenv("MLFLOW_EXPERIMENT_NAME", "elsewhere")
        listener = start(runs)
        run_trial(listener, 0)
        run_trial(listener, 1, outcome=NO_MATCH)
        listener.answered(found())
        listener.sweep_ended("finished")
    assert listener.missing == []
    return runs, logged(store(runs))


def test_a_parent_with_a_child_per_trial(finished):
    _, runs = finished
    assert set(runs) == {None, "0", "1"}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    parent = runs[None]
    assert [runs[number].data.tags["mlflow.parentRunId"] for number in "01"] == [parent.info.run_id] * 2
    assert [runs[number].info.run_name for number in (None, "0", "1")] == [
        NAME, "000 50.00% rate=0.5 early", "001 no match rate=0.5 early"]  # fmt: skip


def test_the_command_is_kept_without_passwords(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/x/bin/lth-sweep", "run", "my sweep.yaml", "--ray-address", "ray://a:b@host:1"])
    assert environment()["lth.command"] == "lth-sweep run 'my sweep.yaml' --ray-address ray://***@host:1"
    monkeypatch.setattr(sys, "argv", ["/x/lth_sweep/__main__.py", "plan"])
    assert environment()["lth.command"] == "lth_sweep plan"


@pytest.mark.parametrize("uri", ["postgresql://ann:secret@host/mlflow", "postgresql://host/mlflow?password=secret",
                                 "https://ann:secret@host"])  # fmt: skip
def test_a_sweep_file_with_a_password_is_refused_and_one_of_the_environment_is_not_shown(uri, monkeypatch, tmp_path):
    instead = "MLFLOW_TRACKING_USERNAME and _PASSWORD" if uri.startswith("http") else "PGPASSWORD"
    with pytest.raises(ConfigError, match=f"uri: has a password, .* leave it to .*{instead}"):
        Tracking(uri)
    monkeypatch.setenv("LTH_SWEEP_TRACKING_URI", uri)
    place = locate(tmp_path)
    assert place.uri == uri
    assert "secret" not in str(place) + " ".join(command(place, "127.0.0.1", 5000))


def test_a_name_that_somebody_gave_in_the_ui_stays(tmp_path):
    listener = start(tmp_path)
    for number in range(2):
        listener.trial_started(proposal(number))
    listener.sweep_ended("interrupted")
    uri = store(tmp_path)
    mlflow.MlflowClient(uri).update_run(logged(uri)["1"].info.run_id, name="the good one")
    listener = start(tmp_path)
    for number in range(2):
        run_trial(listener, number)
    listener.sweep_ended("finished")
    assert [logged(uri)[number].info.run_name for number in "01"] == ["000 50.00% rate=0.5 early", "the good one"]


def test_the_data_set_is_an_input_of_each_run(finished):
    splits = load(Digits())
    for run in finished[1].values():
        [found] = run.inputs.dataset_inputs
        assert (found.dataset.name, found.dataset.digest) == ("digits", splits.digest[:12])
        assert json.loads(found.dataset.profile) == {"train": 1197, "validation": 300, "classes": 10}
        features = json.loads(json.loads(found.dataset.schema)["mlflow_tensorspec"]["features"])
        assert features[0]["tensor-spec"] == {"dtype": "float32", "shape": [-1, 1, 8, 8]}
        assert json.loads(found.dataset.source) == {"kind": "digits", "split_seed": 0}


def test_the_system_metrics_are_on_the_sweeps_own_run(tmp_path, monkeypatch):
    monkeypatch.setattr("lth_sweep.tracking.machine.SECONDS", 0.05)
    listener = MlflowListener(fail)
    listener.sweep_started(spec(tracking=Tracking(system_metrics=True)), tmp_path / NAME)
    for _ in range(600):
        if _last_sample(listener) >= 2:
            break
        time.sleep(0.05)
    run_trial(listener)
    listener.sweep_ended("finished")
    assert listener.missing == []
    runs = logged(store(tmp_path))
    assert runs[None].info.status == "FINISHED"
    found = {key: value for key, value in runs[None].data.metrics.items() if key.startswith("system/")}
    assert 0 < found["system/system_memory_usage_percentage"] < 100
    assert {"system/cpu_utilization_percentage", "system/disk_usage_percentage"} <= set(found)
    steps = [step for step, _ in history(store(tmp_path), runs[None], "system/cpu_utilization_percentage")]
    assert len(steps) >= 2
    assert steps == sorted(set(steps))
    assert not any(key.startswith("system/") for key in runs["0"].data.metrics)


def _last_sample(listener: MlflowListener) -> int:
    """In seconds since the sweep began."""
    parent = (listener._runs._runs or {}).get(None)
    return parent.steps.get("system/cpu_utilization_percentage", 0) if parent else 0


def test_system_metrics_need_a_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "psutil", None)
    with pytest.raises(ConfigError, match=r"lth-sweep\[system\]"):
        MlflowListener(fail).sweep_started(spec(tracking=Tracking(system_metrics=True)), tmp_path / NAME)


def test_params_are_the_recipe_and_the_labels(finished):
    expected = {
        "data.kind": "digits",
        "model.kind": "mlp", "model.hidden": "[300, 100]",
        "train.length": "600 steps", "train.batch": "60", "train.precision": "float32", "train.evaluate": "200 steps",
        "train.optimizer.kind": "adam", "train.optimizer.lr": "0.0012",
        "train.optimizer.beta1": "0.9", "train.optimizer.beta2": "0.999",
        "train.optimizer.eps": "1e-08", "train.optimizer.weight_decay": "0",
        "train.schedule.kind": "constant", "train.schedule.warmup": "0 steps", "train.augment.kind": "none",
        "init.kind": "default", "criterion.kind": "magnitude", "granularity.kind": "weight", "scope": "layer",
        "rate": "0.5", "layer_rates.output": "0.5", "rewind": "early", "rewind.kind": "step", "rewind.at": "50 steps",
        "levels": "12", "seeds": "2",
    }  # fmt: skip
    params = finished[1]["0"].data.params
    assert {path: params.get(path) for path in expected} == expected
    fields = {field.name for field in dataclasses.fields(TrialConfig)}
    assert {path.partition(".")[0] for path in params} == fields


def test_metrics_by_level_and_curves_by_step(finished):
    runs_folder, runs = finished
    child = runs["0"]

    def points(key: str) -> list[tuple[int, float]]:
        return history(store(runs_folder), child, key)

    assert points("level/accuracy") == [(0, pytest.approx(0.85)), (1, pytest.approx(0.85))]
    assert points("level/seeds/accuracy-seed-0") == [(0, 0.9), (1, 0.9)]
    assert points("level/seeds/accuracy-seed-1") == [(0, 0.8), (1, 0.8)]
    assert points("level/seeds/difference-seed-1") == [(0, 0), (1, 0)]
    assert points("level/seeds/loss-seed-1") == [(0, pytest.approx(0.2)), (1, pytest.approx(0.2))]
    assert points("level/accuracy_sd") == [(i, pytest.approx(0.1 / math.sqrt(2))) for i in (0, 1)]
    assert points("level/difference") == [(0, 0), (1, 0)]
    assert points("level/density") == [(0, 1), (1, 0.5)]
    assert points("level/params") == [(0, 1000), (1, 500)]
    assert points("level/flops") == [(0, 2000), (1, 1000)]
    assert points("level/bytes") == [(0, 4000), (1, 2000)]
    assert points("level/steps_trained") == [(0, 200), (1, 200)]
    assert points("level/steps_reused") == [(0, 20), (1, 20)]
    assert points("level/seconds") == [(0, 3), (1, 3)]
    assert points("training/train_loss/level-01") == [(10, 0.5), (20, 0.25)]
    assert points("training/accuracy/level-01") == [(10, pytest.approx(0.85)), (20, pytest.approx(0.85))]
    assert points("training/loss/level-01") == [(10, pytest.approx(0.15)), (20, pytest.approx(0.15))]
    assert points("training/accuracy/seeds/level-01-seed-1") == [(10, 0.8), (20, 0.8)]


def test_charts_fall_into_few_sections(finished):
    """The UI makes one of all metrics that agree up to the last slash, and gives those without one a section."""
    sections = Counter(key.rpartition("/")[0] for key in finished[1]["0"].data.metrics)
    assert sections.keys() == {"level", "level/seeds", "training/accuracy", "training/accuracy/seeds", "training/loss",
                               "training/train_loss", "smallest", ""}  # fmt: skip
    assert (sections["level/seeds"], sections["training/accuracy"], sections["training/accuracy/seeds"]) == (6, 2, 4)


def test_a_single_seed_is_its_own_mean(tmp_path):
    listener = start(tmp_path)
    trial = proposal(recipe=replace(proposal().recipe, seeds=1))
    listener.trial_started(trial)
    listener.level_done(trial, level(0, (0.9,)))
    listener.trial_ended(trial, "finished", NO_MATCH)
    listener.sweep_ended("finished")
    run = logged(store(tmp_path))["0"]
    assert history(store(tmp_path), run, "training/accuracy/level-00") == [(10, 0.9), (20, 0.9)]
    assert not [key for key in run.data.metrics if "seed" in key]


def test_the_end_of_a_trial(finished):
    data = finished[1]["0"].data
    assert {key: value for key, value in data.metrics.items() if not key.startswith(("level", "training"))} == {
        "smallest/params": 500, "smallest/density": 0.5, "smallest/flops": 1000, "smallest/bytes": 2000,
        "smallest/accuracy": pytest.approx(0.85), "smallest/difference": 0, "smallest/level": 1,
        "steps_trained": 400, "steps_reused": 40, "steps_saved": 0, "seconds": 6,
    }  # fmt: skip
    tags = data.tags
    assert tags["lth.command"] == environment()["lth.command"]
    assert (tags["lth.ending"], tags["lth.matched"]) == ("finished", "yes")
    assert tags["lth.recipe"] == trial_digest(proposal().recipe)
    assert "lth.diverged" not in tags
    assert tags["version.mlflow"] == mlflow.__version__
    assert {"version.torch", "version.ray", "version.optuna", "version.lth_sweep", "version.python"} <= set(tags)
    other = finished[1]["1"].data
    assert other.tags["lth.matched"] == "no"
    assert not any(key.startswith("smallest") for key in other.metrics)


def test_the_parent_says_what_was_found(finished):
    runs_folder, runs = finished
    parent = runs[None]
    assert parent.data.metrics == {
        "trials": 2,
        "trials_finished": 2,
        "trials_stopped": 0,
        "trials_failed": 0,
        "trials_interrupted": 0,
        "trials_matching": 1,
        "steps_trained": 800,
        "steps_reused": 80,
        "steps_saved": 0,
        "seconds": 12,
    }
    assert parent.data.tags["best"] == "000 50.00% rate=0.5 early: 500 params, accuracy 0.8500"
    assert parent.data.tags["best.trial"] == "0"
    assert parent.data.tags["best.level"] == "1"
    note = parent.data.tags["mlflow.note.content"]
    assert note.startswith("Smallest matching network: 000 50.00% rate=0.5 early: 500 params")
    assert "```yaml\nname: digits\n" in note
    assert parent.data.tags["best.rewind"] == "early"
    assert parent.data.params["space.rate"] == "0.2 to 0.6"
    assert parent.data.params["space.rewind"] == "init | early"
    assert parent.data.params["match.margin"] == "0.01"
    read = mlflow.artifacts.load_text
    assert parent.info.artifact_uri.startswith(f"file://{runs_folder}/mlartifacts/")
    assert read(f"{parent.info.artifact_uri}/sweep.yaml") == "name: digits\n"
    rows = list(csv.DictReader(io.StringIO(read(f"{parent.info.artifact_uri}/levels.csv"))))
    assert [(row["trial"], row["level"], row["seed"]) for row in rows] == [
        (str(trial), str(number), str(seed)) for trial in (0, 1) for number in (0, 1) for seed in (0, 1)]  # fmt: skip
    columns = ("density", "accuracy", "params", "steps_trained")
    assert [rows[3][name] for name in columns] == ["0.5", "0.8", "500", "100"]


def test_nothing_matched(tmp_path):
    listener = start(tmp_path)
    run_trial(listener, outcome=NO_MATCH)
    listener.answered(None)
    listener.sweep_ended("finished")
    parent = logged(store(tmp_path))[None]
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["best"] == "none: no trial found a network within 0.01 of the dense one's accuracy"
    assert parent.data.metrics["trials_matching"] == 0


def test_statuses_are_truthful(tmp_path):
    listener = start(tmp_path)
    for number, ending in enumerate(("stopped", "failed", "interrupted")):
        listener.trial_started(proposal(number))
        listener.trial_ended(proposal(number), ending, NO_MATCH, f"because of {number}")
    listener.sweep_ended("interrupted")
    runs = logged(store(tmp_path))
    assert [runs[number].info.status for number in ("0", "1", "2", None)] == ["FINISHED", "FAILED", "KILLED", "KILLED"]
    assert [runs[number].data.tags["lth.reason"] for number in "012"] == [f"because of {i}" for i in range(3)]
    assert runs[None].data.metrics["trials_failed"] == 1


def test_a_trial_that_matched_and_then_failed_counts_as_failed_alone(tmp_path):
    listener = start(tmp_path)
    listener.trial_recorded(proposal(), [level(0), level(1)], "failed", MATCHED, "out of memory")
    listener.sweep_ended("finished")
    runs = logged(store(tmp_path))
    assert runs["0"].data.tags["lth.matched"] == "no"
    assert not any(key.startswith("smallest") for key in runs["0"].data.metrics)
    assert [runs[None].data.metrics[f"trials_{kind}"] for kind in ("failed", "matching")] == [1, 0]


def test_what_a_first_seed_has_found_alone_is_not_kept_where_all_seeds_find_nothing(tmp_path):
    """It is interrupted while it waits, and goes on."""
    listener = start(tmp_path)
    listener.trial_started(proposal())
    for number in range(2):
        listener.level_done(proposal(), level(number).of([0]))
    listener.trial_waits(proposal())
    listener.trial_ended(proposal(), "interrupted", MATCHED)
    listener.sweep_ended("interrupted")
    listener = start(tmp_path)
    listener.trial_recorded(proposal(), [level(0).of([0]), level(1).of([0])], "interrupted", MATCHED)
    listener.trial_started(proposal())
    for number in range(2):
        listener.level_done(proposal(), level(number))
    listener.trial_ended(proposal(), "stopped", NO_MATCH)
    listener.sweep_ended("finished")
    run = logged(store(tmp_path))["0"]
    assert run.data.tags["lth.matched"] == "no"
    assert not any(key.startswith("smallest") for key in run.data.metrics)


def test_the_word_on_a_trial_that_was_interrupted_does_not_end_it_as_finished(tmp_path):
    """Its first seed has found a network, which was verified while the trial waited with its other seeds."""
    listener = start(tmp_path)
    listener.trial_started(proposal())
    for number in range(2):
        listener.level_done(proposal(), level(number).of([0]))
    listener.trial_ended(proposal(), "interrupted", MATCHED)
    listener.answered(found(Tried(0, 1, "matches")))
    listener.sweep_ended("finished")
    run = logged(store(tmp_path))["0"]
    assert run.info.status == "KILLED"
    assert {key: word for key, word in run.data.tags.items() if key.startswith("verdict")} == {
        "verdict.level-01": "matches"
    }


@pytest.mark.parametrize("ended", [True, False])
def test_a_note_on_a_sweep_leaves_its_status(tmp_path, ended):
    if ended:
        start(tmp_path).sweep_ended("interrupted")
    note_on_sweep(spec(), tmp_path / NAME, "finished" if ended else "interrupted", tags={"rescue.best": "none"},
                  metrics={}, files={}, say=fail)  # fmt: skip
    parent = logged(store(tmp_path))[None]
    assert (parent.info.status, parent.data.tags["rescue.best"]) == ("KILLED", "none")


def test_a_killed_sweep_is_continued_in_the_same_runs(tmp_path):
    """The first process dies without a word while trials 0 and 1 run; the second one goes on with trial 0 only."""
    killed = start(tmp_path)
    for number in (0, 1):
        killed.trial_started(proposal(number))
        killed.level_done(proposal(number), level(0))
    killed._sender.close(60)
    before = logged(store(tmp_path))
    assert {run.info.status for run in before.values()} == {"RUNNING"}

    listener = start(tmp_path)
    listener.trial_recorded(proposal(0), [level(0)], "interrupted", NO_MATCH)
    listener.trial_started(proposal(0))
    listener.level_done(proposal(0), level(0, trained=0))  # told again: found in the store
    listener.level_done(proposal(0), level(1))
    listener.trial_ended(proposal(0), "finished", MATCHED)
    listener.sweep_ended("finished")
    after = logged(store(tmp_path))
    assert {number: run.info.run_id for number, run in after.items()} == {
        number: run.info.run_id for number, run in before.items()}  # fmt: skip
    assert [after[number].info.status for number in ("0", "1", None)] == ["FINISHED", "KILLED", "FINISHED"]
    assert after["1"].data.tags["lth.ending"] == "interrupted"
    assert after["0"].data.tags["lth.ending"] == "finished"
    uri = store(tmp_path)
    assert history(uri, after["0"], "level/density") == [(0, 1), (1, 0.5)]
    assert history(uri, after["0"], "level/steps_trained") == [(0, 200), (1, 200)]
    assert history(uri, after["0"], "training/loss/level-00") == [(step, pytest.approx(0.15)) for step in (10, 20)]
    assert after["0"].data.metrics["steps_trained"] == 400


def test_what_is_on_record_and_not_in_mlflow_is_sent(tmp_path):
    """The first process logs one level of trial 0 and dies; the records have trial 0 whole and half of trial 1."""
    killed = start(tmp_path)
    killed.trial_started(proposal(0))
    killed.level_done(proposal(0), level(0))
    killed._sender.close(60)

    uri = store(tmp_path)
    for _ in range(2):  # the second time, there is nothing to add
        listener = start(tmp_path)
        listener.trial_recorded(proposal(0), [level(0), level(1)], "stopped", MATCHED, "below the margin", 700)
        listener.trial_recorded(proposal(1), [level(0)], "interrupted", NO_MATCH)
        listener.sweep_ended("interrupted")
        runs = logged(uri)
        assert [runs[number].info.status for number in ("0", "1", None)] == ["FINISHED", "KILLED", "KILLED"]
        assert runs["0"].data.tags["lth.reason"] == "below the margin"
        assert history(uri, runs["0"], "level/density") == [(0, 1), (1, 0.5)]
        assert history(uri, runs["0"], "smallest/params") == [(0, 500)]
        assert history(uri, runs["0"], "training/loss/level-01") == [(step, pytest.approx(0.15)) for step in (10, 20)]
    ended = runs["0"].info.end_time

    listener = start(tmp_path)
    listener.trial_recorded(proposal(0), [level(0), level(1)], "stopped", MATCHED, "below the margin", 700)
    listener.trial_recorded(proposal(1), [level(0)], "interrupted", NO_MATCH)
    listener.trial_started(proposal(1))
    listener.level_done(proposal(1), level(1, (0.95, 0.8)))
    listener.trial_ended(proposal(1), "stopped", MATCHED, steps_saved=50)
    listener.sweep_ended("finished")
    runs = logged(uri)
    assert [runs[number].info.status for number in ("0", "1", None)] == ["FINISHED"] * 3
    assert [runs[number].data.metrics["steps_saved"] for number in ("0", "1", None)] == [700, 50, 750]
    assert runs["0"].info.end_time == ended
    assert history(uri, runs["1"], "level/difference") == [(0, 0), (1, pytest.approx(0.025))]
    assert runs["1"].data.metrics["steps_trained"] == 400
    assert runs[None].data.metrics["steps_trained"] == 800
    assert mlflow.artifacts.load_text(f"{runs[None].info.artifact_uri}/levels.csv").count("\n") == 1 + 8


def test_what_is_attached_lies_beside_the_sweep(tmp_path):
    def attach(spec, folder):
        return {"report.html": f"<p>{spec.name} in {folder.name}", "figures/a.svg": "<svg/>"}

    for ending in ("interrupted", "finished"):
        start(tmp_path, attach=attach).sweep_ended(ending)
        place = logged(store(tmp_path))[None].info.artifact_uri.removeprefix("file://")
        assert Path(place, "report.html").exists() == (ending == "finished")
    assert Path(place, "report.html").read_text() == f"<p>{NAME} in {NAME}"
    assert Path(place, "figures/a.svg").read_text() == "<svg/>"


def test_a_sweep_ends_well_where_nothing_can_be_attached(tmp_path):
    def attach(spec, folder):
        raise OSError("no space left")

    said: list[str] = []
    start(tmp_path, said=said, attach=attach).sweep_ended("finished")
    assert said == ["MLflow gets no report of this sweep: OSError: no space left"]
    assert logged(store(tmp_path))[None].info.status == "FINISHED"


def test_a_level_of_which_only_a_part_had_arrived(tmp_path):
    listener = start(tmp_path)
    listener.trial_started(proposal())
    listener._sender.close(60)
    uri = store(tmp_path)
    run = logged(uri)["0"]
    mlflow.MlflowClient(uri).log_metric(run.info.run_id, "training/train_loss/level-00", 0.5, timestamp=1, step=10)
    listener = start(tmp_path)
    run_trial(listener, levels=1)
    listener.sweep_ended("finished")
    assert history(uri, run, "training/train_loss/level-00") == [(10, 0.5), (20, 0.25)]
    assert history(uri, run, "level/density") == [(0, 1)]


def test_an_extended_sweep_keeps_its_params_and_tags_the_change(tmp_path):
    for trials in (2, 50):
        listener = MlflowListener(fail)
        sweep = spec()
        listener.sweep_started(replace(sweep, search=replace(sweep.search, trials=trials)), tmp_path / NAME)
        run_trial(listener, trials)
        listener.sweep_ended("finished")
    parent = logged(store(tmp_path))[None]
    assert parent.data.params["search.trials"] == "2"
    assert parent.data.tags["changed.search.trials"] == "50"
    assert parent.data.metrics["trials"] == 2


def test_two_sweeps_of_one_name_on_one_store_stay_apart(tmp_path):
    uri = store(tmp_path)
    for owner in ("ann", "bob"):
        listener = start(tmp_path / owner, uri)
        run_trial(listener)
        listener.sweep_ended("finished")
    client = mlflow.MlflowClient(uri)
    runs = client.search_runs([client.get_experiment_by_name(NAME).experiment_id])
    assert len(runs) == 4
    assert len({run.data.tags["lth.sweep_id"] for run in runs}) == 2


def test_divergence_is_nan_and_a_tag(tmp_path):
    listener = start(tmp_path)
    listener.trial_started(proposal())
    listener.level_done(proposal(), level(0))
    bad = level(1)
    bad = Level([bad[0], replace(bad[1], metrics={**bad[1].metrics, "accuracy": math.nan, "train_loss": math.inf})])
    listener.level_done(proposal(), bad)
    listener.trial_ended(proposal(), "stopped", Outcome(None, None, None))
    listener.sweep_ended("finished")
    uri = store(tmp_path)
    run = logged(uri)["0"]
    assert run.data.tags["lth.diverged"] == "level 1, seed 1"
    assert history(uri, run, "level/seeds/accuracy-seed-0") == [(0, 0.9), (1, 0.9)]
    for name in ("accuracy", "accuracy_sd", "difference", "train_loss", "seeds/accuracy-seed-1"):
        step, value = history(uri, run, f"level/{name}")[1]
        assert step == 1
        assert math.isnan(value), name
    assert history(uri, run, "level/density") == [(0, 1), (1, 0.5)]


def test_the_limits_of_mlflow(tmp_path):
    """300 params, names and values that MLflow does not take as they are, 3 x 5,000 curve points of each replica."""
    rates = {f"layer{i}.*": 0.5 for i in range(270)} | {"x" * 300: 0.5}
    recipe = TrialConfig(layer_rates=rates, train=Train(), seeds=tuple(range(3000)))
    trial = proposal(recipe=recipe)
    listener = start(tmp_path)
    listener.trial_started(trial)
    listener.level_done(trial, level(0, curve=5000))
    listener.trial_ended(trial, "finished", Outcome(1000, 0.0, 0), "r" * 9000)
    listener.sweep_ended("finished")
    assert listener.missing == []
    uri = store(tmp_path)
    run = logged(uri)["0"]
    assert len(run.data.params) > 290
    assert run.data.params["layer_rates.layer7._"] == "0.5"
    assert run.data.params[("layer_rates." + "x" * 300)[:250]] == "0.5"
    assert len(run.data.params["seeds"]) == 6000
    assert run.data.params["seeds"].endswith("... (16890 characters)")
    assert run.data.tags["lth.reason"].endswith("... (9000 characters)")
    assert [step for step, _ in history(uri, run, "training/accuracy/seeds/level-00-seed-1")] == [
        10 * i for i in range(1, 5001)
    ]
    assert history(uri, run, "level/density") == [(0, 1)]


def test_quiet(tmp_path, capfd):
    listener = start(tmp_path)
    run_trial(listener)
    listener.sweep_ended("finished")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("uri", "message"), [
    ("./mlruns", "is a folder"),
    ("file:///data/mlruns", "is a folder"),
    ("htp://host:5000", "did you mean 'http'?"),
])  # fmt: skip
def test_a_uri_that_cannot_be_used(tmp_path, uri, message):
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")) as raised:
        start(tmp_path, uri)
    assert raised.value.path == "tracking.uri"
    assert list(tmp_path.iterdir()) == []


def test_means_wait_for_all_seeds_or_for_the_end(tmp_path):
    """A race: seed 0 alone through levels 0 to 2, then both through 0 and 1. The mean of level 2 is of one seed."""
    listener = start(tmp_path)
    listener.trial_started(proposal(0))
    for number in (0, 1, 2):
        listener.level_done(proposal(0), level(number).of([0]))
    for number in (0, 1):
        listener.level_done(proposal(0), level(number))
    listener.trial_ended(proposal(0), "stopped", MATCHED)
    listener.sweep_ended("finished")
    run = logged(store(tmp_path))["0"]
    assert [step for step, _ in history(store(tmp_path), run, "level/accuracy")] == [0, 1, 2]
    assert [step for step, _ in history(store(tmp_path), run, "level/accuracy_sd")] == [0, 1]
    assert [step for step, _ in history(store(tmp_path), run, "level/seeds/accuracy-seed-0")] == [0, 1, 2]
    assert [step for step, _ in history(store(tmp_path), run, "level/seeds/accuracy-seed-1")] == [0, 1]
    assert history(store(tmp_path), run, "training/accuracy/level-01") == [
        (step, pytest.approx(0.85)) for step in (10, 20)
    ]
    assert history(store(tmp_path), run, "training/accuracy/level-02") == [(10, 0.9), (20, 0.9)]
    costs = [sum(record.steps_trained for record in found) for found in (level(0), level(1), level(2)[:1])]
    assert [value for _, value in history(store(tmp_path), run, "level/steps_trained")] == costs


def test_a_metric_that_is_better_where_it_is_lower(tmp_path):
    """And is no percentage: its name is in the keys and words, and no other metric's."""
    objective = replace(spec().objective, metric=Metric("mse", higher_is_better=False, format="number"))
    sweep = replace(spec(), objective=objective)

    def measured(number: int, *values: float) -> Level:
        renamed = [{"mse": value, "loss": value} for value in values]
        return Level(replace(record, metrics=metrics, curve=(CurvePoint(10, 0.5, metrics),))
                     for record, metrics in zip(level(number), renamed, strict=True))  # fmt: skip

    levels, uri = [measured(0, 0.02, 0.0004), measured(1, 0.01, 0.0002)], store(tmp_path)
    listener = MlflowListener(fail)
    listener.sweep_started(sweep, tmp_path / NAME)
    listener.trial_recorded(proposal(), levels, "finished", MATCHED)
    listener.answered(Answer.of(0, proposal().picks, levels, MATCHED, objective))
    listener.sweep_ended("finished")
    runs = logged(uri)
    assert not [key for key in runs["0"].data.metrics if "accuracy" in key]
    assert history(uri, runs["0"], "level/mse") == [(0, pytest.approx(0.0102)), (1, pytest.approx(0.0051))]
    assert history(uri, runs["0"], "level/seeds/difference-seed-0") == [(0, 0), (1, pytest.approx(-0.01))]
    assert history(uri, runs["0"], "training/mse/level-01") == [(10, pytest.approx(0.0051))]
    assert {"level/mse_sd", "training/mse/seeds/level-01-seed-1", "smallest/mse"} <= runs["0"].data.metrics.keys()
    assert runs[None].data.tags["best"] == "000 50.00% rate=0.5 early: 500 params, mse 0.0051"
    assert runs[None].data.params["match.metric"] == "mse"
