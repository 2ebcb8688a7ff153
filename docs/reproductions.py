"""Make the tables of reproductions.md, and its figures, from what the sweeps in sweeps/small have recorded.

    for sweep in sweeps/small/*.yaml; do lth-sweep run $sweep; done
    python docs/reproductions.py

Trains what no sweep does, with the same stages: controls at the tickets' own masks, and twins for the stability figure.
Only validation splits are read.
"""

import argparse
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.ticker import PercentFormatter
from scipy.stats import t

from lth_sweep.lottery.common.duration import Duration
from lth_sweep.lottery.data import Mnist
from lth_sweep.lottery.experiments.controls import Control, control
from lth_sweep.lottery.experiments.stability import stability, stable_from
from lth_sweep.lottery.network.models import Lenet
from lth_sweep.lottery.probes.twins import StabilityRecord
from lth_sweep.lottery.recipe.trial import Runtime, Train, TrialConfig
from lth_sweep.lottery.runs.stages import Store
from lth_sweep.lottery.training.optimizers import SGD
from lth_sweep.orchestration.records import read
from lth_sweep.sweepfile.load import load_spec

HERE = Path(__file__).parent
SWEEPS = HERE.parent / "sweeps" / "small"
CHANCE = 10.0
NOTHING = "-"
ABOUT = 1.0
"""Points within which two accuracies count as about equal."""

Claim = Literal["above", "below", "about equal"]
Accuracies = pd.Series
"""In per cent on the validation split, by seed (and whatever else a pair has in common)."""


@dataclass(frozen=True)
class Row:
    """A published claim, or NOTHING, and the two samples that it is about here."""

    what: str
    published: str
    one: Accuracies
    other: Accuracies
    claim: Claim

    def markdown(self) -> str:
        difference = (self.one - self.other).dropna()
        n, mean = len(difference), difference.mean()
        half = t.ppf(0.975, n - 1) * difference.std() / n**0.5
        low, high = mean - half, mean + half
        cells = [
            self.what, self.published, f"{self.one.mean():.2f}", f"{self.other.mean():.2f}",
            f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]", str(n), self._verdict(low, high),
        ]  # fmt: skip
        return f"| {' | '.join(cells)} |"

    def _verdict(self, low: float, high: float) -> str:
        if self.published == NOTHING:
            return NOTHING
        if self.claim == "about equal":
            if low > -ABOUT and high < ABOUT:
                return "yes"
            return "no" if low > ABOUT or high < -ABOUT else "undecided"
        below, above = high < 0, low > 0
        if not (below or above):
            return "undecided"
        return "yes" if above == (self.claim == "above") else "no, the reverse"


@dataclass(frozen=True)
class Sweep:
    """What a sweep has recorded."""

    name: str
    runs: Path

    @property
    def frame(self) -> pd.DataFrame:
        frame = pd.read_parquet(self.runs / f"small-{self.name}" / "levels.parquet")
        return frame.assign(accuracy=100 * frame["accuracy"])

    def at(self, level: int, *pairs: str, **picks: str | float) -> Accuracies:
        """By seed, and by the axes named in `pairs`; an axis "method.density" is written method_density."""
        frame = self.frame
        for axis, pick in {"level": level, **picks}.items():
            frame = frame[frame[axis.replace("_", ".")] == pick]
        assert len(frame), f"{self.name} has recorded nothing at level {level} with {picks}"
        return frame.set_index([*pairs, "seed"])["accuracy"]

    def density(self, level: int, **picks: str) -> str:
        frame = self.frame
        for axis, pick in {"level": level, **picks}.items():
            frame = frame[frame[axis] == pick]
        return f"{frame['density'].mean():.1%}"

    def control(self, kind: Control, level: int, **picks: str) -> Accuracies:
        """Of controls at the masks of the trial with these picks."""
        spec = load_spec(SWEEPS / f"{self.name}.yaml")
        [trial] = [one for one in read(self.runs / f"small-{self.name}") if dict(one.picks) == picks]
        recipe, store = spec.recipe(trial.picks), Store(self.runs / "stages")
        found = [control(recipe, store, Runtime(), ticket, kind) for ticket in trial.levels[level]]
        return pd.Series({record.seed: 100 * record.metrics["accuracy"] for record in found})


LADDER = {"method": "ladder", "rewind": "init"}
MNIST_SHOTS = {4: "at-20%", 5: "at-13%", 8: "at-4%", 11: "at-1.3%"}
DIGITS_SHOTS = {4: "at-20%", 5: "at-14%", 8: "at-4%", 11: "at-1.5%"}


