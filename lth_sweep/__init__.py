"""Find the smallest network that still matches a dense one.

The names below are imported when they are first used, so that `import lth_sweep` is instant.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lth_sweep.lottery.common.duration import Duration
    from lth_sweep.lottery.common.errors import ConfigError
    from lth_sweep.lottery.loop import run
    from lth_sweep.lottery.network.compaction import compact
    from lth_sweep.lottery.recipe.trial import Runtime, Train, TrialConfig
    from lth_sweep.lottery.runs.stages import Store
    from lth_sweep.lottery.ticket.loading import load_ticket
    from lth_sweep.lottery.ticket.ticket import Ticket
    from lth_sweep.orchestration.running import run_sweep
    from lth_sweep.orchestration.tickets import export_ticket
    from lth_sweep.results import Sweep
    from lth_sweep.sweepfile.load import load_spec

_HOME = {
    "ConfigError": "lottery.common.errors",
    "Duration": "lottery.common.duration",
    "Runtime": "lottery.recipe.trial",
    "Store": "lottery.runs.stages",
    "Sweep": "results",
    "Ticket": "lottery.ticket.ticket",
    "Train": "lottery.recipe.trial",
    "TrialConfig": "lottery.recipe.trial",
    "compact": "lottery.network.compaction",
    "export_ticket": "orchestration.tickets",
    "load_spec": "sweepfile.load",
    "load_ticket": "lottery.ticket.loading",
    "run": "lottery.loop",
    "run_sweep": "orchestration.running",
}

__all__ = [
    "ConfigError", "Duration", "Runtime", "Store", "Sweep", "Ticket", "Train", "TrialConfig", "compact",
    "export_ticket", "load_spec", "load_ticket", "run", "run_sweep",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
