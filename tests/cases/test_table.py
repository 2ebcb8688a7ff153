"""Network x granularity: it trains, what is pruned is zero and counted, and the exported ticket computes the same."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lth_sweep.lottery.data.batch import call
from lth_sweep.lottery.loop import run
from lth_sweep.lottery.network.structure import Network
from lth_sweep.lottery.recipe.trial import Runtime
from lth_sweep.lottery.records import LevelRecord
from lth_sweep.lottery.runs.stages import Store
from lth_sweep.lottery.ticket.export import export
from lth_sweep.lottery.ticket.loading import load_ticket
from lth_sweep.lottery.ticket.plain import TOLERANCE, difference
from lth_sweep.lottery.ticket.ticket import Ticket
from lth_sweep.sweepfile.check import check_trial
from tests.cases.limits import limited
from tests.cases.table import CASES, Case

GRANULARITIES: dict[str, Any] = {"weight": "weight", "unit": "unit", "coupled": {"kind": "unit", "coupled": True}}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One for all, so that a network is trained dense once."""
    threads = torch.get_num_threads()
    yield Store(tmp_path_factory.mktemp("stages"))
    torch.set_num_threads(threads)


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_all_is_right(case: Case, granularity: str, store: Store, tmp_path: Path) -> None:
    with limited():
        is_right(case, granularity, store, tmp_path)


def is_right(case: Case, granularity: str, store: Store, folder: Path) -> None:
    trial = case.trial(GRANULARITIES[granularity])
    wanted = {"weight": "", "unit": case.units, "coupled": f"{case.units} {case.coupled}"}[granularity].split()
    if granularity != "weight" and not wanted:
        assert [level[0].level for level in run(trial, store, Runtime())] == [0]  # there is nothing to remove
        return
    check_trial(trial)
    network = trial.network()
    assert set(network.weights) == set(case.weights.split())
    assert set(network.left) >= set(case.left.split())
    levels = [level[0] for level in run(trial, store, Runtime())]
    assert [record.level for record in levels] == [0, 1, 2]
    for record in levels:
        counted(case, network, Ticket.load(trial, record, store), record)
    ticket = Ticket.load(trial, levels[-1], store)
    export(ticket, folder, ["safetensors"])
    loaded = load_ticket(folder)
    same(ticket, loaded)
    with torch.no_grad():
        assert call(loaded, ticket.splits.example).std(0).min() > 0
    kept = smaller(ticket.module, loaded)
    assert all(kept[layer] < 1 for layer in wanted), kept
    assert all(kept[layer] == 1 for layer in case.whole.split()), kept


def counted(case: Case, network: Network, ticket: Ticket, record: LevelRecord) -> None:
    """What is not kept is zero, and all is counted: each parameter once, whatever it is of."""
    masks = network.full.replace(ticket.masks.tensors)
    for name, mask in masks.tensors.items():
        assert not ticket.state.model[name][~mask].any(), name
        assert ticket.module.get_parameter(name)[mask].any() or mask.ndim == 1, name
    weights = [masks[name] for name in network.weights.values()]
    assert record.density == sum(mask.count_nonzero() for mask in weights) / sum(mask.numel() for mask in weights)
    assert (record.density < 1) == (record.level > 0)
    unused = tuple(f"{layer}." for layer in case.unused.split())
    used = {name: p for name, p in ticket.module.named_parameters() if not (unused and name.startswith(unused))}
    assert record.sizes["params"] == sum(
        int(masks[name].count_nonzero()) if name in masks else p.numel() for name, p in used.items()
    )
    assert record.sizes["flops"] > 0


def same(ticket: Ticket, loaded: nn.Module) -> None:
    """On test data, in batches of one and of many."""
    x = ticket.splits.test().first(50).x
    with torch.no_grad():
        expected = call(ticket.module, x)
        found = [call(loaded, x[:1]), call(loaded, x[1:])]
    assert difference(torch.cat(found), expected) < TOLERANCE


def smaller(module: nn.Module, compact: nn.Module) -> dict[str, float]:
    """Layer or parameter -> the share of its outputs that the compact network has."""

    def outputs(part: nn.Module, name: str, weight: torch.Tensor) -> int:
        made = 1 if isinstance(part, nn.ConvTranspose2d | nn.Embedding) and name == "weight" else 0
        return weight.shape[made] if weight.ndim else 1

    found = {}
    for path, after in compact.named_modules():
        before = module.get_submodule(path)
        for name, weight in after.named_parameters(recurse=False):
            share = outputs(after, name, weight) / max(1, outputs(before, name, getattr(before, name)))
            found[f"{path}.{name}"] = share
            if name == "weight":
                found[path] = share
    return found
