"""A clock that is put back by an hour in the middle."""

import time

import pytest

from lth_sweep.orchestration.records import Records, read
from tests.orchestration.test_records import level
from tests.tracking.sweeps import logged, run_trial, start, store


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What is added to the time, in seconds."""
    ahead, real = [0.0], time.time
    monkeypatch.setattr("lth_sweep.tracking.runs.time", lambda: real() + ahead[0])
    monkeypatch.setattr("lth_sweep.orchestration.records.time.time", lambda: real() + ahead[0])
    return ahead


def test_mlflow_shows_the_last_value_and_no_run_ends_before_it_began(tmp_path, clock):
    for trials, ahead in ((1, 0), (2, -3600)):
        clock[0] = ahead
        listener = start(tmp_path)
        for number in range(trials):
            run_trial(listener, number)
        listener.sweep_ended("finished")
    runs = logged(store(tmp_path))
    assert runs[None].data.metrics["trials"] == 2
    assert len(runs) == 3
    assert all(run.info.end_time >= run.info.start_time for run in runs.values())


def test_no_span_of_work_is_negative(tmp_path, clock):
    records = Records(tmp_path)
    trial = records.start(0, {"rate": 0.25})
    for index, ahead in enumerate((0, -3600, 10)):
        clock[0] = ahead
        trial = records.put_level(trial, level(index))
    [found] = read(tmp_path)
    assert len(found.spans) == 3
    assert all(span.end >= span.start for span in found.spans)
    assert found.seconds >= 0
