"""Verification of real small sweeps, in this process."""

import json
import math
import os
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from rich.console import Console

from lth_sweep.cli import main
from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.experiments.verification import Pair
from lth_sweep.lottery.loop import run
from lth_sweep.lottery.recipe.trial import Runtime
from lth_sweep.lottery.records import Level
from lth_sweep.lottery.runs.stages import Store
from lth_sweep.orchestration import deadline, verification
from lth_sweep.orchestration.driver import Driver
from lth_sweep.orchestration.evidence import answer, candidates, is_verified, load, save
from lth_sweep.orchestration.executor import InProcess
from lth_sweep.orchestration.progress import Progress
from lth_sweep.orchestration.records import read
from lth_sweep.orchestration.running import SweepResult, run_sweep
from lth_sweep.orchestration.verification import verify
from lth_sweep.orchestration.work import Work
from lth_sweep.reporting.answer import describe
from lth_sweep.results import Sweep
from lth_sweep.search.answer import Answer
from lth_sweep.search.objective import judge
from lth_sweep.search.trial import TrialRecord
from lth_sweep.sweepfile.load import load_spec
from lth_sweep.sweepfile.objective import Match
from lth_sweep.sweepfile.spec import SweepSpec
from lth_sweep.tracking import locate

SWEEP = """\
name: tiny
trial:
  data: digits
  model: {kind: mlp, hidden: [24, 16]}
  train: {length: 60 steps, optimizer: {kind: adam, lr: 0.005}}
  levels: 3
  seeds: 2
space:
  rate: {choice: [0.3, 0.4, 0.5]}
objective: {minimize: params, match: {margin: 0.05}}
search: {sampler: grid, trials: 3}
stop: {race: null, hopeless: false}
verify: {top: 2, seeds: 2}
"""

DATA = """\
from pathlib import Path
from sklearn.datasets import load_digits
from lth_sweep.lottery.data.base import permutation

X, Y = load_digits(return_X_y=True)
TEST = set(permutation(600, 0)[:60].tolist())

class Guarded:
    '''Test items cannot be read before all trials have ended, and each time is noted.'''
    classes = 10
    def __init__(self, runs: str):
        self.folder = Path(runs)
    def __len__(self):
        return 600
    def __getitem__(self, i):
        if i in TEST:
            trials = [path.read_text() for path in (self.folder / "tiny" / "records").glob("*.jsonl")]
            if len(trials) < 3 or not all('"ending"' in trial for trial in trials):
                raise RuntimeError("the test split was read during the search")
            with (self.folder / "reads").open("a") as file:
                file.write(f"{i}\\n")
        return X[i].astype("float32") / 16, int(Y[i])
"""


def sweep(folder: Path, text: str = SWEEP) -> SweepSpec:
    (folder / "tiny.yaml").write_text(text)
    return load_spec(folder / "tiny.yaml")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[SweepSpec, Path]:
    folder = tmp_path_factory.mktemp("verification")
    spec = sweep(folder)
    assert run_sweep(spec, folder / "runs", serial=True).ending == "finished"
    return spec, folder / "runs" / "tiny"


def stages(folder: Path) -> set[Path]:
    return set((folder.parent / "stages").rglob("stage.json"))


def test_the_answer_is_about_seeds_and_examples_that_the_search_has_not_seen(done: tuple[SweepSpec, Path]) -> None:
    spec, folder = done
    found = answer(spec, folder)
    assert found is not None
    assert found.verification is not None
    assert found.verification.seeds == (2, 3)
    assert found.verification.examples == 300
    assert found.verification.verdict.margin == 0.05
    assert found.verification.verdict.candidates == 2
    assert set(found.verification.controls) == {"reinit", "shuffle"}
    assert found.verification.tried[-1].trial == found.trial or found.verification.verdict.word != "matches"
    assert json.loads(json.dumps(found.to_json()))["verification"]["verdict"]["sentence"]


def test_the_pairs_are_what_running_the_recipe_on_the_fresh_seeds_gives(done: tuple[SweepSpec, Path]) -> None:
    """Worked out apart from it: the ladder once more, and the test accuracies of its stored networks."""
    from lth_sweep.lottery.ticket.ticket import Ticket

    spec, folder = done
    first = candidates(spec, read(folder))[0]
    store = Store(folder.parent / "stages")
    before = stages(folder)
    trial = replace(first.recipe, seeds=(2,))
    levels = list(run(trial, store, Runtime()))
    assert sum(records[0].steps_trained for records in levels[: first.level + 1]) == 0
    test = trial.data.load().test()
    right = [Ticket.load(trial, levels[at][0], store).module(test.x).argmax(1) == test.y for at in (0, first.level)]
    pair = load(folder)[first.key].tested.pairs[0]
    assert (pair.seed, pair.examples) == (2, 300)
    assert (pair.reference, pair.value) == pytest.approx([float(some.float().mean()) for some in right])
    gained, lost = int((right[1] & ~right[0]).sum()), int((right[0] & ~right[1]).sum())
    assert pair == Pair.of_shares(2, 300, pair.reference, pair.value, gained, lost)
    assert before <= stages(folder)


