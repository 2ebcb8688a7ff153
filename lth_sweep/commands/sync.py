"""Send to MLflow what it lacks of a sweep's records, as after a server that was away; and nothing that it has.

With --json: place, trials, values (of metrics that were sent), made and replaced (runs), and missing (what could not be
sent, in words).
"""

import argparse
from typing import Literal

from lth_sweep.commands.run import attach_report
from lth_sweep.commands.shared import existing, print_json
from lth_sweep.orchestration.evidence import answer, is_verified
from lth_sweep.orchestration.records import read
from lth_sweep.orchestration.tickets import best_ticket
from lth_sweep.remote.run_folder import RunFolder
from lth_sweep.search.objective import judge
from lth_sweep.search.trial import Proposal
from lth_sweep.sweepfile.load import imports_from
from lth_sweep.tracking import MlflowListener


def run(options: argparse.Namespace) -> int:
    spec, folder = existing(options.runs, options.name), options.runs / options.name
    mlflow = MlflowListener(attach=attach_report, ticket=best_ticket)
    with RunFolder(folder).exclusive(), imports_from(spec.import_folder):
        trials = read(folder)
        ended = all(trial.ending for trial in trials)
        recorded = [
            (
                Proposal(trial.number, trial.picks, spec.recipe(trial.picks)),
                trial.levels,
                trial.ending or "interrupted",
                trial.outcome if trial.ending else judge(trial.levels, spec.objective),
                trial.reason,
                trial.steps_saved,
            )
            for trial in trials
        ]
        ending: Literal["finished", "interrupted"] = (
            "finished" if ended and is_verified(spec, folder) else "interrupted"
        )
        sent = mlflow.resend(spec, folder, recorded, answer(spec, folder, trials), ending)
    if options.json:
        counts = {name: sent[name] for name in ("values", "made", "replaced")}
        print_json({"place": str(mlflow.place), "trials": len(trials), **counts, "missing": mlflow.missing})
    elif not mlflow.missing:
        news = f"sent {sent['values']:,} values; made {sent['made']} runs, {sent['replaced']} in place of old ones"
        print(f"{spec.name}: MLflow at {mlflow.place} has all {len(trials)} trials; {news}")
    return 1 if mlflow.missing else 0
