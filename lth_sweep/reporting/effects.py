"""What mattered: which axes of the space, and by how much, for the size of the smallest matching network."""

import math
import warnings
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, pairwise

import optuna
from optuna.trial import FixedTrial, create_trial

from lth_sweep.reporting.charts import SERIES, Chart, axis, log_axis, names_axis, scatter, shares
from lth_sweep.reporting.material import Material
from lth_sweep.reporting.results import UNITS
from lth_sweep.search.axes import suggest
from lth_sweep.search.trial import TrialRecord
from lth_sweep.search.verdict import of_values
from lth_sweep.sweepfile.axis import Axis, Between, Choice, Pick

PARTS = 3
"""Into which a range is divided."""
FEWEST = 10
"""Matching trials without which importances would be noise."""
GOOD = 5
"""Trials, at least, that the evaluator compares with the rest."""


@dataclass(frozen=True)
class Group:
    """The trials that picked one label, or a number from one part of a range."""

    axis: str
    label: str
    trials: int
    matching: int
    mean: float
    """Geometric, of the smallest matching sizes; NaN where none matches, as are the bounds of a single one."""
    lower: float
    upper: float


def groups(sweep: Material) -> list[Group]:
    """Axes in the order of the file. Trials that failed or have not ended are left out, and of those with one recipe in
    a group all but the first: they repeat its records, and are no further draw."""
    ended = [trial for trial in sweep.trials if trial.answers]
    found = []
    for one in sweep.spec.space:
        picked = [(trial, trial.picks[one.path]) for trial in ended if one.path in trial.picks]
        for label, picking in _divided(one, picked).items():
            some = _distinct(picking)
            sizes = [math.log(trial.outcome.value) for trial in some if trial.outcome.value]
            mean, lower, upper = of_values(sizes, sweep.spec.verify.confidence)
            bounds = [math.exp(value) for value in (mean, lower, upper)]
            found.append(Group(one.path, label, len(some), len(sizes), *bounds))
    return found


def _divided(one: Axis, picked: Sequence[tuple[TrialRecord, Pick]]) -> dict[str, list[TrialRecord]]:
    """The trials by label, or by the part of the range that their number lies in."""
    domain = one.domain
    if isinstance(domain, Choice):
        return {label: [trial for trial, pick in picked if pick == label] for label in domain.options}
    edges = _edges(domain)
    parts = [bisect(edges[1:-1], float(pick)) for _, pick in picked]
    return {f"{low:.3g} to {high:.3g}": [trial for (trial, _), part in zip(picked, parts, strict=True) if part == index]
            for index, (low, high) in enumerate(pairwise(edges))}  # fmt: skip


def _edges(domain: Between) -> list[float]:
    low, high = (math.log(domain.low), math.log(domain.high)) if domain.log else (domain.low, domain.high)
    edges = [low + (high - low) * index / PARTS for index in range(PARTS + 1)]
    return [math.exp(edge) for edge in edges] if domain.log else edges


def importances(sweep: Material) -> dict[str, float]:
    """Optuna's, by axis, the largest first; they add up to 1. Empty where too few trials match to tell.

    Of the matching trials alone: the others have no such size; and of each recipe's first.
    """
    matching = _matching(sweep)
    if len(matching) < FEWEST:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    for trial in matching:
        fixed = FixedTrial(dict(trial.picks))
        picks = dict(suggest(fixed, sweep.spec.space))
        study.add_trial(create_trial(params=picks, distributions=fixed.distributions, value=trial.outcome.value))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=_best_share(matching))
        return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))


def _matching(sweep: Material) -> list[TrialRecord]:
    return _distinct([trial for trial in sweep.trials if trial.answers and trial.outcome.value is not None])


def _distinct(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The first trial of each recipe."""
    first: dict[str, TrialRecord] = {}
    for trial in trials:
        first.setdefault(trial.recipe or str(trial.number), trial)
    return list(first.values())


def _best_share(matching: Sequence[TrialRecord]) -> float:
    """A tenth, as Optuna has it, unless that is fewer than GOOD trials."""
    return max(0.1, GOOD / len(matching))


def importance_chart(sweep: Material) -> Chart | None:
    found = importances(sweep)
    if not found:
        return None
    matching = _matching(sweep)
    x = axis("importance", tickformat=".0%", range=[0, 1.2 * max(*found.values(), 0.01)], nticks=6)
    caption = (
        f"Optuna's PED-ANOVA: how much each axis decides whether a trial's smallest matching "
        f"{sweep.spec.objective.first} is among the best {_best_share(matching):.0%} "
        f"(n = {len(matching)} matching trials)."
    )
    height = max(220, 90 + 34 * len(found))
    return shares("Importance of each axis", caption, found, x, ".0%", "%{y}: %{x:.1%}", height)


def effects_chart(sweep: Material) -> Chart | None:
    """The size of the smallest matching network by what was picked, an interval for each."""
    found = [group for group in groups(sweep) if group.matching]
    if not found:
        return None
    size = sweep.spec.objective.first
    data = []
    for path, colour in zip(dict.fromkeys(group.axis for group in found), cycle(SERIES), strict=False):
        some = [group for group in found if group.axis == path]
        reach = [(0.0, 0.0) if math.isnan(group.upper) else (group.upper - group.mean, group.mean - group.lower)
                 for group in some]  # fmt: skip
        error = {"type": "data", "symmetric": False, "color": colour, "thickness": 2,
                 "array": [up for up, _ in reach], "arrayminus": [down for _, down in reach]}  # fmt: skip
        names = [f"{_name(path, sweep)}<br>{group.label} ({group.matching}/{group.trials})" for group in some]
        hover = f"{path} %{{y}}<br>%{{x:,.4~g}} {size}"
        data.append(scatter(path, [group.mean for group in some], names, hover, "markers", error_x=error,
                            marker={"size": 9, "color": colour}))  # fmt: skip
    # The view is that of the trials: over two or three, an interval can span the whole axis and more.
    values = [trial.outcome.value for trial in sweep.trials if trial.outcome.value]
    layout = {"xaxis": log_axis(size, [min(values) / 2, max(values) * 2]), "yaxis": names_axis(), "showlegend": False}
    caption = (
        f"Geometric mean of the {UNITS.get(size, size)} of each trial's smallest matching network, with "
        f"{sweep.spec.verify.confidence:.0%} intervals over trials; in brackets, trials that match of those that "
        "picked it, each recipe once. A range is cut in three. The sampler chooses what looks good, so these are no "
        "random samples; an axis whose intervals overlap widely may not have mattered."
    )
    return Chart("Effect of each axis", caption, data, layout, height=max(260, 110 + 44 * len(found)), wide=False)


def _name(path: str, sweep: Material) -> str:
    """The last part of a path, where it is the only one with that end."""
    last = path.rpartition(".")[2]
    return last if sum(one.path.rpartition(".")[2] == last for one in sweep.spec.space) == 1 else path
