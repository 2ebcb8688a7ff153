"""What the sweep's own run says at the end: totals, and the trial with the smallest matching network."""

import math
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lth_sweep.tracking.metrics import COSTS
from lth_sweep.tracking.recipe import key, show
from lth_sweep.tracking.update import Run

if TYPE_CHECKING:
    from lth_sweep.search.answer import Answer
    from lth_sweep.spec.sweep import Axis, SweepSpec

ENDINGS = ("finished", "stopped", "failed", "interrupted")


def note(spec: "SweepSpec", words: str) -> str:
    """The description of the sweep's own run, in Markdown."""
    return words + (f"\n\nThe sweep file:\n```yaml\n{spec.text}\n```" if spec.text else "")


def sweep_params(spec: "SweepSpec") -> dict[str, str]:
    """What the sweep searches for, over what, and how."""
    found = {"minimize": ", ".join(spec.objective.sizes), "match.metric": spec.objective.match.metric,
             "match.margin": show(spec.objective.match.margin), "search.sampler": spec.search.sampler.kind,
             "search.trials": show(spec.search.trials), "search.seed": show(spec.search.seed),
             "stop.patience": show(spec.stop.patience)}  # fmt: skip
    return found | {f"space.{axis.path}": _range(axis) for axis in spec.space}


def _range(axis: "Axis") -> str:
    from lth_sweep.spec.sweep import Between

    domain = axis.domain
    if isinstance(domain, Between):
        text = f"{show(domain.low)} to {show(domain.high)}{' ' + domain.unit if domain.unit else ''}"
        text += ", log" * domain.log
    else:
        text = " | ".join(domain.options)
    conditions = [f"{path} = {' or '.join(labels)}" for path, labels in axis.when.items()]
    return text + (f", where {' and '.join(conditions)}" if conditions else "")


def totals(trials: Mapping[int, Run]) -> dict[str, float]:
    """With those that are 0, which may have been another number when the sweep was interrupted."""
    endings = Counter(run.tags.get("lth.ending", "running") for run in trials.values())
    found = {"trials": len(trials), **{f"trials_{ending}": endings[ending] for ending in {*ENDINGS, *endings}}}
    found["trials_matching"] = sum(run.tags.get("lth.matched") == "yes" for run in trials.values())
    costs = {name: sum(run.metrics.get(name, 0.0) for run in trials.values()) for name in (*COSTS, "steps_saved")}
    return {name: float(value) for name, value in {**found, **costs}.items()}


def verdict(found: "Answer") -> dict[str, str]:
    """Tags: the word on the answer, and the whole sentence."""
    assert found.verification
    verdict = found.verification.verdict
    return {"verdict": verdict.word, "verdict.sentence": verdict.sentence, "verdict.trial": str(found.trial)}


def tested(found: "Answer") -> dict[str, float]:
    """Metrics: accuracy on test data over the fresh seeds, and the difference to dense with its bounds."""
    assert found.verification
    verdict = found.verification.verdict
    numbers = {"accuracy": found.verification.ticket.mean, "accuracy_dense": found.verification.dense.mean,
               "difference": verdict.difference, "difference_lower": verdict.lower,
               "difference_upper": verdict.upper}  # fmt: skip
    return {f"test/{name}": value for name, value in numbers.items() if not math.isnan(value)}


def best(trials: Mapping[int, Run], minimize: str, margin: float) -> dict[str, str]:
    """Tags that name the best trial and its recipe, or say that no trial matched. The first of equals is the best."""
    from lth_sweep.search.objective import in_words

    matching = {number: run for number, run in sorted(trials.items()) if run.tags.get("lth.matched") == "yes"}
    if not matching:
        return {"best": f"none: no trial matched the dense network within {margin:g}"}
    number = min(matching, key=lambda trial: matching[trial].metrics[f"smallest/{minimize}"])
    run = matching[number]
    smallest = {name.removeprefix("smallest/"): value for name, value in run.metrics.items()}
    words = f"{run.tags['mlflow.runName']}: {in_words(smallest[minimize], minimize)}"
    if "accuracy" in smallest:
        words += f", accuracy {smallest['accuracy']:.4f}"
    recipe = {key(f"best.{path}"): value for path, value in run.params.items()}
    return {"best": words, "best.trial": str(number), **recipe}
