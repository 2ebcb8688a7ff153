"""A page: one HTML file with everything in it."""

from collections.abc import Iterable
from html import escape
from importlib import resources
from pathlib import Path

from lth_sweep.disk import write_whole
from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.reporting.charts import Chart


class Page:
    """The body so far, and the charts that its figures are drawn from."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.named: dict[str, Chart] = {}

    def add(self, html: str) -> None:
        self.parts.append(html)

    def charts(self, charts: Iterable[Chart | None]) -> None:
        """Figures, two in a row where they are not wide; those that there is nothing to draw in are left out."""
        figures = []
        for chart in charts:
            if chart is not None:
                name = f"chart-{len(self.named)}"
                self.named[name] = chart
                figures.append(
                    f"<figure{' class=wide' * chart.wide}><h3>{escape(chart.title)}</h3>"
                    f'<div class=chart id="{name}" style="height:{chart.height}px"></div>'
                    f"<figcaption>{escape(chart.caption)}</figcaption></figure>"
                )
        if figures:
            self.add(f"<div class=charts>{''.join(figures)}</div>")

    def html(self, title: str) -> str:
        """The whole file. It asks for nothing from outside: its Content-Security-Policy forbids it."""
        from plotly.offline import get_plotlyjs

        parts = {
            "title": escape(title),
            "body": "\n".join(self.parts),
            "plotly": get_plotlyjs(),
            "charts": "{" + ",".join(f'"{name}":{chart.to_json()}' for name, chart in self.named.items()) + "}",
        }
        # One pass, so that what is put in is never searched.
        first, *others = (resources.files(__package__) / "page.html").read_text().split("{{")
        return first + "".join(parts[name] + rest for name, _, rest in (piece.partition("}}") for piece in others))


def save(html: str, path: Path) -> None:
    """Write the file, whole or not at all. Raises ConfigError where it cannot be written."""
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; name a file", "--out")
    try:
        write_whole(path, html)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}; choose another file", "--out") from error
