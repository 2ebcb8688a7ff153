"""What the sweep's own run says at the end: totals, and the smallest matching network with its verdict."""

import math
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lth_sweep.search.objective import in_words
from lth_sweep.tracking.metrics import COSTS
from lth_sweep.tracking.recipe import key, params, renamed, run_name, show
from lth_sweep.tracking.update import Run

if TYPE_CHECKING:
    from lth_sweep.search.answer import Answer
    from lth_sweep.sweepfile.spec import Axis, SweepSpec

ENDINGS = ("finished", "stopped", "failed", "interrupted")


def note(spec: "SweepSpec", words: str) -> str:
    """The description of the sweep's own run, in Markdown."""
    return words + (f"\n\nThe sweep file:\n```yaml\n{spec.text}\n```" if spec.text else "")


def sweep_params(spec: "SweepSpec") -> dict[str, str]:
    """What the sweep searches for, over what, and how."""
    found = {"minimize": ", ".join(spec.objective.sizes), "match.metric": spec.objective.metric.name,
             "match.margin": show(spec.objective.match.margin), "search.sampler": spec.search.sampler.kind,
             "search.trials": show(spec.search.trials), "search.seed": show(spec.search.seed),
             "stop.patience": show(spec.stop.patience)}  # fmt: skip
    return found | {f"space.{axis.path}": _range(axis) for axis in spec.space}


def _range(axis: "Axis") -> str:
    from lth_sweep.sweepfile.spec import Between

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


def tags(spec: "SweepSpec", found: "Answer | None") -> dict[str, str]:
    """What names the best network, its trial, level and recipe, or says that no trial matched; the verdict, where there
    is one; and the run's description."""
    if found is None:
        match = spec.objective.match
        none = f"none: no trial found a network within {match.margin:g} of the dense one's {spec.objective.metric.name}"
        return {"best": none, "mlflow.note.content": note(spec, f"Smallest matching network: {none}")}
    name, density = run_name(found.trial, found.picks), f"{found.ticket.density:.2%}"
    words = f"{renamed(name, name, density)}: {in_words(found.size, found.minimize)}, {found.metric} "
    words += f"{found.ticket.metrics[found.metric]:.4f}"
    best = {"best": words, "best.trial": str(found.trial), "best.level": str(found.ticket.level)}
    best |= {key(f"best.{path}"): value for path, value in params(spec.recipe(found.picks), found.picks).items()}
    if found.verification is None:
        return best | {"mlflow.note.content": note(spec, f"Smallest matching network: {words}")}
    verdict = found.verification.verdict
    told = {"verdict": verdict.word, "verdict.sentence": verdict.sentence, "verdict.trial": str(found.trial)}
    return best | told | {"mlflow.note.content": note(spec, f"{verdict.sentence}\n\nThe ticket: {words}")}


def tested(found: "Answer | None") -> dict[str, float]:
    """Metrics, where it was verified: accuracy on test data over the fresh seeds, and the difference to dense with its
    bounds."""
    if found is None or found.verification is None:
        return {}
    verdict = found.verification.verdict
    numbers = {"accuracy": found.verification.ticket.mean, "accuracy_dense": found.verification.dense.mean,
               "difference": verdict.difference, "difference_lower": verdict.lower,
               "difference_upper": verdict.upper}  # fmt: skip
    return {f"test/{name}": value for name, value in numbers.items() if not math.isnan(value)}
