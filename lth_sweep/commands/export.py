"""Write the ticket as a smaller network; exit code 1 where a format failed.

With --json: trial, level, seed, masked, params, flops, bytes, params_dense, files, failed, any_length.
"""

import argparse

from lth_sweep.commands.shared import existing, show
from lth_sweep.orchestration.tickets import export_ticket


def run(options: argparse.Namespace) -> int:
    spec = existing(options.runs, options.name)
    formats = [name.strip() for name in options.formats.split(",")]
    done = export_ticket(spec, options.runs, options.trial, options.level, options.seed, options.out, formats)
    size = "at its full size" if done.masked else "compacted"
    free = "of any number and length" if done.any_length else "of any number"
    words = [
        f"trial {done.trial}, level {done.level}, seed {done.seed}, {size}: {done.params:,} parameters "
        f"({done.params_dense:,} in the dense network), {done.flops:,} FLOPs, {done.bytes:,} bytes; each file takes "
        f"inputs {free}, and computes the same as the masked network",
        *([f"  the zeros of the ticket are stored: {done.masked}"] if done.masked else []),
        *(f"  {path}  {path.stat().st_size:,} bytes" for path in done.files),
        *(f"  {name} was not written: {why}" for name, why in done.failed.items()),
    ]
    show(options, done.to_json(), "\n".join(words))
    return 1 if done.failed else 0
