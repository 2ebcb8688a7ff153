"""The serial twin of the Ray back end: one trial after the other, in this process, with the same records."""

import traceback

from lth_sweep.lottery.errors import ConfigError
from lth_sweep.orchestration.driver import RETRIES, Driver
from lth_sweep.orchestration.interruption import Interruption
from lth_sweep.orchestration.work import Work
from lth_sweep.search.events import Proposal


def run_serially(driver: Driver, work: Work, interruption: Interruption) -> None:
    """Run trials until the driver has no more, or a budget is spent. Raises KeyboardInterrupt when interrupted."""
    while proposal := driver.propose():
        error = _run_trial(proposal, driver, work, interruption)
        if error is not None:
            driver.end(proposal.number, error)


def _run_trial(proposal: Proposal, driver: Driver, work: Work, interruption: Interruption) -> str | None:
    """The error that a trial ended with, "" for none; None where a budget was spent before it ended."""
    error = ""
    for _ in range(1 + RETRIES):
        levels = work.levels(proposal.picks)
        while True:
            if driver.spent:
                return None
            try:
                with interruption.at_once():
                    level = next(levels, None)
            except Exception as failure:  # of the trial; what goes wrong in the driver ends the sweep
                driver.attempt_failed(proposal.number, traceback.format_exc())
                error = f"{type(failure).__name__}: {failure}"
                if isinstance(failure, ConfigError):  # which it would be again
                    return error
                break
            if level is None or driver.level(proposal.number, level):
                return ""
    return error
