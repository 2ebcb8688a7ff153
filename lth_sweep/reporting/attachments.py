"""The report and the figures as texts, for whoever keeps them beside a sweep."""

from pathlib import Path
from tempfile import TemporaryDirectory

from lth_sweep.reporting.material import Material
from lth_sweep.reporting.paper import Kind, figure
from lth_sweep.reporting.report import report

KINDS: tuple[Kind, ...] = ("curves", "front", "layers")


def attachments(sweep: Material) -> dict[str, str]:
    """File name -> text: the report, and where there is something to draw, the figures as SVG."""
    found = {"report.html": report([sweep])}
    if sweep.shown and sweep.dense:
        with TemporaryDirectory() as folder:
            for kind in KINDS:
                path = Path(folder) / f"{kind}.svg"
                figure(sweep, kind, path)
                found[f"figures/{path.name}"] = path.read_text()
    return found
