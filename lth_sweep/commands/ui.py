"""Open the MLflow UI on the right store."""

import argparse

from lth_sweep.commands.shared import existing
from lth_sweep.tracking import database, locate, serve_ui
from lth_sweep.tracking.store import sqlite_file


def run(options: argparse.Namespace) -> int:
    uri = existing(options.runs, options.name).tracking.uri if options.name else None
    place = locate(options.runs, uri)
    if (file := sqlite_file(place)) and file.exists():
        database.check(file)
    return serve_ui(place, port=options.port)
