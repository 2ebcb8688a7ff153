"""Open the MLflow UI on the right store."""

import argparse

from lth_sweep.commands.shared import existing
from lth_sweep.tracking import locate, serve_ui


def run(options: argparse.Namespace) -> int:
    uri = existing(options.runs, options.name).tracking.uri if options.name else None
    return serve_ui(locate(options.runs, uri), port=options.port)
