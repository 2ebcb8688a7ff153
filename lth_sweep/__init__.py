"""Find the smallest network that still matches the accuracy of a dense one.

The names below are imported when they are first used, so that `import lth_sweep` is instant.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lth_sweep.lottery.compaction import compact
    from lth_sweep.lottery.config import Runtime, Train, TrialConfig
    from lth_sweep.lottery.duration import Duration
    from lth_sweep.lottery.errors import ConfigError
    from lth_sweep.lottery.export import load_ticket
    from lth_sweep.lottery.loop import run
    from lth_sweep.lottery.store import Store
    from lth_sweep.lottery.ticket import Ticket
    from lth_sweep.orchestration.export import export_ticket
    from lth_sweep.orchestration.sweep import run_sweep
    from lth_sweep.spec.load import load_spec
    from lth_sweep.sweep import Sweep

_HOME = {
    "ConfigError": "lottery.errors",
    "Duration": "lottery.duration",
    "Runtime": "lottery.config",
    "Store": "lottery.store",
    "Sweep": "sweep",
    "Ticket": "lottery.ticket",
    "Train": "lottery.config",
    "TrialConfig": "lottery.config",
    "compact": "lottery.compaction",
    "export_ticket": "orchestration.export",
    "load_spec": "spec.load",
    "load_ticket": "lottery.export",
    "run": "lottery.loop",
    "run_sweep": "orchestration.sweep",
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