def test_a_verified_sweep_is_left_as_it_is(done: tuple[SweepSpec, Path]) -> None:
    spec, folder = done
    before, known = stages(folder), (folder / "verification.json").read_bytes()
    assert run_sweep(spec, folder.parent, serial=True).steps_trained == 0
    assert (folder / "verification.json").read_bytes() == known
    assert stages(folder) == before


def test_a_ticket_of_a_longer_ladder_is_not_tested_again(done: tuple[SweepSpec, Path]) -> None:
    """More levels leave it as it is, and its evidence with it; but not where masks are drawn early, as then the last
    level alone is trained to its end."""
    spec, folder = done

    def keys(**fields: object) -> list[str]:
        return [one.key for one in candidates(replace(spec, base={**spec.base, **fields}), read(folder))]

    assert keys(levels=5) == keys(levels=9) == keys()
    assert not set(keys(levels=5, mask_at="20 steps")) & set(keys(levels=9, mask_at="20 steps"))
    assert not set(keys(rewind={"kind": "step", "at": "5 steps"})) & set(keys())
    longer = replace(spec, base={**spec.base, "levels": 5})
    assert is_verified(longer, folder)
    assert answer(longer, folder) == answer(spec, folder)


def test_a_lost_file_is_found_out_again_from_the_stages(done: tuple[SweepSpec, Path]) -> None:
    spec, folder = done
    before, known = stages(folder), load(folder)
    (folder / "verification.json").write_text("{torn")
    assert not is_verified(spec, folder)
    run_sweep(spec, folder.parent, serial=True)
    assert load(folder) == known
    assert stages(folder) == before


def test_the_test_split_is_read_once_a_candidate_and_never_before_the_end(tmp_path: Path) -> None:
    (tmp_path / "guarded_digits.py").write_text(DATA)
    runs = tmp_path / "runs"
    text = SWEEP.replace("data: digits", f'data: {{kind: "guarded_digits:Guarded", runs: {runs}}}')
    spec = sweep(tmp_path, text)
    assert run_sweep(spec, runs, serial=True).ending == "finished"
    assert {trial.ending for trial in read(runs / "tiny")} <= {"finished", "stopped"}
    tested = load(runs / "tiny")
    reads = (runs / "reads").read_text().split()
    assert 1 <= len(tested) <= 2
    assert len(reads) == 60 * len(tested)
    assert len(set(reads)) == 60


def test_an_interrupted_verification_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = sweep(tmp_path)
    folder = tmp_path / "runs" / "tiny"

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(verification, "test", interrupt)
        assert run_sweep(spec, tmp_path / "runs", serial=True).ending == "interrupted"
    assert all(trial.ending for trial in read(folder))
    found = answer(spec, folder)
    assert found is not None
    assert found.verification is None
    trained = stages(folder)
    heard: list[Answer | None] = []

    class Ears:
        def answered(self, answer: Answer | None) -> None:
            heard.append(answer)

        def __getattr__(self, name: str):  # the calls that are of no interest here
            return lambda *arguments, **options: None

    assert run_sweep(spec, tmp_path / "runs", serial=True, listeners=[Ears()]).ending == "finished"  # type: ignore[list-item]
    first = candidates(spec, read(folder))[0]
    fresh = set(stages(folder) - trained)
    assert heard == [answer(spec, folder)]
    assert first.key in load(folder)
    assert not fresh or len(load(folder)) == 2  # only a second candidate had anything left to train


