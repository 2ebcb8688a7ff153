"""What may help a poor ticket: changes of its recipe, in the order of their cost, led by what was found.

The remedies are those of the literature: later rewinding (Frankle et al. 2019), learning-rate rewinding and fine-tuning
(Renda et al. 2020), warm-up and a lower rate (Frankle & Carbin 2018, section 4), gentler pruning, what competes with
what, other initial weights (Zhou et al. 2019), other scores, longer training, supermasks (Ramanujan et al. 2020).
Whatever the change, the ladder ends as near to the patient's density as counts allow.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lth_sweep.lottery.common.duration import Duration
from lth_sweep.lottery.recipe.forecast import Forecast
from lth_sweep.lottery.recipe.methods import Iterative
from lth_sweep.lottery.recipe.trial import TrialConfig
from lth_sweep.rescue.examine import later_steps
from lth_sweep.rescue.findings import Cause, Finding
from lth_sweep.rescue.patient import changed_recipe
from lth_sweep.sweepfile.decode import decode

Change = Mapping[str, Any]
"""Dotted path of a field of the trial -> its value, as one would write it."""
PRUNED = {"scope", "layer_rates", "granularity"}
"""Fields that say what is pruned: with the same rate, another one ends at another density."""


@dataclass(frozen=True)
class Remedy:
    name: str
    words: str
    """What is changed, to stand after "try to"."""
    change: Change
    causes: tuple[Cause, ...] = ()
    """The findings that it addresses."""
    why: str = ""
    """Why it is tried."""


def remedies(written: Mapping[str, Any], density: float, found: Sequence[Finding], stable: int | None) -> list[Remedy]:
    """All that fit a recipe: first those that address the strongest findings, the cheaper of equals first.

    `written` is the recipe as a file has it, `density` that of its last level, `stable` the first stable step; where
    none of those tried is, the latest are rewound to.
    """
    recipe = decode(TrialConfig, written)
    ladder = Forecast(recipe)
    scores = {finding.cause: finding.score for finding in found}
    fitting: list[tuple[float, Remedy]] = []
    for one in _all(recipe, ladder, density, stable):
        change = _reaching(density, ladder, written, one.change)
        if change and changed_recipe(written, change) not in (None, recipe):
            known = [cause for cause in one.causes if cause in scores]
            cause = max(known, key=lambda cause: scores[cause], default=None)
            why = f"found: {cause}" if cause else "next in the order of cost"
            fitting.append((scores[cause] if cause else 0.0, replace(one, change=change, why=why)))
    return [one for _, one in sorted(fitting, key=lambda pair: -pair[0])]


def _reaching(density: float, ladder: Forecast, written: Mapping[str, Any], change: Change) -> Change | None:
    """Where it changes what is pruned, with the rate that ends at the same density in as many levels; None where there
    is no such rate. Methods without a rate have a density of their own."""
    trial = changed_recipe(written, change)
    if not trial or not trial.method.goes_by_rate or "rate" in change or not PRUNED & set(change):
        return change
    rate = ladder.like(trial).rate(density)
    return {**change, "rate": rate} if rate else None


def _all(recipe: TrialConfig, ladder: Forecast, density: float, stable: int | None) -> Iterator[Remedy]:
    """In the order of cost (exercise 4-1): where to go on from, training, what is pruned, what it starts from, scores,
    and last what is another way altogether."""
    if ladder.start.change:
        yield Remedy("original-weights", "start the ticket from the initial weights that its dense network had",
                     {"rewind": "init"}, ("no better than controls", "does not fit"))  # fmt: skip
    yield from _rewinding(recipe, ladder, stable)
    yield from _training(recipe)
    yield from _pruning(recipe, ladder, density)
    yield from _others(recipe, density)


def _rewinding(recipe: TrialConfig, ladder: Forecast, stable: int | None) -> Iterator[Remedy]:
    now, end = ladder.start.first, ladder.clock.length
    at = min(now, end)
    steps = later_steps(ladder.clock, 0 if now >= end else now)
    steps = steps[-2:] if stable is None else [step for step in steps if step >= stable]
    for name, k in zip(("rewind-later", "rewind-much-later"), steps, strict=False):
        if k < end:
            yield Remedy(name, f"rewind to step {k} of {end} instead of {at}",
                         {"rewind": {"kind": "step", "at": f"{k} steps"}},
                         ("unstable", "no better than controls", "does not fit"))  # fmt: skip
    yield Remedy("learning-rate-rewinding", "keep the trained weights and rewind the learning rate",
                 {"rewind": "learning-rate"}, ("unstable", "does not fit", "no better than controls"))  # fmt: skip
    yield Remedy("fine-tuning", "keep the trained weights and train on at the last learning rate",
                 {"rewind": "fine-tune"}, ("unstable", "does not fit"))  # fmt: skip


def _training(recipe: TrialConfig) -> Iterator[Remedy]:
    lr = recipe.train.optimizer.lr
    yield Remedy("warm-up", "warm the learning rate up over the first fifth of training",
                 {"train.schedule.warmup": "20%"}, ("learns nothing", "unstable", "dead units"))  # fmt: skip
    yield Remedy("lower-rate", f"train at a third of the learning rate, {lr / 3:.3g}",
                 {"train.optimizer.lr": float(f"{lr / 3:.3g}")},
                 ("learns nothing", "unstable", "dead units"))  # fmt: skip
    longer = Duration(2 * recipe.train.length.amount, recipe.train.length.unit)
    yield Remedy("longer", f"train twice as long, {longer}", {"train.length": str(longer)},
                 ("under-trained", "does not fit"))  # fmt: skip


def _pruning(recipe: TrialConfig, ladder: Forecast, density: float) -> Iterator[Remedy]:
    if recipe.granularity.density is not None:
        return
    levels = recipe.method.levels(recipe)
    gentler = replace(recipe, method=Iterative(), levels=max(2 * levels, 2))
    if rate := ladder.like(gentler).rate(density):
        method = {} if recipe.method.goes_by_rate else {"method": "iterative"}
        yield Remedy("gentler", f"prune {rate:.1%} a level, in {gentler.levels} levels instead of {levels}",
                     {**method, "rate": rate, "levels": gentler.levels}, ("cut off", "does not fit"))  # fmt: skip
    scope, where = ("layer", "per layer") if recipe.scope == "global" else ("global", "across layers")
    yield Remedy(f"{scope}-scope", f"let weights compete {where}", {"scope": scope}, ("cut off",))
    names = list(ladder.network.layers)
    for name, layer in (("spare-output", names[-1]), ("spare-first", names[0])):
        rates = {**recipe.layer_rates, layer: 0.0}
        yield Remedy(name, f"leave layer {layer} unpruned", {"layer_rates": rates}, ("cut off",))


def _others(recipe: TrialConfig, density: float) -> Iterator[Remedy]:
    if recipe.rewind.kind != "signs":
        yield Remedy("signs", "start the ticket from the signs of its initial weights alone", {"rewind": "signs"})
    if recipe.rewind.kind == "init":
        yield Remedy("another-draw", "start the ticket from another draw of the weights", {"rewind": "reinit"},
                     ("no better than controls",))  # fmt: skip
    for init in ("xavier-normal", "kaiming-normal"):
        yield Remedy(f"init-{init}", f"draw the initial weights by {init}", {"init": init}, ("dead units",))
    for criterion in ("magnitude", "magnitude-increase", "synflow"):
        yield Remedy(f"score-{criterion}", f"score weights by {criterion}", {"criterion": criterion},
                     ("cut off",) if criterion == "synflow" else ())  # fmt: skip
    if recipe.granularity.kind == "unit":
        yield Remedy("weights", "prune single weights instead of units", {"granularity": "weight"}, ("cut off",))
    if recipe.method.trains_weights:
        yield Remedy("supermask", "learn which of the initial weights to keep, and never train them",
                     {"method": {"kind": "edge-popup", "density": round(density, 6)}, "criterion": "magnitude",
                      "granularity": "weight", "scope": "layer", "rewind": "init", "layer_rates": {}})  # fmt: skip
