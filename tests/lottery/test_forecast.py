"""The bound, against the sizes of real ladders."""

from dataclasses import replace
from itertools import pairwise

import pytest

from lth_sweep.lottery.common.duration import Duration
from lth_sweep.lottery.loop import run
from lth_sweep.lottery.network.models import Mlp
from lth_sweep.lottery.pruning.granularity import NOfM, Unit, Weight
from lth_sweep.lottery.recipe.forecast import smallest
from lth_sweep.lottery.recipe.methods import EdgePopup, OneShot
from lth_sweep.lottery.recipe.trial import Runtime, Train, TrialConfig
from lth_sweep.lottery.runs.stages import Store

SHORT = TrialConfig(model=Mlp(hidden=(21, 10)), train=Train(length=Duration(3, "steps")), rate=0.35, levels=5, seeds=1)
EXACT = {
    "weights": SHORT,
    "weights, spared layer": replace(SHORT, layer_rates={"output": 0.0}),
    "units": replace(SHORT, granularity=Unit()),
    "one-shot": replace(SHORT, method=OneShot(density=0.1)),
    "one-shot units": replace(SHORT, method=OneShot(density=0.3), granularity=Unit()),
    "edge-popup": replace(SHORT, method=EdgePopup(density=0.3)),
    "n:m": replace(SHORT, granularity=NOfM()),
}


def reached(trial, folder, size):
    found = [level[0].sizes[size] for level in run(trial, Store(folder), Runtime())]
    assert all(before >= after for before, after in pairwise(found))
    return found[-1]


@pytest.mark.parametrize("name", EXACT)
def test_within_layers_it_is_exact(tmp_path, name):
    for size in ("params", "flops"):
        assert smallest(EXACT[name], size) == reached(EXACT[name], tmp_path, size)
    bound, size = smallest(EXACT[name], "bytes"), reached(EXACT[name], tmp_path, "bytes")
    assert 0 < bound <= size


def test_across_layers_it_is_exact_for_params_and_below_for_the_others(tmp_path):
    trial = replace(SHORT, scope="global")
    assert smallest(trial, "params") == reached(trial, tmp_path, "params")
    for size in ("flops", "bytes"):
        assert 0 < smallest(trial, size) <= reached(trial, tmp_path, size)


def test_where_nothing_is_known_it_is_nothing():
    assert smallest(replace(SHORT, scope="global", granularity=Unit()), "params") == 0
    assert smallest(SHORT, "latency") == 0

    class Own(Weight):
        pass

    assert smallest(replace(SHORT, granularity=Own()), "params") == 0
