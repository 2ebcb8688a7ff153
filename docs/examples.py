"""Make the tables of examples.md from what the sweeps in examples/ have recorded.

python examples/transfer.py
for sweep in examples/*.yaml; do lth-sweep run $sweep; done
python -m docs.examples
"""

import argparse
import re
from pathlib import Path

import pandas as pd

from lth_sweep import Sweep
from lth_sweep.lottery.task import Metric
from lth_sweep.search.verdict import of_values

PAGE = Path(__file__).parent / "examples.md"
EXAMPLES = Path(__file__).parent.parent / "examples"
NAMES = sorted(file.stem for file in EXAMPLES.glob("*.yaml"))


def short(runs: Path) -> str:
    """Of each sweep what its best candidate was on the test split."""
    head = _head("sweep", "metric", "dense", "ticket", "difference, bounds", "margin", "seeds", "params", "verdict")
    return "\n".join([*head, *(_short(name, Sweep.open(runs / name)) for name in NAMES)])


def _short(name: str, sweep: Sweep) -> str:
    best, metric = sweep.best(), sweep.spec.objective.metric
    if best is None:
        return _row(name, metric.name, *["–"] * 6, "no ticket matches in the search")
    assert best.verification is not None, f"{name} has not been verified"
    found, verdict = best.verification, best.verification.verdict
    params = _share(best.ticket.sizes["params"], best.dense.sizes["params"])
    return _row(name, metric.name, metric.show(found.dense.mean), metric.show(found.ticket.mean),
                _difference(metric, verdict.difference, verdict.lower, verdict.upper), metric.show(verdict.margin),
                verdict.seeds, params, verdict.word)  # fmt: skip


def details(sweep: Sweep) -> str:
    """The smallest matching level of each trial, on validation; then what fresh seeds and the test split said."""
    axes = [axis.path for axis in sweep.spec.space]
    head = _head(*axes, "level", "params", "FLOPs", sweep.spec.objective.metric.name, "to dense", "seeds")
    rows = [_row(*(trial[axis] for axis in axes), *_smallest(sweep, trial)) for _, trial in sweep.trials().iterrows()]
    return "\n".join([*head, *rows, "", *_verified(sweep)])


def _smallest(sweep: Sweep, trial: pd.Series) -> list[object]:
    if pd.isna(trial["level"]):
        return ["none matches", *["–"] * 5]
    metric, levels = sweep.spec.objective.metric, sweep.levels().query(f"trial == {trial['trial']}")
    dense, ticket = (levels[levels["level"] == level] for level in (0, trial["level"]))
    sizes = [_share(ticket[size].mean(), dense[size].mean()) for size in ("params", "flops")]
    return [int(trial["level"]), *sizes, metric.show(ticket[metric.name].mean()),
            metric.show_difference(trial["difference"]), len(ticket)]  # fmt: skip


def _verified(sweep: Sweep) -> list[str]:
    best, metric = sweep.best(), sweep.spec.objective.metric
    if best is None:
        return ["No ticket matches in the search, so none was verified."]
    assert best.verification is not None, f"{sweep.spec.name} has not been verified"
    picks = ", ".join(f"{axis} {pick}" for axis, pick in best.picks.items())
    lines = [f"Verified, {picks}, level {best.ticket.level}: {best.verification.verdict.sentence}"]
    for kind, control in best.verification.controls.items():
        lines.append(f"The control {kind} is at {_difference(metric, *control.difference)} to the ticket.")
    return lines


def starts(sweep: Sweep) -> str:
    """Level by level, the network that was pretrained beside the one from scratch, by pairs of seeds."""
    metric, levels = sweep.spec.objective.metric, sweep.levels()
    lines = _head("density", "pretrained", "from scratch", "difference, 95%", "seeds")
    for level, pairs in levels.pivot_table(metric.name, ["level", "seed"], "init").groupby("level"):
        density = levels[levels["level"] == level]["density"].mean()
        interval = of_values((pairs["pretrained"] - pairs["scratch"]).dropna().tolist(), 0.95)
        means = [metric.show(pairs[start].mean()) for start in ("pretrained", "scratch")]
        lines.append(_row(f"{density:.1%}", *means, _difference(metric, *interval), len(pairs)))
    return "\n".join(lines)


def _head(*cells: str) -> list[str]:
    return [_row(*cells), "|---" * len(cells) + "|"]


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _share(size: float, whole: float) -> str:
    return f"{size / whole:.1%}"


def _difference(metric: Metric, mean: float, lower: float, upper: float) -> str:
    mean_, lower_, upper_ = map(metric.show_difference, (mean, lower, upper))
    return f"{mean_} ({lower_} to {upper_})"


def tables(runs: Path) -> dict[str, str]:
    """What stands on the page, by its mark."""
    found = {name: details(Sweep.open(runs / name)) for name in NAMES}
    return {"short": short(runs), **found, "starts": starts(Sweep.open(runs / "transfer"))}


def put(text: str, name: str, table: str) -> str:
    """The text with the table between the two marks of `name`."""
    whole = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    text, count = whole.subn(lambda marks: f"{marks[1]}{table}\n{marks[2]}", text)
    assert count == 1, f"the page needs one <!-- {name} --> and its end"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="the runs folder (default: runs)")
    text = PAGE.read_text()
    for name, table in tables(parser.parse_args().runs).items():
        text = put(text, name, table)
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
