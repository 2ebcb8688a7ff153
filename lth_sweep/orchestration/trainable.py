"""What runs in a Ray worker: a Tune trainable whose step is one level."""

import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ray import tune

from lth_sweep.disk import storage_fault
from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.records import Level
from lth_sweep.orchestration.work import Work, go_to


class LevelTrainable(tune.Trainable):
    """One actor runs one trial after the other, so that torch is imported once and data stays in memory."""

    def setup(self, config: dict[str, Any], work: Work, folder: Path) -> None:
        self.work, self.folder = work, folder
        self.levels: Iterator[Level] = iter(())
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        go_to(self.folder)
        self.picks = new_config["picks"]
        self.levels = self.work.levels(self.picks)
        return True

    def step(self) -> dict[str, Any]:
        try:
            level = next(self.levels, None)
            # With the last level, and not after it: a round trip less.
            return {"level": level, "done": level is None or self.work.is_last(level, self.picks)}
        except ConfigError as error:
            return {"refused": (f"ConfigError: {error}", traceback.format_exc()), "done": True}
        except Exception as error:
            if (fault := storage_fault(error)) is None:
                raise
            return {"fault": fault, "done": True}

    def cleanup(self) -> None:
        self.levels = iter(())
