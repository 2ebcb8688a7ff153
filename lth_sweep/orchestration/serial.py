"""The serial twin of the Ray back end: one trial after the other, in this process, with the same records."""

import traceback
from pathlib import Path

from lth_sweep.disk import storage_fault
from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.orchestration.driver import Driver
from lth_sweep.orchestration.interruption import Interruption
from lth_sweep.orchestration.work import Work
from lth_sweep.remote.run_folder import RunFolder
from lth_sweep.search.trial import Proposal

DIED = "the process that ran it died: killed, out of memory, or a crash in native code"


def run_serially(driver: Driver, work: Work, interruption: Interruption) -> None:
    """Run trials until the driver has no more, or a budget is spent. Raises KeyboardInterrupt when interrupted.

    runs/NAME/running has the number of the trial that this process is at. Where it is left over, that trial may be what
    the last process died of, and counts as failed once more.
    """
    marker = RunFolder(driver.folder).running
    died = _number(marker)
    try:
        while proposal := driver.propose():
            if proposal.number == died:
                died = None
                driver.attempt_failed(proposal.number, DIED, DIED)
                continue
            marker.write_text(str(proposal.number))
            _attempt(proposal, driver, work, interruption)
    finally:
        marker.unlink(missing_ok=True)


def _attempt(proposal: Proposal, driver: Driver, work: Work, interruption: Interruption) -> None:
    """Run a trial to its end, or to that of the budget."""
    number, levels = proposal.number, work.levels(proposal.picks)
    while not driver.spent:
        try:
            with interruption.at_once():
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
