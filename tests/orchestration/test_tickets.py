from dataclasses import replace

import pytest

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.records import Level
from lth_sweep.lottery.task import LOSS
from lth_sweep.orchestration.records import Records
from lth_sweep.orchestration.tickets import choose
from tests.orchestration.simulated import record
from tests.orchestration.specs import sweep


def test_of_a_level_the_network_is_chosen_that_is_best_by_the_objectives_metric(tmp_path):
    spec = sweep()
    recipe, records = spec.recipe({"rate": 0.25}), Records(tmp_path / spec.name)
    found = [
        replace(record(recipe, 0, seed), metrics={"accuracy": accuracy, "loss": loss})
        for seed, accuracy, loss in ((0, 0.7, 0.2), (1, 0.9, 0.6), (2, 0.8, 0.4))
    ]
    records.put_level(records.start(0, {"rate": 0.25}), Level(found))
    for metric, seed in ((spec.objective.metric, 1), (LOSS, 0)):
        by = replace(spec, objective=replace(spec.objective, metric=metric))
        assert choose(by, tmp_path, 0, 0).record.seed == seed
    assert choose(spec, tmp_path, 0, 0, 2).record.seed == 2
    for which, message in (
        ((), "trial: no trial matches, so there is no answer to export"),
        ((1,), "trial: there is no trial 1; the sweep has 1, from 0"),
        ((0,), "level: no level of trial 0 matches; name one"),
        ((0, 1), "level: trial 0 has no level 1; it has 1, from 0"),
        ((0, 0, 7), "seed: trial 0 has no seed 7; it has 0, 1, 2"),
    ):
        with pytest.raises(ConfigError, match=message):
            choose(spec, tmp_path, *which)