CLAIMS: dict[int, tuple[str, Claim]] = {
    4: ("above at 21%", "above"),
    5: ("more than 0.3 above at 13.5%; 0.21 above [T]", "above"),
    8: ("back at dense at 3.6%", "about equal"),
    11: ("1.10 below at 1.19% [T]", "below"),
}
"""Of the ticket against dense on MNIST, by level: in words, and what is compared."""


def lenet_mnist(runs: Path) -> Iterator[Row]:
    yield from _lenet(Sweep("lenet-mnist", runs), CLAIMS, MNIST_SHOTS)


def lenet_digits(runs: Path) -> Iterator[Row]:
    claims = {level: (f"{claim} (MNIST)", claim) for level, (_, claim) in CLAIMS.items()}
    yield from _lenet(Sweep("lenet-digits", runs), claims, DIGITS_SHOTS)


def _lenet(sweep: Sweep, claims: dict[int, tuple[str, Claim]], shots: dict[int, str]) -> Iterator[Row]:
    dense = sweep.at(0, **LADDER)
    for level, (text, claim) in claims.items():
        ticket, size = sweep.at(level, **LADDER), sweep.density(level, **LADDER)
        yield Row(f"ticket against dense, {size}", text, ticket, dense, claim)
        control_ = sweep.control("reinit", level, **LADDER)
        yield Row(f"ticket against its masks re-initialised, {size}", "above", ticket, control_, "above")
        yield Row(f"its masks re-initialised against dense, {size}", "below from 21.1% on", control_, dense, "below")
        redrawn = sweep.at(level, method="ladder", rewind="reinit")
        yield Row(f"ticket against a ladder of re-initialised levels, {size}", "above", ticket, redrawn, "above")
        shot = sweep.at(1, method=shots[level])
        yield Row(f"ticket against one-shot, {size}", "above at small sizes", ticket, shot, "above")


def mnist1d(runs: Path) -> Iterator[Row]:
    sweep = Sweep("mnist1d", runs)
    dense = sweep.at(0, rewind="init")
    published = {
        3: ("8.1 above at 9%", "12.2 above at 9%", "above"),
        5: ("2.2 below at 2%", "32.5 above at 2%", "below"),
    }
    for level, (against_dense, against_random, claim) in published.items():
        ticket, size = sweep.at(level, rewind="init"), sweep.density(level, rewind="init")
        yield Row(f"ticket against dense, {size}", against_dense, ticket, dense, claim)  # type: ignore[arg-type]
        random = sweep.control("random", level, rewind="init")
        yield Row(f"ticket against random masks, {size}", against_random, ticket, random, "above")
        reinit = sweep.control("reinit", level, rewind="init")
        yield Row(f"ticket against its masks re-initialised, {size}", "above (MNIST)", ticket, reinit, "above")


def supermask(runs: Path) -> Iterator[Row]:
    sweep = Sweep("supermask", runs)
    for density in ("0.1", "0.3", "0.5"):
        found = {init: sweep.at(1, init=init, method_density=density)
                 for init in ("normal", "constant", "normal-scaled", "constant-scaled")}  # fmt: skip
        size, chance = f"{float(density):.0%}", pd.Series(CHANCE, found["normal"].index)
        yield Row(f"Kaiming normal weights, never trained, against chance, {size}", "above", found["normal"], chance,
                  "above")  # fmt: skip
        yield Row(f"signed constant against Kaiming normal, {size}", "6.9 above at 30% (ResNet-50, ImageNet)",
                  found["constant"], found["normal"], "above")  # fmt: skip
        yield Row(f"the same, both scaled, {size}", NOTHING, found["constant-scaled"], found["normal-scaled"], "above")
        yield Row(f"Kaiming normal, scaled against not, {size}", NOTHING, found["normal-scaled"], found["normal"],
                  "above")  # fmt: skip
        dense = sweep.at(0, init="normal", method_density=density)
        yield Row(f"signed constant against the trained dense network, {size}", "below (Conv-2 to Conv-8)",
                  found["constant"], dense, "below")  # fmt: skip


