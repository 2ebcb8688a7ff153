"""Show the trained states on disk, or make room.

With --json, of ls: a list of sweeps, training_runs, bytes, last_used (seconds since the epoch); of gc: removed, the
number of training runs, and bytes.
"""

import argparse
from datetime import datetime

from lth_sweep.commands.shared import show
from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.orchestration.housekeeping import by_sweep, remove, runs_in, superfluous


def run(options: argparse.Namespace) -> None:
    found = runs_in(options.runs)
    if options.action == "gc":
        if not (options.older_than or options.larger_than or options.gone):
            raise ConfigError("say what is to go: --older-than DAYS, --larger-than MB or --gone", "cache gc")
        unwanted = superfluous(
            found,
            older=options.older_than and options.older_than * 86400,
            larger=options.larger_than and options.larger_than * 10**6,
            gone=options.gone,
        )
        count, size = remove(options.runs, unwanted)
        words = f"removed {count:,} of {len(found):,} training runs, {size / 1e6:,.1f} MB"
        show(options, {"removed": count, "bytes": size}, words)
        return
    rows, lines = by_sweep(found), []
    for row in rows:
        used = datetime.fromtimestamp(row["last_used"]).strftime("%Y-%m-%d %H:%M")
        whose = ", ".join(row["sweeps"]) or "no sweep's records"
        runs = f"{row['training_runs']:6,} training runs"
        lines.append(f"{row['bytes'] / 1e6:10,.1f} MB  {runs}  last used {used}  {whose}")
    lines.append(f"{sum(row['bytes'] for row in rows) / 1e6:10,.1f} MB in all")
    show(options, rows, "\n".join(lines))
