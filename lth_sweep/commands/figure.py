"""Draw a figure for a paper."""

import argparse

from lth_sweep.commands.shared import existing, material
from lth_sweep.reporting.paper import figure


def run(options: argparse.Namespace) -> None:
    figure(material(existing(options.runs, options.name), options.runs), options.kind, options.out, options.source)
    print(options.out)
