"""Say from which step on training is stable to its noise.

With --json: stable_from (a step, or null) and records.
"""

import argparse

from lth_sweep.commands.shared import show
from lth_sweep.lottery.common.duration import Duration
from lth_sweep.lottery.experiments.stability import stability, stable_from
from lth_sweep.lottery.recipe.trial import Runtime, TrialConfig
from lth_sweep.remote.mirror import stages_of
from lth_sweep.remote.stages import stages_at
from lth_sweep.reporting.stability import describe_stability
from lth_sweep.sweepfile.decode import decode
from lth_sweep.sweepfile.load import imports_from, load_spec


def run(options: argparse.Namespace) -> None:
    spec = load_spec(options.spec)
    at = [Duration.parse(text) for text in options.at.split(",")]
    with imports_from(spec.import_folder):
        base = decode(TrialConfig, spec.base)
        records = stability(base, stages_at(stages_of(options.runs)), Runtime(), at, options.level)
    found = {"stable_from": stable_from(records), "records": [record.to_json() for record in records]}
    show(options, found, describe_stability(records))
