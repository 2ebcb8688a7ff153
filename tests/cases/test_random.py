"""Random networks: none crashes, hangs or exports something unequal."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.loop import run
from lth_sweep.lottery.recipe.trial import Runtime, TrialConfig
from lth_sweep.lottery.runs.stages import Store
from lth_sweep.lottery.ticket.export import export
from lth_sweep.lottery.ticket.loading import load_ticket
from lth_sweep.lottery.ticket.ticket import Ticket
from lth_sweep.sweepfile.check import check_trial
from lth_sweep.sweepfile.decode import decode
from tests.cases.graphs import plans
from tests.cases.limits import limited
from tests.cases.test_table import GRANULARITIES, same

calm = settings(deadline=None, database=None, derandomize=True, print_blob=False,
                suppress_health_check=list(HealthCheck))  # fmt: skip


@settings(calm, max_examples=25)
@given(plan=plans)
def test_some(plan: dict[str, Any]) -> None:
    ends_well(plan, ["weight", "coupled"], ["safetensors"])


@pytest.mark.slow
@settings(calm, max_examples=300)
@given(plan=plans)
def test_many(plan: dict[str, Any]) -> None:
    ends_well(plan, [*GRANULARITIES], ["safetensors", "pt2"])


def ends_well(plan: dict[str, Any], granularities: list[str], formats: list[str]) -> None:
    with TemporaryDirectory() as folder, limited():
        store = Store(Path(folder))
        for name in granularities:
            trial = made(plan, GRANULARITIES[name])
            if name != "weight" and not has_units(trial):
                continue
            check_trial(trial)
            *_, (last,) = run(trial, store, Runtime())
            assert last.density < 1
            ticket = Ticket.load(trial, last, store)
            for parameter, mask in ticket.masks.tensors.items():
                assert not ticket.state.model[parameter][~mask].any(), parameter
            out = Path(folder) / "out"
            assert not export(ticket, out, formats).failed
            same(ticket, load_ticket(out))


def has_units(trial: TrialConfig) -> bool:
    try:
        return bool(trial.granularity.layers(trial.network()))
    except ConfigError as error:
        if "no layer of the network has units" not in error.message:
            raise
        return False


def made(plan: dict[str, Any], granularity: Any) -> TrialConfig:
    raw = {
        "data": {"kind": "tests.cases.graphs:Points", "inputs": plan["inputs"]},
        "model": {"kind": "tests.cases.graphs:Made", **json.loads(json.dumps(plan))},
        "train": {"length": "3 steps", "batch": 16, "optimizer": {"kind": "adam", "lr": 0.02}, "evaluate": "3 steps"},
        "granularity": granularity,
        "rate": 0.5,
        "levels": 1,
        "seeds": 1,
    }  # fmt: skip
    trial: TrialConfig = decode(TrialConfig, raw)
    return trial
