"""Say where a sweep stands.

With --json: name, trials (by ending), planned, steps_trained, steps_reused, and best, the answer (null where no trial
matches).
"""

import argparse
from collections import Counter

from lth_sweep.commands.shared import existing, show
from lth_sweep.orchestration.evidence import answer
from lth_sweep.orchestration.records import read


def run(options: argparse.Namespace) -> None:
    spec = existing(options.runs, options.name)
    trials = read(options.runs / options.name)
    counts = Counter(trial.ending or "unfinished" for trial in trials)
    trained, reused = (sum(getattr(trial, name) for trial in trials) for name in ("steps_trained", "steps_reused"))
    found = answer(spec, options.runs / options.name, trials)
    value = {
        "name": spec.name,
        "trials": dict(counts),
        "planned": spec.search.trials,
        "steps_trained": trained,
        "steps_reused": reused,
        "best": found and found.to_json(),
    }
    words = [
        f"{spec.name}: {len(trials)} of {spec.search.trials} trials begun",
        *(f"  {count:5d} {ending}" for ending, count in sorted(counts.items())),
        *(f"  trial {trial.number} failed: {trial.reason}" for trial in trials if trial.ending == "failed"),
        f"  steps trained: {trained:,}; steps reused: {reused:,}",
    ]
    if found:
        word = found.verification.verdict.word if found.verification else "not verified yet"
        words.append(f"  smallest: {found.ticket.density:.2%} of the weights, trial {found.trial} ({word})")
    show(options, value, "\n".join(words))
