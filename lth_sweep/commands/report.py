"""Write the HTML report."""

import argparse

from lth_sweep.commands.shared import existing, material
from lth_sweep.remote.run_folder import RunFolder
from lth_sweep.reporting.page import save
from lth_sweep.reporting.report import report


def run(options: argparse.Namespace) -> None:
    specs = [existing(options.runs, name) for name in dict.fromkeys(options.names)]
    sweeps = [material(spec, options.runs) for spec in specs]
    folder = RunFolder(options.runs / sweeps[0].spec.name)
    path = options.out or (folder.report if len(sweeps) == 1 else options.runs / "report.html")
    save(report(sweeps), path)
    if path.is_relative_to(folder.path):
        folder.keep(path)
    print(path)