def filters(runs: Path) -> Iterator[Row]:
    sweep = Sweep("filters", runs)
    dense = sweep.at(0, rewind="fine-tune")
    for level in (1, 2, 3):
        found = {way: sweep.at(level, rewind=way) for way in ("init", "early", "learning-rate", "fine-tune", "scratch")}
        size = f"{0.5**level:.3g} of the units"
        yield Row(
            f"fine-tuned against dense, {size}", "0.15 above (VGG-16 A)", found["fine-tune"], dense, "about equal"
        )
        yield Row(f"fine-tuned against scratch, {size}", "0.28 (VGG-16 A), 1.75 (ResNet-56 B) above",
                  found["fine-tune"], found["scratch"], "above")  # fmt: skip
        yield Row(f"rewound to step 50 against fine-tuned, {size}", "above (weights, ResNet-20)", found["early"],
                  found["fine-tune"], "above")  # fmt: skip
        yield Row(f"rewound to step 50 against scratch, {size}", NOTHING, found["early"], found["scratch"], "above")
        yield Row(f"learning rate rewound against fine-tuned, {size}", "above (weights, ResNet-20)",
                  found["learning-rate"], found["fine-tune"], "above")  # fmt: skip


def rewinding(runs: Path) -> Iterator[Row]:
    sweep = Sweep("rewinding", runs)
    dense = sweep.at(0, rewind="init")
    for level in (5, 8):
        ways = ("init", "step-25", "step-100", "learning-rate", "fine-tune")
        found = {way: sweep.at(level, rewind=way) for way in ways}
        size = sweep.density(level, rewind="init")
        yield Row(f"fine-tuned against dense, {size}", "2.75 below", found["fine-tune"], dense, "below")
        yield Row(
            f"weights to 0 against early k = 100, {size}", "3.86 below", found["init"], found["step-100"], "below"
        )
        yield Row(f"early k = 25 against k = 100, {size}", "below where k is not stable yet", found["step-25"],
                  found["step-100"], "below")  # fmt: skip
        yield Row(
            f"early k = 100 against fine-tuned, {size}", "2.43 above", found["step-100"], found["fine-tune"], "above"
        )
        yield Row(f"learning rate against fine-tuned, {size}", "2.50 above", found["learning-rate"], found["fine-tune"],
                  "above")  # fmt: skip
        yield Row(f"learning rate against early k = 100, {size}", "0.07 above", found["learning-rate"],
                  found["step-100"], "about equal")  # fmt: skip


def initialisations(runs: Path) -> Iterator[Row]:
    sweep = Sweep("initialisations", runs)
    for level in (2, 3, 4):
        found = {start: sweep.at(level, "init", rewind=start) for start in ("init", "signs", "shuffle", "reinit")}
        size = f"{sweep.density(level, rewind='init')}, all initialisations"
        yield Row(f"signs of w_0 against w_0, {size}", "about equal", found["signs"], found["init"], "about equal")
        yield Row(f"shuffled w_0 against w_0, {size}", "below", found["shuffle"], found["init"], "below")
        yield Row(f"another draw against w_0, {size}", "below", found["reinit"], found["init"], "below")
    for name in load_spec(SWEEPS / "initialisations.yaml").space[0].domain.options:  # type: ignore[union-attr]
        one, other = (sweep.at(3, init=name, rewind=start) for start in ("init", "reinit"))
        yield Row(f"w_0 against another draw, {name}, {sweep.density(3, rewind='init')}", "above", one, other, "above")


TABLES: dict[str, Callable[[Path], Iterator[Row]]] = {
    "lenet-mnist": lenet_mnist,
    "lenet-digits": lenet_digits,
    "mnist1d": mnist1d,
    "supermask": supermask,
    "filters": filters,
    "rewinding": rewinding,
    "initialisations": initialisations,
}
HEAD = "| what | published | one | other | difference, 95% | n | holds |\n|---|---|---|---|---|---|---|"


