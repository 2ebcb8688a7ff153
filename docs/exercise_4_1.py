"""The table and the figures of docs/exercise-4-1.md, from a run of sweeps/exercise-4-1.yaml:

lth-sweep run sweeps/exercise-4-1.yaml
python docs/exercise_4_1.py
"""

import json
import re
from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

DOCS = Path(__file__).parent
PAGE = DOCS / "exercise-4-1.md"


def main(runs: Path = Path("runs")) -> None:
    [file] = runs.glob("exercise-4-1-rescue-*/rescue.json") if runs.is_dir() else [runs]
    found = json.loads(file.read_text())
    tried = [row for row in found["remedies"] if row["first"] or row["fresh"]]
    text = PAGE.read_text()
    for name, content in (("findings", _findings(found)), ("remedies", _remedies(tried)), ("relu", _relu(found))):
        before, after = re.split(rf"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", text, flags=re.DOTALL)
        text = f"{before}{content}\n{after}"
    PAGE.write_text(text)
    _draw(found, tried)


def _findings(found: dict[str, Any]) -> str:
    rows = "\n".join(f"| {one['cause']} | {one['score']:.2f} | {one['evidence']} |" for one in found["findings"])
    return f"| finding | strength | evidence |\n|---|---|---|\n{rows}"


def _remedies(tried: list[dict[str, Any]]) -> str:
    head = "| remedy | to patient | to dense | fresh: to patient | fresh: to dense | steps trained | verdict |"
    rows = [
        f"| {row['remedy']} | {_look(row['first'])} | {_look(row['fresh'])} | {row['steps_trained']:,} | "
        f"{row['verdict']}{', matches' * row['matches']} |"
        for row in tried
    ]
    return "\n".join([head, "|---" * 7 + "|", *rows])


def _look(effect: dict[str, Any] | None) -> str:
    return " | ".join(_points(effect[name]) for name in ("to_patient", "to_dense")) if effect else " | "


def _points(interval: dict[str, float | None]) -> str:
    mean, lower, upper = (100 * (interval[name] or 0.0) for name in ("mean", "lower", "upper"))
    return f"{mean:+.2f} ({lower:+.2f} to {upper:+.2f})"


def _relu(found: dict[str, Any]) -> str:
    rows = []
    for layer in zip(*found["relu"], strict=True):
        counts = ("units", "dead", "rare", "cut", "both", "by_chance", "ticket_dead", "ticket_rare")
        rows.append(
            f"| {layer[0]['layer']} | " + " | ".join(f"{fmean(one[n] for one in layer):.1f}" for n in counts) + " |"
        )
    names = ("layer", "units", "dead, dense", "rare, dense", "cut, ticket", "both", "both by chance", "dead, ticket",
             "rare, ticket")  # fmt: skip
    head = f"| {' | '.join(names)} |"
    return "\n".join([head, "|---" * 9 + "|", *rows])


def _draw(found: dict[str, Any], tried: list[dict[str, Any]]) -> None:
    figure, axes = plt.subplots(figsize=(8, 0.32 * len(tried) + 1.4), layout="constrained")
    for look, colour, shift in (("first", "#94a3b8", 0.12), ("fresh", "#e8710a", -0.12)):
        known = [(at, row[look]["to_dense"]) for at, row in enumerate(reversed(tried)) if row[look]]
        means = [100 * one["mean"] for _, one in known]
        reach = [100 * ((one["upper"] or one["mean"]) - one["mean"]) for _, one in known]
        label = {"first": "the patient's seeds", "fresh": "fresh seeds"}[look]
        axes.errorbar(
            means, [at + shift for at, _ in known], xerr=reach, fmt="o", ms=5, lw=1, color=colour, label=label
        )
    axes.axvline(-100 * found["margin"], color="#2f80ed", ls="--", lw=1.2, label="the margin")
    axes.axvline(100 * found["difference"]["mean"], color="#475569", ls=":", lw=1.2, label="the patient")
    axes.set_yticks(range(len(tried)), [row["remedy"] for row in reversed(tried)])
    low = min(100 * row[look]["to_dense"]["mean"] for row in tried for look in ("first", "fresh") if row[look])
    edge = max(low, -20) - 3
    axes.set_xlim(edge, 5)
    for at, row in enumerate(reversed(tried)):
        mean = 100 * (row["first"] or row["fresh"])["to_dense"]["mean"]
        if mean < edge:
            axes.annotate(f"{mean:+.1f}", (edge, at), xytext=(18, -3), textcoords="offset points",
                          arrowprops={"arrowstyle": "->", "color": "#94a3b8"}, fontsize=8)  # fmt: skip
    axes.set_xlabel("ticket minus the patient's dense network, points (validation)")
    axes.legend(fontsize=8, loc="upper left")
    figure.savefig(DOCS / "figures" / "exercise-4-1.png", dpi=110)


if __name__ == "__main__":
    main()