def test_progress_is_shown_while_candidates_are_verified(done: tuple[SweepSpec, Path]) -> None:
    """Two fresh seeds of a ticket and of two controls: six networks, here from their stages."""
    spec, folder = done
    tried = [one for one in candidates(spec, read(folder)) if one.key in load(folder)]
    (folder / "verification.json").unlink()
    console = Console(width=80, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    progress, views = Progress(console), []

    class Look:
        def verifying(self, trial: int, level: int, done: int, networks: int) -> None:
            plain = Console(width=200, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
            plain.print(progress._view())
            views.append(plain.export_text().splitlines()[-2:])

    progress.sweep_started(spec, folder)
    verify(Work(spec, folder.parent / "stages"), folder, InProcess(), [progress, Look()])  # type: ignore[list-item]
    names = [f"verifying trial {one.trial.number}, level {one.level}" for one in tried]
    assert console.export_text().splitlines() == [f"{name}: 6 networks on fresh seeds" for name in names]
    assert [view[0].rstrip() for view in views] == [
        f"{name}: {trained} of 6 networks trained" for name in names for trained in range(7)
    ]
    assert not [view for view in views if "left" in view[1]]


def test_a_candidate_that_fails_does_not_lose_the_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = sweep(tmp_path)

    def fail(*arguments: object) -> None:
        raise RuntimeError("the disk is full")

    said: list[str] = []
    monkeypatch.setattr(verification, "control", fail)
    result = run_sweep(spec, tmp_path / "runs", serial=True, say=said.append)
    assert result.ending == "finished"
    assert not is_verified(spec, result.folder)
    tried = candidates(spec, read(result.folder))
    logs = [result.folder / "logs" / f"{one.trial.number:03d}.txt" for one in tried]
    assert [log.read_text().count("RuntimeError: the disk is full") for log in logs] == [2] * len(tried)
    assert said == [
        f"trial {one.trial.number}, level {one.level} could not be verified: RuntimeError: the disk is full; more in "
        f"{log}; the same command tries it again" for one, log in zip(tried, logs, strict=True)
    ]  # fmt: skip


def test_stages_that_go_during_the_verification_are_trained_again(
    done: tuple[SweepSpec, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`cache gc --gone` comes between a candidate and its controls: no record names those stages."""
    from lth_sweep.orchestration import housekeeping as cache

    spec, finished = done
    result = run_sweep(replace(spec, verify=replace(spec.verify, top=0)), tmp_path, serial=True)
    removed: list[tuple[int, int]] = []

    def control(*arguments: Any, control: Callable[..., Any] = verification.control) -> Any:
        if not removed:
            removed.append(cache.remove(tmp_path, cache.superfluous(cache.runs_in(tmp_path), gone=True)))
        return control(*arguments)

    said: list[str] = []
    monkeypatch.setattr(verification, "control", control)
    assert run_sweep(spec, tmp_path, serial=True, say=said.append).ending == "finished"
    assert removed[0][0] >= 2 * 2  # the dense run and the ticket's, of both seeds
    assert [text for text in said if "verified" in text] == []
    assert load(result.folder) == load(finished)
    assert "run the sweep again, which trains it" in next((result.folder / "logs").iterdir()).read_text()


def test_hours_that_are_over_leave_the_verification_for_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """During the search, when a candidate is there already, and during the verification, after a network."""
    spec, folder = sweep(tmp_path), tmp_path / "runs" / "tiny"

    class Late:
        """The hours are over once so many levels of the search, or networks after it, are done."""

        def __init__(self, levels: int, networks: int) -> None:
            self.levels, self.networks = levels, networks
            self.heard: list[int] = []
            self.over = False

        def level_done(self, *arguments: object) -> None:
            self.levels -= 1
            self.over = self.levels == 0

        def verifying(self, trial: int, level: int, done: int, networks: int) -> None:
            self.heard.append(done)
            self.over = done == self.networks

        def __getattr__(self, name: str) -> Any:
            return lambda *arguments, **options: None

    def run(listener: Late) -> SweepResult:
        monkeypatch.setattr(Driver, "is_over_time", property(lambda driver: listener.over))
        return run_sweep(spec, tmp_path / "runs", serial=True, listeners=[listener])  # type: ignore[list-item]

    searching, verifying, last = Late(levels=6, networks=-1), Late(levels=-1, networks=2), Late(-1, -1)
    assert (run(searching).spent, searching.heard) == ("hours", [])
    assert candidates(spec, read(folder)), "there is something to be verified"
    assert (run(verifying).ending, verifying.heard) == ("finished", [0, 1, 2])
    assert all(trial.ending for trial in read(folder))
    assert load(folder) == {}
    assert "not verified yet: run the sweep again" in describe(answer(spec, folder), spec, "lth-sweep export")
    trained = stages(folder)
    run(last)
    assert last.heard[:7] == [0, 1, 2, 3, 4, 5, 6]
    assert is_verified(spec, folder)
    assert trained < stages(folder)


def test_a_network_may_take_as_long_as_a_hung_worker_would_for_all_of_its_levels(done: tuple[SweepSpec, Path]) -> None:
    spec, folder = done
    tried = [one for one in candidates(spec, read(folder)) if one.key in load(folder)]
    (folder / "verification.json").unlink()
    given: list[float] = []

    class Watched(InProcess):
        def results(self, jobs: Sequence[Any], patience: float = math.inf) -> Generator[Any]:
            given.append(patience)
            return super().results(jobs, patience)

    verify(Work(spec, folder.parent / "stages"), folder, Watched())
    assert given == [seconds for one in tried for seconds in [(one.level + 1) * deadline.AT_LEAST] * 3]


def test_several_candidates_are_the_smallest_and_a_safe_one(done: tuple[SweepSpec, Path]) -> None:
    spec, folder = done
    trials = read(folder)
    few = candidates(spec, trials)
    assert len({one.key for one in few}) == len(few) == 2
    values = [one.outcome.value for one in few]
    assert values == sorted(values)  # type: ignore[type-var]
    assert values[0] == min(trial.outcome.value for trial in trials if trial.outcome.value is not None)
    assert all(one.seeds == (2, 3) for one in few)


def test_the_third_candidate_has_lost_nothing_over_all_seeds(done: tuple[SweepSpec, Path]) -> None:
    """Of four made-up trials: the smallest is at the margin, the next has lost nothing by its only seed, one after that
    nothing over both, and the largest nothing either."""
    spec, folder = done
    spec = replace(spec, objective=replace(spec.objective, match=Match(margin=0.05)))
    some = next(trial for trial in read(folder) if len(trial.levels) > 1)

    def made_up(number: int, params: int, lost: float, seeds: int) -> TrialRecord:
        def level(index: int) -> Level:
            return Level(
                replace(record, level=index, metrics={**record.metrics, "accuracy": 0.9 - index * lost, "constant": 0},
                        sizes={**record.sizes, "params": params}, finished=True)
                for record in some.levels[0][:seeds]
            )  # fmt: skip

        levels = (level(0), level(1))
        outcome = judge(levels, spec.objective)
        picks = {"rate": ["0.3", "0.4", "0.5", "0.3"][number]}
        return TrialRecord(number, picks, levels, "stopped", outcome)

    trials = [made_up(0, 100, 0.04, 2), made_up(1, 200, 0.0, 1), made_up(2, 300, 0.0, 2), made_up(3, 400, 0.0, 2)]
    tried = {top: [one.trial.number for one in candidates(replace(spec, verify=replace(spec.verify, top=top)), trials)]
             for top in range(4)}  # fmt: skip
    assert tried == {0: [], 1: [0], 2: [0, 1], 3: [0, 1, 2]}


def test_constant_and_diverged_trials_never_match_and_are_shown_as_what_they_are(tmp_path: Path) -> None:
    """SGD at 10 leaves networks that give all digits one class, whose accuracy tickets of it easily keep; at 1e20,
    numbers that are none."""
    text = SWEEP.replace("rate: {choice: [0.3, 0.4, 0.5]}", "train.optimizer.lr: {choice: [0.1, 10.0, 1.0e+20]}")
    text = text.replace("{kind: adam, lr: 0.005}", "{kind: sgd, lr: 0.1, momentum: 0.9}").replace("tiny", "harm")
    (tmp_path / "harm.yaml").write_text(text)
    spec = load_spec(tmp_path / "harm.yaml")
    result = run_sweep(spec, tmp_path / "runs", serial=True)
    trials = {float(trial.picks["train.optimizer.lr"]): trial for trial in read(result.folder)}
    assert result.ending == "finished"
    assert trials[10.0].outcome.value is None
    assert trials[10.0].reason == "at level 0 all examples get the same class"
    assert {record.metrics["constant"] for record in trials[10.0].levels[0]} == {1.0}
    assert trials[1e20].outcome.value is None
    assert trials[1e20].reason == "training diverged at level 0: a metric is not a number"
    assert all(math.isnan(record.metrics["accuracy"]) for record in trials[1e20].levels[0])
    assert trials[0.1].outcome.value is not None
    found = answer(spec, result.folder)
    assert found is not None
    assert found.trial == trials[0.1].number
    assert found.verification is not None


FRAGILE = """\
import torch
from lth_sweep.lottery.common.identity import derive
from lth_sweep.lottery.network.initial.initialization import Default

FINE = {derive(seed, "init", layer) for seed in (0, 1) for layer in ("fc1", "fc2", "output")}

class Fragile(Default):
    '''Gives numbers for seeds 0 and 1 alone.'''
    def draw(self, layer):
        super().draw(layer)
        for weight in () if torch.initial_seed() in FINE else layer.parameters():
            torch.nn.init.constant_(weight, float("nan"))
"""


def test_a_sweep_whose_only_candidate_diverges_on_fresh_seeds_says_so_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By each command, in JSON, in the report and in MLflow; and again, as all of them read what is on record."""
    (tmp_path / "fragile_init.py").write_text(FRAGILE)
    text = SWEEP.replace("  seeds: 2\n", '  seeds: 2\n  init: "fragile_init:Fragile"\n').replace("top: 2", "top: 1")
    sweep(tmp_path, text)
    monkeypatch.chdir(tmp_path)
    sentence = "The ticket does not match the dense network: training diverged on fresh seed 2, level 0."

    def said(*arguments: str) -> str:
        assert main(list(arguments)) == 0
        return capsys.readouterr().out

    assert sentence in said("run", "tiny.yaml", "--serial")
    assert sentence in said("run", "tiny.yaml", "--serial")
    assert sentence in said("best", "tiny")
    assert sentence in repr(Sweep.open("runs/tiny"))
    assert "does not match" in said("status", "tiny")
    assert "MLflow at" in said("sync", "tiny")
    assert "ticket.safetensors" in said("export", "tiny", "--formats", "safetensors")
    assert sentence in Path(said("report", "tiny").strip()).read_text()
    found = json.loads(said("best", "tiny", "--json"), parse_constant=pytest.fail)["verification"]
    nothing = dict.fromkeys(("mean", "lower", "upper"))
    assert (found["examples"], found["test"], found["controls"]) == (0, {"dense": nothing, "ticket": nothing}, {})
    assert (found["verdict"]["word"], found["verdict"]["difference"]) == ("does not match", None)
    assert json.loads(said("status", "tiny", "--json"), parse_constant=pytest.fail)["best"]["verification"] == found
    client = MlflowClient(locate(Path("runs")).uri)
    experiment = client.get_experiment_by_name("tiny")
    assert experiment
    runs = client.search_runs([experiment.experiment_id])
    [one] = [run for run in runs if "verdict" in run.data.tags and "lth.trial_number" not in run.data.tags]
    assert one.data.tags["verdict.sentence"] == sentence
    assert not [name for name in one.data.metrics if name.startswith("test/")]
    assert {file.path for file in client.list_artifacts(one.info.run_id)} >= {"report.html", "figures"}


def test_a_control_that_a_ticket_cannot_have_is_left_out_with_the_reason(tmp_path: Path) -> None:
    text = SWEEP.replace("rate: {choice: [0.3, 0.4, 0.5]}", "granularity: {choice: [weight, unit]}")
    text = text.replace("trials: 3", "trials: 2").replace("levels: 3", "levels: 1")
    text = text.replace("margin: 0.05", "margin: 0.5").replace("seeds: 2}", "seeds: 2, controls: [reinit, scratch]}")
    spec = sweep(tmp_path, text)
    result = run_sweep(spec, tmp_path / "runs", serial=True)
    smallest = answer(spec, result.folder)
    assert smallest is not None
    assert smallest.verification is not None
    assert smallest.picks == {"granularity": "unit"}
    assert set(smallest.verification.controls) == {"reinit", "scratch"}
    assert smallest.verification.left_out == {}

    weights = next(trial for trial in read(result.folder) if trial.picks == {"granularity": "weight"})
    one = replace(candidates(spec, read(result.folder))[0], trial=weights, recipe=spec.recipe(weights.picks))
    found = verification.find_out(one, Work(spec, tmp_path / "runs" / "stages"), InProcess())
    assert set(found.tested.controls) == {"reinit"}
    assert list(found.tested.left_out) == ["scratch"]
    assert "with granularity weight the network keeps its shape" in found.tested.left_out["scratch"]
    save(result.folder, {one.key: found})
    assert load(result.folder) == {one.key: found}
    text = describe(answer(spec, result.folder, [weights]), spec, "lth-sweep export")
    assert "\nwithout scratch: the control scratch trains the smaller network that is left when whole units go" in text


def test_scratch_is_refused_where_nothing_prunes_units(tmp_path: Path) -> None:
    text = SWEEP.replace("seeds: 2}", "seeds: 2, controls: [scratch]}")
    with pytest.raises(ConfigError, match=r"tiny\.yaml, line 13: verify\.controls: scratch trains .* granularity unit"):
        sweep(tmp_path, text)
    sweep(tmp_path, text.replace("rate: {choice: [0.3, 0.4, 0.5]}", "granularity: {choice: [weight, unit]}"))
