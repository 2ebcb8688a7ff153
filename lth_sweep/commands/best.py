"""Show the smallest network that matches.

With --json: the answer; null, and exit code 1, where no trial matches.
"""

import argparse

from lth_sweep.commands.shared import existing, print_answer, print_json
from lth_sweep.orchestration.evidence import answer


def run(options: argparse.Namespace) -> int:
    spec = existing(options.runs, options.name)
    found = answer(spec, options.runs / options.name)
    if options.json:
        print_json(found and found.to_json())
    else:
        print_answer(found, spec, options.runs)
    return 0 if found else 1
