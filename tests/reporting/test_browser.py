"""The report in a real browser, opened from disk."""

import time
from collections.abc import Iterator

import pytest

from lth_sweep.reporting.report import report
from tests.browser import CUT, EMPTY, OVERLAPPING, SIZES, chromium, keep_page, requests, show

SHADES = {"light": "rgb(28, 36, 48)", "dark": "rgb(228, 232, 238)"}
"""Of the text."""
HIDDEN = """return [...document.querySelectorAll('.answer .scroll, pre')]
    .filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.textContent);"""
"""What can only be read by scrolling sideways."""
COLOURS = """return [...new Set([...document.querySelectorAll('.chart .xtick text')]
    .map(text => getComputedStyle(text).fill))];"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest.fixture(scope="module")
def pages(many, few, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Addresses of the report of one sweep, and of two."""
    folder = tmp_path_factory.mktemp("pages")
    sweeps = {"one": [many], "two": [many, few]}
    for name, some in sweeps.items():
        (folder / f"{name}.html").write_text(report(some))
    return {name: (folder / f"{name}.html").as_uri() for name in sweeps}


@pytest.mark.parametrize("size", SIZES)
def test_it_can_be_read(browser, pages, size):
    assert show(browser, pages["one"], size) == 13
    assert browser.execute_script(EMPTY) == []
    assert browser.execute_script(CUT) == []
    assert browser.execute_script(OVERLAPPING) == []
    assert size != "phone" or browser.execute_script(HIDDEN) == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= SIZES[size][0]
    for shade, colour in SHADES.items():
        media = [{"name": "prefers-color-scheme", "value": shade}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
        keep_page(browser, f"report-{size}-{shade}", SIZES[size][0])
        assert browser.execute_script(COLOURS) == [colour]


def test_no_error_and_no_request(browser, pages):
    assert show(browser, pages["two"], "desktop") == 26
    assert browser.execute_script(EMPTY) == []
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    asked = requests(browser)
    assert pages["two"] in asked
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:", "chrome:"))] == []
    assert [url for url in asked if url.startswith("file:") and url != pages["two"]] == []


def test_a_point_says_what_it_is(browser, pages, many):
    show(browser, pages["one"], "desktop")
    browser.execute_script("""const chart = document.getElementById('chart-0');
        const best = chart.data.findIndex(trace => trace.name.startsWith('the answer'));
        Plotly.Fx.hover(chart, [{curveNumber: best, pointNumber: 1}]);""")
    for _ in range(50):
        if text := browser.execute_script("return document.querySelector('#chart-0 .hoverlayer').textContent"):
            break
        time.sleep(0.1)
    point = many.means[many.answer.trial][1]
    assert text.startswith(f"trial {many.answer.trial}, level 1{point.value:.2%} ± {point.spread:.2%} (sd), n = 3rate ")
    assert text.endswith(f"{point.density:.2%} of the weights")
