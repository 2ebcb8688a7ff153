"""The report: one HTML file with everything in it, for one sweep or several side by side."""

from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from lth_sweep.lottery.common.identity import plain
from lth_sweep.reporting import cost, effects, one_trial, results
from lth_sweep.reporting.answer import answer_section, html_table, recipe
from lth_sweep.reporting.compare import comparison
from lth_sweep.reporting.material import Material, duration
from lth_sweep.reporting.page import Page
from lth_sweep.reporting.paper import Kind, figure
from lth_sweep.sweepfile.space import place

FAILURES = 50
"""As many failed trials are listed."""
KINDS: tuple[Kind, ...] = ("curves", "front", "layers")


def attachments(sweep: Material) -> dict[str, str]:
    """The report and, where there is something to draw, the figures as SVG, for whoever keeps them beside a sweep: file
    name -> text."""
    found = {"report.html": report([sweep])}
    if sweep.shown and sweep.dense:
        with TemporaryDirectory() as folder:
            for kind in KINDS:
                path = Path(folder) / f"{kind}.svg"
                figure(sweep, kind, path)
                found[f"figures/{path.name}"] = path.read_text()
    return found


def report(sweeps: Sequence[Material]) -> str:
    """The file, for at least one sweep. It asks for nothing from outside: its Content-Security-Policy forbids it."""
    page = Page()
    names = ", ".join(sweep.spec.name for sweep in sweeps)
    if len(sweeps) > 1:
        page.add(f"<h1>{escape(names)}</h1>")
        links = " ".join(f'<a href="#{escape(sweep.spec.name)}">{escape(sweep.spec.name)}</a>' for sweep in sweeps)
        table, charts = comparison(sweeps)
        page.add(f"<nav>{links}</nav><h2>Side by side</h2>{table}")
        page.charts(charts)
    for sweep in sweeps:
        _sweep(page, sweep, alone=len(sweeps) == 1)
    return page.html(f"{names}: lottery tickets")


def _sweep(page: Page, sweep: Material, alone: bool) -> None:
    name = escape(sweep.spec.name)
    page.add(f"<h1>{name}</h1>" if alone else f'<h2 class=sweep id="{name}">{name}</h2>')
    counts = Counter(trial.ending or "unfinished" for trial in sweep.trials)
    endings = ", ".join(f"{count} {ending}" for ending, count in sorted(counts.items()))
    page.add(f"<p class=lead>{len(sweep.trials)} of {sweep.spec.search.trials} trials: {endings or 'none yet'}</p>")
    page.add(f"<section class=answer><h2>The answer</h2>{answer_section(sweep.answer, sweep.spec)}</section>")
    if sweep.dense:
        page.add(f"<h2>{results.against(sweep, 'size')}</h2>")
        page.charts([results.curves(sweep), *results.fronts(sweep)])
        mattered = [effects.importance_chart(sweep), effects.effects_chart(sweep)]
        if any(mattered):
            page.add("<h2>What mattered</h2>")
            page.charts(mattered)
            if mattered[0] is None:
                page.add(f"<p class=note>Importances need {effects.FEWEST} matching trials or more.</p>")
        page.add("<h2>The ticket</h2>")
        page.charts(draw(sweep) for draw in (one_trial.layers, one_trial.idle_units, one_trial.ladder,
                                             one_trial.learning))  # fmt: skip
    page.add(f"<h2>Cost</h2>{_tiles(sweep)}")
    if sweep.trials:
        page.charts([cost.steps(sweep), cost.seconds(sweep), cost.timeline(sweep)])
    page.add(_failures(sweep))
    page.add(_recipe(sweep))


def _tiles(sweep: Material) -> str:
    trained, reused, saved = (sum(getattr(trial, f"steps_{name}") for trial in sweep.trials)
                              for name in ("trained", "reused", "saved"))  # fmt: skip
    seconds = sum(trial.seconds for trial in sweep.trials)
    needed = trained + reused + saved or 1
    tiles = {
        "steps trained": f"{trained:,}",
        "steps reused": f"{reused:,} ({reused / needed:.0%})",
        "steps saved by stopping, about": f"{saved:,} ({saved / needed:.0%})",
        "work on trials": duration(seconds),
    }
    return "<div class=tiles>" + "".join(f"<div><b>{value}</b>{name}</div>" for name, value in tiles.items()) + "</div>"


def _failures(sweep: Material) -> str:
    failed = [trial for trial in sweep.trials if trial.ending == "failed"]
    if not failed:
        return "<h2>Failed trials</h2><p>None.</p>"
    rows = [(str(trial.number), escape(recipe(trial.picks)), escape(trial.reason)) for trial in failed[:FAILURES]]
    more = f"<p class=note>and {len(failed) - FAILURES} more</p>" if len(failed) > FAILURES else ""
    return f"<h2>Failed trials</h2>{html_table(('trial', 'recipe', 'reason'), rows, 'words')}{more}"


def _recipe(sweep: Material) -> str:
    parts = ["<h2>Recipe and commands</h2>"]
    if sweep.shown:
        trial = place(sweep.spec.base, sweep.spec.space, sweep.shown.picks)
        text = yaml.safe_dump({"trial": plain(trial)}, sort_keys=False, allow_unicode=True)
        words = "as the <code>trial</code> section of a sweep file; what is left out has its default."
        parts.append(f"<p>{escape(sweep.shown_as)}, {words}</p><pre>{escape(text)}</pre>")
    shown = "\n".join(f"{command}   # {words}" for words, command in sweep.commands.items())
    parts.append(f"<pre>{escape(shown)}</pre>")
    if sweep.spec.text:
        parts.append(f"<details><summary>The sweep file</summary><pre>{escape(sweep.spec.text)}</pre></details>")
    return "".join(parts)
