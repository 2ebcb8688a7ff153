"""What is settled before anything is trained."""

from pathlib import Path

import pytest

from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.loop import run
from lth_sweep.lottery.recipe.trial import Runtime
from lth_sweep.lottery.runs.stages import Store
from lth_sweep.lottery.ticket.export import export
from lth_sweep.lottery.ticket.ticket import Ticket
from lth_sweep.sweepfile.check import check_trial
from tests.cases.table import HERE, Case

RARE = Case("layers", "Points", "Rare", "0 2")


@pytest.mark.parametrize("where", [0, 44, 300, 599])
def test_a_rare_class_counts_whichever_split_it_is_in(where: int) -> None:
    data = {"kind": f"{HERE}.data:Rare", "where": where}
    check_trial(RARE.trial("weight", data=data, model={"kind": f"{HERE}.layers:Points", "out": 4}))
    with pytest.raises(ConfigError, match="4"):
        check_trial(RARE.trial("weight", data=data, model={"kind": f"{HERE}.layers:Points", "out": 3}))


def test_auxiliary_logits_are_refused_until_the_task_says_what_the_output_is(tmp_path: Path) -> None:
    """They come in training alone, and the layer that gives them is left out."""
    case = Case("layers", "AuxiliaryLogits", "Img", "a b head")
    with pytest.raises(ConfigError, match=r"a tensor when it is judged and .* while it trains: say which part"):
        check_trial(case.trial("unit"))
    trial = case.trial("unit", task={"kind": "classification", "output": 0})
    check_trial(trial)
    assert "aux" not in trial.network().weights
    *_, (last,) = run(trial, Store(tmp_path), Runtime())
    assert last.density < 1
    ticket = Ticket.load(trial, last, Store(tmp_path))
    assert not export(ticket, tmp_path / "out", ["safetensors", "pt2"]).failed
