from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, Literal

import pytest

from lth_sweep.lottery.common.duration import Duration
from lth_sweep.lottery.common.errors import ConfigError
from lth_sweep.lottery.common.identity import canonical
from lth_sweep.lottery.data import Digits
from lth_sweep.lottery.network.models import MODELS, Mlp
from lth_sweep.lottery.pruning.granularity import Unit
from lth_sweep.lottery.recipe.rewinding import REWINDS, Rewind
from lth_sweep.lottery.recipe.trial import Train, TrialConfig
from lth_sweep.lottery.training.optimizers import OPTIMIZERS, SGD, Adam, Optimizer
from lth_sweep.lottery.training.schedules import SCHEDULES, Constant, Step
from lth_sweep.sweepfile.decode import decode

KINDS = ", ".join(sorted(OPTIMIZERS))


@pytest.mark.parametrize(
    ("expected", "value", "decoded"),
    [
        (int, 3, 3),
        (float, 3, 3.0),
        (float, 0.5, 0.5),
        (bool, True, True),
        (str, "on", "on"),
        (int | None, None, None),
        (int | tuple[int, ...], [3, 1], (3, 1)),
        (tuple[int, ...], [], ()),
        (dict[str, float], {"output": 1}, {"output": 1.0}),
        (Literal["layer", "global"], "global", "global"),
        (Duration, "20 epochs", Duration(20, "epochs")),
        (Duration | None, "20%", Duration(20, "%")),
        (Optimizer, "sgd", SGD()),
        (Optimizer, {"kind": "adam", "lr": 1}, Adam(lr=1.0)),
        (Optimizer | None, None, None),
        (Optimizer, "lth_sweep.lottery.training.optimizers:SGD", SGD()),
        (Train, {"schedule": {"kind": "step", "milestones": ["1 epoch", "50%"]}},
         Train(schedule=Step(milestones=(Duration(1, "epochs"), Duration(50, "%"))))),
        (TrialConfig, {}, TrialConfig()),
        (TrialConfig, {"data": "digits", "model": {"kind": "mlp", "hidden": [5]}, "seeds": [7, 8]},
         TrialConfig(data=Digits(), model=Mlp((5,)), seeds=(7, 8))),
    ],
)  # fmt: skip
def test_decodes(expected: Any, value: Any, decoded: Any) -> None:
    result = decode(expected, value)
    assert result == decoded
    assert type(result) is type(decoded)


