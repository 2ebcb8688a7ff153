"""Where the work of a sweep is done: the trials of its search, and functions, which verification and rescue run.

`InProcess` does one thing after the other, in this process, with the same records as `OnRay`, whose workers are
processes of a cluster. What to run, what to try again, when to stop and what it means is the driver's in both.

What Ray Tune does for `OnRay.search`: it starts workers where there is room for a trial, uses them for one trial after
the other, so that torch is imported once and data stays in memory, takes what they yield and notices when they die. It
is used by three of its interfaces: as a Searcher it asks the driver what is next, as a Stopper whether a trial goes on
after a level, and as a Callback it says what became of one.

What is switched off, since the records and the stages are what a sweep goes on from, also after a kill:
- its retries: attempts are counted over all runs of a sweep, and one that is tried again is a new trial for Tune;
- its checkpoints, its experiment's state, its logs and its tables, which cost a disk's time after each level;
- its handler of SIGINT, which would stay in place after the sweep, and its change of the working directory.

What was tried, with Ray 2.60: its scheduler cannot decide what stops, since it is not asked about the last level of a
trial, and sees copies of the results, so that Tune keeps all levels in memory. Its searcher is not told of the level
that stops a trial, nor why one failed. Two of Ray's private things are used: the
actor manager, to survive what Tune does not (see `ray_tune._Actors`), and a trial's actor, to kill one that hangs in
native code.
"""

import math
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from lth_sweep.disk import storage_fault
from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.orchestration.driver import Driver
from lth_sweep.orchestration.interruption import Interruption
from lth_sweep.orchestration.work import Work
from lth_sweep.remote.run_folder import RunFolder
from lth_sweep.search.trial import Proposal
from lth_sweep.sweepfile.spec import Resources

DIED = "the process that ran it died: killed, out of memory, or a crash in native code"


class Executor(Protocol):
    def search(self, driver: Driver, work: Work) -> None:
        """Run trials until the driver has no more, or a budget is spent. Raises KeyboardInterrupt when interrupted,
        ConfigError where there is too little to run on, and what the driver raises."""

    def sharing(self, work: Work) -> Work:
        """The same work, with its data sets where workers find them without reading them."""

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """A job. It may be an argument of a later one, which then gets its result."""

    def results(self, jobs: Sequence[Any], patience: float = math.inf) -> Generator[Any]:
        """In the order of the jobs, each as soon as it is there. Once it is closed, or has raised, the other jobs are
        none any more. Raises TimeoutError when for `patience`, in seconds, none of the jobs has come to its end, where
        one can tell."""


@contextmanager
def executor(
    serial: bool, address: str | None, resources: Resources, interruption: Interruption | None = None
) -> Iterator[Executor]:
    """In this process; or on the cluster at `address`, or one that is started here, each trial and job with these
    resources. Raises ConfigError where the cluster is not there."""
    interruption = interruption or Interruption()
    if serial:
        yield InProcess(interruption)
        return
    from lth_sweep.orchestration.on_ray import OnRay, cluster

    with cluster(address):
        interruption.listen()  # Ray has taken SIGTERM
        yield OnRay(resources, interruption, joined=address is not None)


@dataclass
class _Later:
    """A call that is made when its result is asked for, once."""

    function: Callable[..., Any]
    arguments: Sequence[Any]

    @cached_property
    def result(self) -> Any:
        return self.function(*(one.result if isinstance(one, _Later) else one for one in self.arguments))


@dataclass(frozen=True)
class InProcess:
    interruption: Interruption = field(default_factory=Interruption)

    def search(self, driver: Driver, work: Work) -> None:
        """`RunFolder.running` has the number of the trial that this process is at. Where it is left over, that trial
        may be what the last process died of, and counts as failed once more."""
        marker = RunFolder(driver.folder).running
        died = _number(marker)
        try:
            while proposal := driver.propose():
                if proposal.number == died:
                    died = None
                    driver.attempt_failed(proposal.number, DIED, DIED)
                    continue
                marker.write_text(str(proposal.number))
                self._attempt(proposal, driver, work)
        finally:
            marker.unlink(missing_ok=True)

    def sharing(self, work: Work) -> Work:
        return work

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return _Later(function, arguments)

    def results(self, jobs: Sequence[Any], patience: float = math.inf) -> Generator[Any]:
        return (job.result for job in jobs)

    def _attempt(self, proposal: Proposal, driver: Driver, work: Work) -> None:
        """Run a trial to its end, or to that of the budget."""
        number, levels = proposal.number, work.levels(proposal.picks)
        while not driver.spent:
            try:
                with self.interruption.at_once():
                    level = next(levels, None)
            except Exception as failure:  # of the trial; what goes wrong in the driver ends the sweep
                if storage_fault(failure):
                    raise
                error = f"{type(failure).__name__}: {failure}"
                if isinstance(failure, ConfigError):  # which it would be again
                    driver.refuse(number, error, traceback.format_exc())
                    driver.end(number)
                else:
                    driver.attempt_failed(number, error, traceback.format_exc())
                return
            if level is None or driver.level(number, level):
                driver.end(number)
                return


def _number(marker: Path) -> int | None:
    try:
        return int(marker.read_text())
    except (FileNotFoundError, ValueError):
        return None
