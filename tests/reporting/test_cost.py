from dataclasses import replace

from lth_sweep.lottery.records import Level
from lth_sweep.orchestration.records import Records, read
from lth_sweep.reporting.cost import steps, timeline, workers
from lth_sweep.search.trial import Outcome, Span
from tests.reporting.conftest import record, trial


def spans(number, *pieces):
    return trial(number, spans=tuple(Span(level, *piece) for level, piece in enumerate(pieces)))


def test_work_is_laid_into_as_few_rows_as_it_fits():
    rows = workers([spans(0, (0, 10), (10.2, 20)), spans(1, (5, 30)), spans(2, (20.5, 40)), spans(3, (30, 31))])
    assert [[number for number, _ in row] for row in rows] == [[0, 2], [1, 3]]
    assert rows[0][0][1] == Span(1, 0, 20)


def test_an_interrupted_trial_has_two_pieces():
    rows = workers([spans(0, (0, 10), (500, 520)), spans(1, (10, 490))])
    assert [[(number, span.start, span.end) for number, span in row] for row in rows] == [
        [(0, 0, 10), (1, 10, 490), (0, 500, 520)]
    ]


def test_short_trials_at_the_same_time_are_two_workers():
    assert len(workers([spans(0, (0, 0.4)), spans(1, (0.1, 0.5))])) == 2


def test_nothing_is_drawn_where_no_times_are_known(many):
    unknown = [replace(trial, spans=()) for trial in many.trials]
    assert timeline(replace(many, trials=unknown)) is None
    lanes = {lane for trace in timeline(many).data for lane in trace["y"]}
    assert lanes == {"worker 1", "worker 2", "worker 3", "worker 4"}


def test_the_records_know_when_a_level_was_worked_on(tmp_path, monkeypatch):
    records, now = Records(tmp_path), [1000.0]
    monkeypatch.setattr("lth_sweep.orchestration.records.time.time", lambda: now[0])
    one = records.start(0, {})
    now[0] = 1010.0
    one = records.put_level(one, Level([record(0, seed=0)]))
    now[0] = 1020.0
    records.put_level(one, Level([record(0, seed=0), record(0, seed=1)]))
    assert read(tmp_path)[0].spans == (Span(0, 1008.0, 1010.0), Span(0, 1018.0, 1020.0))


def test_steps_are_those_of_the_records(many):
    stopped = trial(0, (0.9, 0.9), (0.8, 0.9), outcome=Outcome(None, 0.1, None), steps_saved=700)
    data = {trace["name"]: trace["y"] for trace in steps(replace(many, trials=[stopped])).data}
    assert data == {"trained": [400], "reused": [20], "saved by stopping": [700]}