@pytest.mark.parametrize(
    ("expected", "value", "message"),
    [
        (int, "3", "must be a whole number, but got '3'; write it without quotes"),
        (int, True, "must be a whole number, but got true"),
        (int, 3.0, "must be a whole number, but got 3.0"),
        (int, None, "must be a whole number, but got null"),
        (float, "0.5", "must be a number, but got '0.5'; write it without quotes"),
        (float, True, "must be a number, but got true"),
        (float, float("nan"), "must be a finite number, but got nan"),
        (float, 10**400, f"must be a number, but got 1{'0' * 56}..."),
        (bool, "yes", "must be true or false, but got 'yes'"),
        (bool, 1, "must be true or false, but got 1"),
        (str, 2024, "must be text, but got 2024; put it in quotes"),
        (int | None, "x", "must be a whole number or null, but got 'x'"),
        (int | tuple[int, ...], "x", "must be a whole number or a list of whole numbers, but got 'x'"),
        (int | tuple[int, ...], [1, "x"], "1: must be a whole number, but got 'x'"),
        (tuple[int, int], [1], "must have 2 entries, but got 1"),
        (dict[str, float], [], "must be a mapping (key: value), but got []"),
        (dict[str, float], {"a": "b"}, "a: must be a number, but got 'b'"),
        (dict[str, float], {1: 2.0}, "keys must be text, but got 1"),
        (Literal["float32", "bf16"], "bf17", "unknown value 'bf17'; allowed: bf16, float32; did you mean 'bf16'?"),
        (Literal["float32", "bf16"], None, "unknown value 'None'; allowed: bf16, float32"),
        (Duration, 60,
         'expected a duration such as "600 steps", "20 epochs" or "20%", but got 60; write "60 steps" or "60 epochs"'),
        (Duration, "9" * 400 + " epochs", f"this duration is too long: '{'9' * 56}..."),
        (Duration, "9" * 400 + " steps", f"this duration is too long: '{'9' * 56}..."),
        (Duration | None, "6 parsecs",
         'expected a duration such as "600 steps", "20 epochs" or "20%", but got \'6 parsecs\''),
        (Optimizer, None, "must be an optimizer, such as 'sgd' or {kind: sgd, ...}, but got null"),
        (Optimizer, {"lr": 0.1}, "needs a kind, such as 'sgd' or {kind: sgd, ...}; allowed: " + KINDS),
        (Optimizer, {"kind": 1}, "kind: must be text, but got 1; put it in quotes"),
        (Optimizer, {"kind": "adm"}, f"kind: unknown optimizer 'adm'; allowed: {KINDS}; did you mean 'adam'? "
                                     '(or "package.module:Name" for a class of your own)'),
        (Optimizer, {"kind": "adam", "lrr": 1}, "lrr: unknown key 'lrr'; allowed: beta1, beta2, eps, lr, weight_decay; "
                                                "did you mean 'lr'?"),
        (Optimizer, {"kind": "adam", "lr": -1}, "lr: must be above 0, but got -1"),
        (Optimizer, "collections:OrderedDict", "collections:OrderedDict cannot be used as an optimizer: it must be a "
                                               "subclass of torch.optim.Optimizer"),
        (Optimizer, "lth_sweep.lottery.training.optimizers:Optimizer",
         "lth_sweep.lottery.training.optimizers:Optimizer must be a frozen dataclass; its fields are its options"),
        (Rewind, "step", "at: is missing: it must be a duration"),
        (Rewind, {"kind": "init", "at": "1 step"}, "at: unknown key 'at'; there is nothing to set here"),
        (TrialConfig, {"train": {"optimizer": {"kind": "adam", "lr": 0}}},
         "train.optimizer.lr: must be above 0, but got 0"),
        (TrialConfig, {"train": {"schedule": {"kind": "step", "milestones": ["1 epoch", 5]}}},
         "train.schedule.milestones.1: expected a duration such as \"600 steps\", \"20 epochs\" or \"20%\", "
         'but got 5; write "5 steps" or "5 epochs"'),
        (TrialConfig, {"layer_rates": {"output": 9}},
         "layer_rates.output: rate * factor must be below 1, but 0.2 * 9 = 1.8"),
    ],
)  # fmt: skip
def test_refuses(expected: Any, value: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        decode(expected, value)
    assert str(caught.value) == message


@dataclass(frozen=True)
class Late(Rewind):
    """As a user would write one."""

    scale: ClassVar[int] = 2
    factor: float = 1.0

    def __post_init__(self) -> None:
        if self.factor > 5:
            raise RuntimeError("five is enough")


def test_a_users_own_strategy_is_decoded_like_ours() -> None:
    assert decode(Rewind, {"kind": f"{__name__}:Late", "factor": 3}) == Late(3.0)
    with pytest.raises(ConfigError, match="unknown key 'scale'; allowed: factor"):
        decode(Rewind, {"kind": f"{__name__}:Late", "scale": 3})
    with pytest.raises(ConfigError, match=r"Late: making it raised RuntimeError: five is enough"):
        decode(Rewind, {"kind": f"{__name__}:Late", "factor": 6})


def required(cls: type) -> int:
    """How many fields have no default."""
    return sum(field.default is MISSING and field.default_factory is MISSING for field in fields(cls))


TRIALS = [
    *(TrialConfig(model=member()) for member in MODELS.values()),
    *(TrialConfig(train=Train(optimizer=member(lr=0.125))) for member in OPTIMIZERS.values()),
    *(TrialConfig(train=Train(schedule=member(warmup=Duration(1.5, "epochs")))) for member in SCHEDULES.values()),
    *(
        TrialConfig(rewind=member(*[Duration(1234567, "steps")] * required(member)), granularity=Unit())
        for member in REWINDS.values()
    ),
    TrialConfig(train=Train(schedule=Constant(Duration(0.000123, "epochs")))),
    TrialConfig(seeds=(4, 2), layer_rates={"conv*": 0.0}, scope="global", rate=0.1 + 0.2),
]


@pytest.mark.parametrize("trial", TRIALS)
def test_canonical_form_and_back(trial: TrialConfig) -> None:
    assert decode(TrialConfig, canonical(trial)) == trial
