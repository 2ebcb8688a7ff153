"""A real browser, without a window and without a network."""

import base64
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SHOTS = os.environ.get("LTH_SWEEP_SHOTS")
"""A folder to keep screenshots in, for people to look at."""


SIZES = {"desktop": (1280, False), "phone": (390, True)}
EMPTY = """return [...document.querySelectorAll('.chart')].filter(chart => {
    const marks = chart.querySelectorAll('.scatterlayer .point, .scatterlayer .js-line, .barlayer .point path');
    return ![...marks].some(mark => mark.getBoundingClientRect().width > 0);
}).map(chart => chart.id);"""
CUT = """return [...document.querySelectorAll('.chart')].flatMap(chart => {
    const box = chart.getBoundingClientRect();
    return [...chart.querySelectorAll('.xtick text, .ytick text, .legendtext, .xtitle, .ytitle, .bartext')]
        .filter(text => { const own = text.getBoundingClientRect();
            return own.left < box.left - 1 || own.right > box.right + 1 || own.bottom > box.bottom + 1; })
        .map(text => chart.id + ': ' + text.textContent);
});"""
OVERLAPPING = """const charts = [...document.querySelectorAll('.chart')];
return charts.flatMap(chart => ['.xtick', '.ytick'].flatMap(ticks => {
    const boxes = [...chart.querySelectorAll(ticks + ' text')].map(text => [text.getBoundingClientRect(), text]);
    return boxes.slice(1).filter(([box], index) => { const before = boxes[index][0];
        return box.left < before.right - 1 && before.left < box.right - 1
            && box.top < before.bottom - 1 && before.top < box.bottom - 1; })
        .map(([, text]) => chart.id + ': ' + text.textContent);
}));"""


@contextmanager
def chromium(profile: Path) -> Iterator:
    """A driver of it, that can reach nothing but this machine; its logs have the console and all requests. Skips the
    test where it is not installed."""
    webdriver = pytest.importorskip("selenium.webdriver")
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (binary and driver):
        pytest.skip("there is no chromium with chromedriver on this machine")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    options.page_load_strategy = "none"  # what is waited for is the words on the page
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    for flag in ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-dev-shm-usage",
                 "disable-background-networking", "disable-component-update", "disable-sync",
                 "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "window-size=1600,1200",
                 f"user-data-dir={profile}"):  # fmt: skip
        options.add_argument(f"--{flag}")
    started = webdriver.Chrome(options, webdriver.ChromeService(driver))
    started.set_script_timeout(20)
    try:
        yield started
    finally:
        started.quit()


def keep(browser, name: str) -> None:
    if SHOTS:
        browser.save_screenshot(str(Path(SHOTS) / f"{name}.png"))


def keep_page(browser, name: str, width: int) -> None:
    """The whole page, however long."""
    if SHOTS:
        height = browser.execute_script("return document.documentElement.scrollHeight")
        clip = {"x": 0, "y": 0, "width": width, "height": min(height, 12_000), "scale": 1}
        shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        (Path(SHOTS) / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))


def show(browser, address: str, size: str) -> int:
    """Open a page as it is on a desktop or a phone; the number of charts, when all are drawn."""
    width, touch = SIZES[size]
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": touch}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": touch})
    browser.get_log("browser"), browser.get_log("performance")  # of the pages before
    browser.get(address)
    for _ in range(300):
        time.sleep(0.1)
        if drawn := browser.execute_script("return document.body && document.body.dataset.drawn"):
            return int(drawn)
    raise AssertionError(f"not drawn; the console says {browser.get_log('browser')}")


def requests(browser) -> list[str]:
    """The addresses that were asked for since a page was shown, its own included."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [message["params"]["request"]["url"] for message in messages
            if message["method"] == "Network.requestWillBeSent"]  # fmt: skip
