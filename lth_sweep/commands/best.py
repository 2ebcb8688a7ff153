"""Show the smallest network that matches.

With --json: the answer; null, and exit code 1, where no trial matches.
"""

import argparse

from lth_sweep.commands.shared import existing, in_words, show
from lth_sweep.orchestration.evidence import answer


def run(options: argparse.Namespace) -> int:
    spec = existing(options.runs, options.name)
    found = answer(spec, options.runs / options.name)
    show(options, found and found.to_json(), in_words(found, spec, options.runs))
    return 0 if found else 1
