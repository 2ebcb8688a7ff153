"""The MLflow UI in a real browser, and the command that serves it."""

import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

import mlflow
import pytest

from lth_sweep.orchestration.evidence import answer
from lth_sweep.tracking import locate, serve_ui
from tests.browser import chromium, keep
from tests.reporting.test_browser import EMPTY
from tests.tracking.sweeps import NAME, found, run_trial, start

SECTIONS = ("level", "level/seeds", "training/accuracy", "training/accuracy/seeds", "training/loss", "Model metrics")
EXPAND = """const found = [...document.querySelectorAll('.ag-row button, .ag-row [role=button]')]
        .filter(button => !button.textContent.trim());
    found.forEach(button => button.click()); return found.length;"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


def shows(browser, *words: str) -> str:
    """The text of the page, as soon as it has all these words."""
    text = ""
    for _ in range(80):
        text = browser.execute_script("return document.body ? document.body.innerText : ''")
        if all(word in text for word in words):
            return text
        time.sleep(0.5)
    keep(browser, "missing")
    raise AssertionError(f"{[word for word in words if word not in text]} not on the page:\n{text}")


def wait_for(browser, script: str):
    for _ in range(300):
        if found := browser.execute_script(script):
            return found
        time.sleep(0.1)
    keep(browser, "missing")
    raise AssertionError(script)


def click(browser, words: str) -> None:
    """What has exactly these words."""
    script = (
        f"return [...document.querySelectorAll('*')].filter(one => (one.innerText || '').trim() === {words!r}).at(-1)"
    )
    wait_for(browser, script).click()


def find_parent(client: mlflow.MlflowClient, name: str) -> mlflow.entities.Run:
    runs = client.search_runs([client.get_experiment_by_name(name).experiment_id])
    return next(run for run in runs if "lth.trial_number" not in run.data.tags)


def test_the_run_list_and_a_trial(server, browser, tmp_path):
    listener = start(tmp_path, server.uri, [])
    for number in range(3):
        run_trial(listener, number, levels=6)
    listener.answered(found())
    listener.sweep_ended("finished")
    assert listener.missing == []
    client = mlflow.MlflowClient(server.uri)
    experiment = client.get_experiment_by_name(NAME).experiment_id
    sweep = (tmp_path / NAME / "sweep-id").read_text()
    runs = client.search_runs([experiment], f"tags.`lth.sweep_id` = '{sweep}'")
    trial = next(run.info.run_id for run in runs if run.data.tags.get("lth.trial_number") == "1")
    parent = next(run.info.run_id for run in runs if "lth.trial_number" not in run.data.tags)

    browser.get(f"{server.uri}/#/experiments/{experiment}/runs")
    names = [f"{number:03d} 50.00% rate=0.5 early" for number in range(3)]
    shows(browser, "matching runs", NAME)
    for _ in range(20):  # the rows are drawn anew while they load
        if browser.execute_script(EXPAND):
            break
        time.sleep(0.5)
    shows(browser, *names)
    keep(browser, "runs")
    browser.get(f"{server.uri}/#/experiments/{experiment}/runs/{trial}")
    shows(browser, names[1], "rewind.at", "50 steps", "level/accuracy", "smallest/params", "lth.matched")
    keep(browser, "trial")
    browser.get(f"{server.uri}/#/experiments/{experiment}/runs/{trial}/model-metrics")
    shows(browser, *SECTIONS)
    for _ in range(100):
        if browser.execute_script("return document.querySelectorAll('.js-plotly-plot .scatterlayer .trace').length"):
            break
        time.sleep(0.1)
    else:
        raise AssertionError("no chart is drawn")
    keep(browser, "charts")
    browser.get(f"{server.uri}/#/experiments/{experiment}/runs/{parent}")
    shows(browser, "000 50.00% rate=0.5 early: 500 params", "trials_matching", "space.rate")
    keep(browser, "parent")


def test_the_report_is_drawn_in_the_artifact_view(swept, server, browser):
    spec, _, client = swept
    parent = find_parent(client, spec.name)
    browser.get(f"{server.uri}/#/experiments/{parent.info.experiment_id}/runs/{parent.info.run_id}/artifacts")
    shows(browser, "report.html", "levels.csv", "sweep.yaml", "figures")
    click(browser, "report.html")
    frame = wait_for(browser, "return document.querySelector('iframe')")
    keep(browser, "artifact")
    browser.switch_to.frame(frame)
    try:
        shows(browser, "The answer", "Accuracy against density", "Recipe and commands")
        wait_for(browser, "return document.body.dataset.drawn")
        assert browser.execute_script(EMPTY) == []
    finally:
        browser.switch_to.default_content()
    keep(browser, "artifact-drawn")
    click(browser, "levels.csv")
    shows(browser, "density", "train_accuracy")


def test_the_page_of_the_registered_model(swept, server, browser):
    spec, runs, _ = swept
    found = answer(spec, runs / spec.name)
    browser.get(f"{server.uri}/#/models/lth-{spec.name}")
    shows(browser, f"lth-{spec.name}", "smallest", "Version 1")
    keep(browser, "model")
    browser.get(f"{server.uri}/#/models/lth-{spec.name}/versions/1")
    shows(browser, "verdict", found.verification.verdict.word, found.verification.verdict.sentence[:40])
    keep(browser, "model-version")


def test_serve_ui_takes_a_free_port_and_ends_on_ctrl_c(tmp_path):
    start(tmp_path).sweep_ended("finished")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code = ("import sys, pathlib; from lth_sweep.tracking import locate, serve_ui; "
                "sys.exit(serve_ui(locate(pathlib.Path(sys.argv[1])), port=int(sys.argv[2])))")  # fmt: skip
        ui = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(port)], stdout=subprocess.PIPE, text=True)
        try:
            assert ui.stdout is not None
            first, second = ui.stdout.readline(), ui.stdout.readline()
            used = int(re.fullmatch(rf"Port {port} is taken; using (\d+)\.\n", first)[1])
            assert f"http://127.0.0.1:{used} " in second
            for _ in range(600):
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{used}/health", timeout=1) as answer:
                        assert answer.status == 200
                    break
                except OSError:
                    time.sleep(0.1)
            else:
                raise AssertionError("the UI does not answer")
            ui.send_signal(signal.SIGINT)
            assert ui.wait(30) == 0
            with pytest.raises(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{used}/health", timeout=1)
        finally:
            if ui.poll() is None:
                ui.kill()


def test_a_server_has_a_ui_of_its_own(tmp_path, capsys):
    assert serve_ui(locate(tmp_path, "http://ann:secret@host:5000")) == 0
    assert capsys.readouterr().out == "The MLflow UI is at http://***@host:5000\n"
