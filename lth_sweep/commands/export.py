"""Write the ticket as a smaller network.

With --json: trial, level, seed, params, params_dense, files.
"""

import argparse

from lth_sweep.commands.shared import existing, show
from lth_sweep.orchestration.tickets import export_ticket


def run(options: argparse.Namespace) -> None:
    spec = existing(options.runs, options.name)
    formats = [name.strip() for name in options.formats.split(",")]
    done = export_ticket(spec, options.runs, options.trial, options.level, options.seed, options.out, formats)
    words = [
        f"trial {done.trial}, level {done.level}, seed {done.seed}: {done.params:,} parameters, "
        f"{done.params_dense:,} in the dense network; each file computes the same as the masked network",
        *(f"  {path}  {path.stat().st_size:,} bytes" for path in done.files),
    ]
    show(options, done.to_json(), "\n".join(words))
