"""The page of a rescue in a real browser, opened from disk."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lth_sweep.rescue.result import Rescue
from lth_sweep.sweepfile.spec import SweepSpec
from tests.browser import CUT, EMPTY, OVERLAPPING, SIZES, chromium, keep_page, requests, show

SEEN = """const last = [...document.querySelectorAll('table')].pop().querySelectorAll('tbody tr');
return [...last].map(row => [...row.cells].slice(0, 3)
    .map(cell => [cell.firstChild.textContent, cell.getBoundingClientRect().right <= innerWidth]));"""
"""Of each remedy, the first line of the columns that matter most, and whether they can be read without scrolling."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest.mark.parametrize("size", SIZES)
def test_it_can_be_read(browser, all_tried: tuple[SweepSpec, Path, Rescue], size: str) -> None:
    done = all_tried[2]
    address = (done.folder / "rescue.html").as_uri()
    assert show(browser, address, size) == 2
    keep_page(browser, f"rescue-{size}", SIZES[size][0])
    for flaw in (EMPTY, CUT, OVERLAPPING):
        assert browser.execute_script(flaw) == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= SIZES[size][0]
    rows = browser.execute_script(SEEN)
    assert [row[0][0] for row in rows] == [row.remedy.name for row in done.rows if row.tried]
    assert all(readable for row in rows for _, readable in row)
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    assert [url for url in requests(browser) if not url.startswith(("data:", "blob:", "chrome:"))] == [address]


def test_every_remedy_has_its_points(browser, all_tried: tuple[SweepSpec, Path, Rescue]) -> None:
    """One for each look at it; those far to the left stand at the edge, with their number."""
    done = all_tried[2]
    show(browser, (done.folder / "rescue.html").as_uri(), "desktop")
    looks = [look for row in done.rows for look in (row.first, row.fresh) if look]
    points = browser.execute_script("""const chart = document.getElementById('chart-0');
        const ends = chart.layout.xaxis.range;
        return chart.data.flatMap(trace => trace.x.map((x, i) => [x >= ends[0] && x <= ends[1],
            trace.mode === 'markers' ? x : Number(trace.text[i])]));""")
    assert all(inside for inside, _ in points)
    means = sorted(100 * look.to_dense.mean for look in looks)
    assert sorted(mean for _, mean in points) == pytest.approx(means, abs=0.01)
