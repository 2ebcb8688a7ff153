"""After the search: its best candidates once more, on fresh seeds, and then, once each, on the test split.

A candidate that is on record is not trained or tested again; what an interrupted verification has trained is in its
stages.
"""

import math
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from lth_sweep.disk import storage_fault
from lth_sweep.lottery.experiments.controls import NoControl, control
from lth_sweep.lottery.experiments.verification import Fresh, Tested, again, test
from lth_sweep.lottery.network.sizes import latency
from lth_sweep.lottery.recipe.trial import Runtime, TrialConfig
from lth_sweep.lottery.records import LevelRecord
from lth_sweep.lottery.runs.stages import Stages
from lth_sweep.lottery.ticket.ticket import Ticket
from lth_sweep.orchestration.deadline import Pace, kind_of
from lth_sweep.orchestration.evidence import Candidate, Evidence, load, open_candidates, save
from lth_sweep.orchestration.executor import Executor
from lth_sweep.orchestration.records import Records, read
from lth_sweep.orchestration.work import Work, go_to
from lth_sweep.search.answer import AsExported, Latency
from lth_sweep.search.listener import Listener
from lth_sweep.sweepfile.axis import Pick

LATENCY_BATCH = 32
ATTEMPTS = 2
"""Of a candidate in one run of the sweep. A worker can be lost, and so can a stage that no record names yet, to
`lth-sweep cache gc --gone`: only what is missing is trained again."""
Picks = Mapping[str, Pick]


def verify(
    work: Work,
    folder: Path,
    executor: Executor,
    listeners: Sequence[Listener] = (),
    *,
    say: Callable[[str], None] = print,
    is_over: Callable[[], bool] = lambda: False,
) -> None:
    """Find out about one candidate of the sweep in `folder` after the other, until one matches, or it `is_over`, which
    is asked after each network.

    A candidate that fails with an error each time is passed over: `say` is told, the tracebacks are in its trial's log,
    and the next run of the sweep tries it again.
    """
    trials, evidence, records = read(folder), load(folder), Records(folder)
    pace = Pace.of(work.spec, trials)
    for one in open_candidates(work.spec, trials, evidence):
        patience = (one.level + 1) * pace.deadline(kind_of(one.recipe))
        for attempt in range(ATTEMPTS):
            if is_over():
                return
            try:
                found = find_out(one, work, executor, listeners, patience, is_over)
            except Exception as error:  # of any kind: a search that took days is not lost by it
                if storage_fault(error):
                    raise
                records.log(one.trial.number, traceback.format_exc())
                if attempt == ATTEMPTS - 1:
                    say(_passed_over(one, error, records.folder.log(one.trial.number)))
                continue
            if found is None:
                return
            evidence[one.key] = found
            save(folder, evidence)
            break


def _passed_over(one: Candidate, error: Exception, log: Path) -> str:
    reason = f"{type(error).__name__}: {error}".splitlines()[0]
    return (
        f"trial {one.trial.number}, level {one.level} could not be verified: {reason}; more in {log}; the same command "
        "tries it again"
    )


def find_out(
    one: Candidate,
    work: Work,
    executor: Executor,
    listeners: Sequence[Listener] = (),
    patience: float = math.inf,
    is_over: Callable[[], bool] = lambda: False,
) -> Evidence | None:
    """Train a candidate and its controls on each fresh seed, and when all that is done, test them. None where it
    `is_over` before. `patience`: seconds that a network may take, see `Executor.results`."""
    job = _Job(work, one.trial.picks, Path.cwd())
    tickets = [executor.submit(job.again, seed, one.level) for seed in one.seeds]
    beside = [executor.submit(job.control, ticket, kind) for kind in one.controls for ticket in tickets]
    found: list[Any] = []
    for listener in listeners:
        listener.verifying(one.trial.number, one.level, 0, len(tickets) + len(beside))
    with closing(executor.results([*tickets, *beside], patience)) as networks:
        for network in networks:
            found.append(network)
            for listener in listeners:
                listener.verifying(one.trial.number, one.level, len(found), len(tickets) + len(beside))
            if is_over():
                return None
    seeds = len(tickets)
    fresh: list[Fresh] = found[:seeds]
    trained = {kind: found[seeds * at : seeds * (at + 1)] for at, kind in enumerate(one.controls, start=1)}
    left_out = {kind: some[0] for kind, some in trained.items() if isinstance(some[0], str)}
    controls = {kind: some for kind, some in trained.items() if kind not in left_out}
    if problem := next((replica.problem for replica in fresh if replica.problem), ""):
        return Evidence(Tested((), {}, problem))
    [tested] = executor.results([executor.submit(job.test, fresh, controls)], patience)
    # Measured when nothing else is being trained.
    [(measured, exported)] = executor.results([executor.submit(job.measure, fresh[0])], patience)
    return Evidence(replace(tested, left_out=left_out), measured, exported)


class _Job:
    """What is done for a candidate, wherever it runs. Plain data, like the work that it is part of."""

    def __init__(self, work: Work, picks: Picks, folder: Path) -> None:
        self.work, self.picks, self.folder = work, picks, folder

    def again(self, seed: int, level: int) -> Fresh:
        return again(*self._prepare(), seed, level)

    def control(self, fresh: Fresh, kind: Any) -> LevelRecord | str | None:
        """None where the ticket diverged; where it has no such control, the reason."""
        if fresh.ticket is None:
            return None
        recipe, store, runtime = self._prepare()
        try:
            return control(replace(recipe, seeds=(fresh.seed,)), store, runtime, fresh.ticket, kind)
        except NoControl as reason:
            return reason.message

    def test(self, fresh: Sequence[Fresh], controls: Mapping[str, Sequence[LevelRecord]]) -> Tested:
        return test(*self._prepare(), fresh, controls, self.work.spec.objective.metric.name)

    def measure(self, fresh: Fresh) -> tuple[Latency, AsExported]:
        """What `lth-sweep export` would write: how fast it is, and how large."""
        recipe, store, runtime = self._prepare()
        assert fresh.ticket
        dense, ticket = (Ticket.load(recipe, record, store) for record in (fresh.dense, fresh.ticket))
        example, threads = ticket.splits.example, runtime.threads
        before, after = (latency(module, example, LATENCY_BATCH, "cpu", threads)
                         for module in (dense.module, ticket.exported))  # fmt: skip
        return Latency(before, after, LATENCY_BATCH, "cpu", threads), AsExported(ticket.why_masked,
                                                                               **ticket.exported_sizes)  # fmt: skip

    def _prepare(self) -> tuple[TrialConfig, Stages, Runtime]:
        go_to(self.folder)
        return self.work.prepare(self.picks)