def draw_tickets(runs: Path) -> None:
    """Accuracy against density, for tickets and what they are compared with; bands are the range over the seeds."""
    figure, panels = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    names = {"lenet-mnist": "LeNet-300-100, MNIST", "lenet-digits": "LeNet-300-100, digits", "mnist1d": "MLP, MNIST-1D"}
    for panel, (name, title) in zip(panels, names.items(), strict=True):
        sweep = Sweep(name, runs)
        frame = sweep.frame
        for start, label, colour in (("init", "ticket", "C0"), ("reinit", "re-initialised ladder", "C1")):
            ladder = frame[frame["rewind"] == start].groupby("level")
            density, accuracy = ladder["density"].mean(), ladder["accuracy"]
            panel.plot(density, accuracy.mean(), "o-", color=colour, label=label, markersize=4)
            panel.fill_between(density, accuracy.min(), accuracy.max(), color=colour, alpha=0.15, linewidth=0)
        if "method" in frame:
            shots = frame[(frame["method"] != "ladder") & (frame["level"] == 1)].groupby("method")
            panel.plot(shots["density"].mean(), shots["accuracy"].mean(), "s", color="C2", label="one-shot")
        picks = LADDER if "method" in frame else {"rewind": "init"}
        levels = list(MNIST_SHOTS) if "method" in frame else [3, 5]
        kept = frame[frame["rewind"] == "init"].groupby("level")["density"].mean()
        again = [sweep.control("reinit", level, **picks).mean() for level in levels]
        panel.plot(kept[levels], again, "x", color="C3", label="ticket's masks, re-initialised")
        panel.axhline(frame[frame["level"] == 0]["accuracy"].mean(), color="grey", linestyle=":", label="dense")
        panel.set(title=title, xscale="log", xlabel="weights kept", ylabel="validation accuracy, %")
        panel.invert_xaxis()
        panel.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    panels[0].legend(loc="lower left")
    figure.savefig(HERE / "figures" / "tickets.png", dpi=110)


STABILITY = {
    "LeNet-300-100, MNIST, Adam 0.0012, 2,000 steps": (
        TrialConfig(data=Mnist(), model=Lenet(), train=Train(length=Duration(2000, "steps"))),
        (0, 100, 500, 1000),
    ),
    "64-300-100-10, digits, SGD 0.3 with momentum 0.9, 600 steps": (
        TrialConfig(train=Train(optimizer=SGD(0.3, 0.9)), seeds=5),
        (0, 10, 25, 50, 100, 150, 200, 300, 400, 500),
    ),
}


def draw_stability(runs: Path) -> str:
    """The figure of barriers against k; returns its numbers as a table."""
    figure, panels = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    head = "| network | n | stable from | barrier in points on validation, mean [lowest, highest], by k |"
    lines = [head, "|---|---|---|---|"]
    for panel, (title, (trial, steps)) in zip(panels, STABILITY.items(), strict=True):
        records = stability(trial, Store(runs / "stages"), Runtime(), [Duration(step, "steps") for step in steps])
        barriers = {step: _barriers(records, step) for step in steps}
        means = [sum(found) / len(found) for found in barriers.values()]
        panel.plot(steps, means, "o-", markersize=4)
        panel.fill_between(
            steps, [*map(min, barriers.values())], [*map(max, barriers.values())], alpha=0.2, linewidth=0
        )
        panel.axhline(2, color="grey", linestyle=":", label="stable below 2 points")
        panel.set(title=title, xlabel="k, the step at which the twins part", ylabel="error barrier, points")
        panel.title.set_fontsize(10)
        texts = [f"{step}: {mean:.2f} [{min(found):.2f}, {max(found):.2f}]"
                 for mean, (step, found) in zip(means, barriers.items(), strict=True)]  # fmt: skip
        lines.append(f"| {title} | {len(trial.seed_list)} | {stable_from(records)} | {'; '.join(texts)} |")
    panels[0].legend()
    figure.savefig(HERE / "figures" / "stability.png", dpi=110)
    return "\n".join(lines)


def _barriers(records: Sequence[StabilityRecord], step: int) -> list[float]:
    return [100 * record.barriers["validation"] for record in records if record.step == step]


def put(page: Path, name: str, table: str) -> None:
    """Replace what is between the two marks of `name`."""
    text, count = re.subn(
        rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", lambda marks: f"{marks[1]}{table}\n{marks[2]}", page.read_text(),
        flags=re.DOTALL,
    )  # fmt: skip
    assert count == 1, f"{page} needs one <!-- {name} --> and its end"
    page.write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="the runs folder (default: runs)")
    every = [*TABLES, "tickets", "stability"]
    parser.add_argument("--only", choices=every, nargs="*", default=every, help="these tables and figures")
    options = parser.parse_args()
    page = HERE / "reproductions.md"
    for name in options.only:
        if name == "tickets":
            draw_tickets(options.runs)
        elif name == "stability":
            put(page, name, draw_stability(options.runs))
        else:
            put(page, name, "\n".join([HEAD, *(row.markdown() for row in TABLES[name](options.runs))]))


if __name__ == "__main__":
    main()
