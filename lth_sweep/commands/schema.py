"""Print the JSON Schema of the sweep file."""

import argparse

from lth_sweep.commands.shared import print_json
from lth_sweep.sweepfile.schema import schema


def run(options: argparse.Namespace) -> None:
    print_json(schema())
